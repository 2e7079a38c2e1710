"""The demo: one URL that opens the embedded machine, or yours."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import trio

from tests.helpers import within
from trio_cpvm import demo
from trio_cpvm.config_values import TcpAddress
from trio_cpvm.demo import run_demo
from trio_cpvm.errors import BadConfiguration
from trio_cpvm.models import Secret
from trio_cpvm.testing import RfbClient, ScriptedVncServer, ServerInit, http_get, listening, open_websocket

timely = within(20)

ANYWHERE = TcpAddress("127.0.0.1", 0)


@contextlib.asynccontextmanager
async def demonstrating(
    monkeypatch: pytest.MonkeyPatch,
    listen: TcpAddress | None = ANYWHERE,
    vnc: TcpAddress | None = None,
    password: Secret | None = None,
) -> AsyncIterator[str]:
    """A demo for the length of a block, which gets the URL that was printed."""
    printed, lines = trio.open_memory_channel[str](10)
    monkeypatch.setattr("click.echo", printed.send_nowait)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_demo, listen, vnc, password)
        (url,) = re.findall(r"http://\S+", await lines.receive())
        yield url
        nursery.cancel_scope.cancel()


async def look(url: str) -> ServerInit:
    """Do what a browser does with that URL."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or 0)
    async with await trio.open_tcp_stream(*address) as stream:
        assert (await http_get(stream, f"{parts.path}?{parts.query}", host=parts.netloc)).status == 200
        origin = f"http://{parts.netloc}"
        websocket = await open_websocket(stream, f"/websockify?{parts.query}", host=parts.netloc, origin=origin)
        return await RfbClient(websocket).handshake()


@timely
async def test_the_printed_url_opens_the_embedded_machine_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with demonstrating(monkeypatch) as url:
        for _ in range(2):
            assert (await look(url)).name == "Demo machine"


@timely
async def test_nothing_is_warned_of(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async with demonstrating(monkeypatch) as url:
        await look(url)
    assert not [record.msg for record in caplog.records if record.levelname not in ("DEBUG", "INFO")]


@timely
async def test_a_vnc_server_of_yours_is_shown_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ScriptedVncServer(password="s3cret", name="mine")
    async with listening(server.serve) as (host, port):
        async with demonstrating(monkeypatch, vnc=TcpAddress(host, port), password=Secret("s3cret")) as url:
            assert (await look(url)).name == "mine"


@timely
async def test_where_the_usual_port_is_taken_the_demo_takes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        taken = TcpAddress("127.0.0.1", listener.socket.getsockname()[1])
        monkeypatch.setattr(demo, "DEFAULT_LISTEN", taken)
        async with demonstrating(monkeypatch, None) as url:
            assert urlsplit(url).port != taken.port
            assert (await look(url)).name == "Demo machine"
        with pytest.RaisesGroup(BadConfiguration, flatten_subgroups=True):
            await run_demo(taken, None, None)
