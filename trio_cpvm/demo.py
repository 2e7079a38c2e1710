"""``trio-cpvm demo``: a machine to look at, the proxy in front of it, one URL to open. Nothing to configure.

The embedded machine is the interactive double of ``testing``, reached over TCP with a password like any host.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator

import click
import trio

from .config import AdminConfig, Config, ServerConfig, SessionConfig
from .config_values import TcpAddress
from .daemon import obey_signals
from .errors import BadConfiguration
from .gate import Gate
from .links import console_url, reachable_url
from .models import ConsoleTarget, Secret
from .server import Bound, Server
from .testing import InteractiveVncServer, listening
from .token import TokenKey, TokenReader, mint_token

DEFAULT_LISTEN = TcpAddress("127.0.0.1", 8080)

#: Enough for somebody who looks, and within what any system lets a process open.
MAX_CONNECTIONS = 100


async def run_demo(listen: TcpAddress | None, vnc: TcpAddress | None, password: Secret | None) -> None:
    """Run the demo until a signal.

    Args:
        listen: where the proxy listens; ``None``: port 8080, or a free one if that is taken.
        vnc: a VNC server to show; ``None``: the embedded one.
        password: of ``vnc``.

    Raises:
        BadConfiguration: an address cannot be listened on.
    """
    async with _machine(vnc, password) as target:
        try:
            await _serve(listen or DEFAULT_LISTEN, target)
        except* BadConfiguration:
            if listen is not None:
                raise
            await _serve(TcpAddress(DEFAULT_LISTEN.host, 0), target)


@contextlib.asynccontextmanager
async def _machine(vnc: TcpAddress | None, password: Secret | None) -> AsyncIterator[ConsoleTarget]:
    if vnc is not None:
        yield ConsoleTarget(host=vnc.host or "127.0.0.1", port=vnc.port, password=password)
        return
    password = Secret(secrets.token_hex(4))
    machine = InteractiveVncServer(name="Demo machine", password=password.reveal())
    async with machine.running(), listening(machine.serve) as (host, port):
        yield ConsoleTarget(host=host, port=port, password=password, vm_id="demo", name="Demo machine")


async def _serve(listen: TcpAddress, target: ConsoleTarget) -> None:
    config = Config(
        server=ServerConfig(listen=(listen,), drain_timeout_s=0, max_connections=MAX_CONNECTIONS),
        session=SessionConfig(idle_timeout_s=0, max_sessions=MAX_CONNECTIONS),
        admin=AdminConfig(listen=TcpAddress("127.0.0.1", 0)),
    )
    key = TokenKey.generate()
    # The URL is printed once and should open as often as somebody likes while the demo runs.
    server = Server(config, gate=Gate(tokens=TokenReader(keys=(key,), require_expiry=False)))
    async with trio.open_nursery() as nursery:
        bound: Bound = await nursery.start(server.run)
        await nursery.start(obey_signals, server)
        url = console_url(reachable_url(bound.public[0]), mint_token(target, key))
        click.echo(f"\nOpen this in your browser (Ctrl-C stops the demo):\n\n    {url}\n")
        await server.stopped.wait()
        nursery.cancel_scope.cancel()
