"""The fixtures that other projects load, loaded as they load them; and the examples of the package's docstring."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

import trio_cpvm.testing
from trio_cpvm.testing import InteractiveVncServer, MemoryDialer, RfbClient, ScriptedVncServer

from . import timely

pytest_plugins = ["trio_cpvm.testing.fixtures"]


@timely
async def test_a_scripted_server(
    vnc_double: MemoryDialer, vnc_double_server: ScriptedVncServer, autojump_clock: MockClock
) -> None:
    async with RfbClient(await vnc_double.dial("192.0.2.1", 5900)) as client:
        assert (await client.handshake("secret")).name == "scripted"
    assert "challenge ok" in vnc_double_server.events
    assert vnc_double.dialled == [("192.0.2.1", 5900)]


class TestOverriding:
    @pytest.fixture
    def vnc_double_server(self) -> ScriptedVncServer:
        return ScriptedVncServer(version=b"RFB 003.003\n")

    @timely
    async def test_another_server(self, vnc_double: MemoryDialer, autojump_clock: MockClock) -> None:
        async with RfbClient(await vnc_double.dial()) as client:
            await client.handshake()
            assert client.server_version == b"RFB 003.003\n"


@timely
async def test_an_interactive_server(interactive_vnc: InteractiveVncServer, autojump_clock: MockClock) -> None:
    async with interactive_vnc.connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        await client.refresh()
        await client.request_update()
        # Nobody does anything: it is the clock that ticks.
        assert await client.read_update()
    assert trio.current_time() == pytest.approx(1)


def test_every_public_name_is_there() -> None:
    for name in trio_cpvm.testing.__all__:
        assert getattr(trio_cpvm.testing, name).__doc__, name


@timely
async def test_the_first_example(autojump_clock: MockClock) -> None:
    server = ScriptedVncServer(password="secret", name="web-01")
    async with server.connect() as stream:
        client = RfbClient(stream)
        init = await client.handshake("secret")
    assert init.name == "web-01"
    assert "challenge ok" in server.events


@timely
async def test_the_machine_example(autojump_clock: MockClock) -> None:
    async with InteractiveVncServer(name="web-01").running() as machine, machine.connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        await client.type_text("hello")
        await machine.until(lambda: machine.text == "hello")
        picture = await client.refresh()
        assert picture == machine.screen.framebuffer.image()
    assert picture.png()
