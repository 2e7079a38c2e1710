"""The handshake by hand: step by step against a double in memory and over TCP, and against servers that fail."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme
from trio.testing import MockClock

from tests.helpers import PASSWORD, deaf_port, has_ipv6, within
from trio_cpvm import errors
from trio_cpvm.errors import Reason
from trio_cpvm.probe import STEP_TIMEOUT_S, Probe, open_probe
from trio_cpvm.rfb.commands import Command, Established, Failed, SendToClient, SendToServer, StartTls
from trio_cpvm.testing import (
    Abort,
    Close,
    EchoForever,
    Expect,
    InteractiveVncServer,
    Pause,
    ReadForever,
    ScriptedVncServer,
    Send,
    SendSlowly,
    Stall,
    listening,
    read_exactly,
)

timely = within(600)


def told(commands: list[Command]) -> list[str]:
    """The steps in words: who is sent what."""
    arrows = {SendToServer: "->", SendToClient: "<-"}
    return [
        f"{arrows[type(command)]} {command.what}"
        if isinstance(command, SendToServer | SendToClient)
        else type(command).__name__
        for command in commands
    ]


STEPS = [
    ["<- version"],
    ["-> version"],
    ["-> security type VncAuth(2)"],
    ["-> VNC authentication response"],
    ["<- security types: None"],
    ["<- security result: ok"],
    ["-> ClientInit"],
    ["<- ServerInit", "Established"],
    [],
    [],
]


@timely
async def test_a_handshake_one_step_at_a_time(autojump_clock: MockClock) -> None:
    server = ScriptedVncServer(password=PASSWORD, name="web-01")
    probe = await open_probe(server, password=PASSWORD)
    assert (probe.outcome, probe.commands) == (None, [])
    assert [told(await probe.step()) for _ in STEPS] == STEPS
    assert told(probe.commands) == [word for step in STEPS for word in step]
    assert isinstance(probe.outcome, Established)
    assert (probe.outcome.name, probe.outcome.security) == ("web-01", "VncAuth(2)")
    assert "challenge ok" in server.events


@timely
async def test_a_probe_says_what_it_waits_for(autojump_clock: MockClock) -> None:
    probe = await open_probe(ScriptedVncServer())
    await probe.step()
    waited_for = [probe.waiting_for]
    while await probe.step():
        waited_for.append(probe.waiting_for)
    assert waited_for[0] == "the server's version"
    assert "the server's security types" in waited_for
    assert waited_for[-1] == "nothing"


@timely
async def test_the_stream_is_at_the_first_byte_behind_the_handshake(autojump_clock: MockClock) -> None:
    probe = await open_probe(ScriptedVncServer(name="echo", then=[EchoForever()]), name="mine")
    outcome = await probe.run()
    assert isinstance(outcome, Established)
    assert outcome.name == "mine"
    await probe.server.send_all(b"hello")
    assert await read_exactly(probe.server, 5) == b"hello"
    await probe.aclose()


@timely
async def test_a_password_does_not_print_itself(autojump_clock: MockClock) -> None:
    probe = await open_probe(ScriptedVncServer(password=PASSWORD), password=PASSWORD)
    await probe.run()
    response = next(c for c in probe.commands if isinstance(c, SendToServer) and c.secret)
    assert repr(response.data) not in repr(probe.commands)
    assert PASSWORD not in repr(probe.commands)


@timely
async def test_no_authentication_is_accepted_where_that_is_said(autojump_clock: MockClock) -> None:
    refused = await open_probe(ScriptedVncServer(), password=PASSWORD)
    assert isinstance(await refused.run(), Failed)
    accepted = await open_probe(ScriptedVncServer(), password=PASSWORD, allow_no_authentication=True)
    assert isinstance(await accepted.run(), Established)


@timely
@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (ScriptedVncServer(password="another"), errors.UPSTREAM_AUTH_FAILED),
        (ScriptedVncServer(refuse_with="Too many security failures"), errors.UPSTREAM_AUTH_BLOCKED),
        (ScriptedVncServer.playing(Send(b"SSH-2.0-OpenSSH\r\n"), ReadForever()), errors.UPSTREAM_PROTOCOL),
        (ScriptedVncServer.playing(Close()), errors.UPSTREAM_PROTOCOL),
        (ScriptedVncServer.playing(Abort()), errors.UPSTREAM_PROTOCOL),
        (ScriptedVncServer.playing(Send(b"RFB 003.008\n"), Expect(b"nonsense")), errors.UPSTREAM_PROTOCOL),
    ],
)
async def test_a_server_that_fails_is_named_and_left(
    server: ScriptedVncServer, reason: Reason, autojump_clock: MockClock
) -> None:
    probe = await open_probe(server, password=PASSWORD)
    outcome = await probe.run()
    assert isinstance(outcome, Failed)
    assert outcome.error.reason is reason
    assert await probe.step() == []
    with pytest.raises(trio.ClosedResourceError):
        await probe.server.send_all(b"x")


@timely
async def test_a_server_that_says_nothing_can_be_waited_for_longer(autojump_clock: MockClock) -> None:
    probe = await open_probe(ScriptedVncServer.playing(Pause(1.5 * STEP_TIMEOUT_S), Send(b"RFB 003.008\n"), Stall()))
    await probe.step()
    with pytest.raises(trio.TooSlowError):
        await probe.step()
    assert trio.current_time() == STEP_TIMEOUT_S
    assert told(await probe.step()) == ["-> version"]
    assert trio.current_time() == 1.5 * STEP_TIMEOUT_S


@timely
async def test_a_step_puts_pieces_together(autojump_clock: MockClock) -> None:
    probe = await open_probe(ScriptedVncServer.playing(SendSlowly(b"RFB 003.008\n", pause_s=10), Stall()))
    await probe.step()
    assert told(await probe.step()) == ["-> version"]


@timely
async def test_the_interactive_double_can_be_probed_as_well(autojump_clock: MockClock) -> None:
    async with InteractiveVncServer(name="guest").running() as machine:
        probe = await open_probe(machine)
        assert isinstance(await probe.run(), Established)
        await probe.aclose()


# -- over TCP ----------------------------------------------------------------------------------------------------------


async def probe_at(host: str) -> Probe:
    server = ScriptedVncServer(password=PASSWORD, name="over TCP")
    async with listening(server.serve, host) as (_, port):
        probe = await open_probe(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", password=PASSWORD)
        await probe.run()
        await probe.aclose()
    return probe


@within(20)
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")),
    ],
)
async def test_a_server_is_named_by_its_address(host: str) -> None:
    outcome = (await probe_at(host)).outcome
    assert isinstance(outcome, Established)
    assert outcome.name == "over TCP"


@within(20)
async def test_no_server_there() -> None:
    with deaf_port() as port, pytest.raises(OSError, match=r"failed|refused"):
        await open_probe(f"127.0.0.1:{port}")


@within(20)
@pytest.mark.parametrize("where", ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:-1", "²:²"])
async def test_what_names_no_server(where: str) -> None:
    with pytest.raises(ValueError, match="expected host:port"):
        await open_probe(where)


@timely
async def test_a_host_with_tls_is_probed_to_its_end(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    host = ScriptedVncServer(security_types=(19,), password="secret", tls=context)
    async with listening(host.serve) as (address, port):
        probe = await open_probe(f"{address}:{port}", password="secret", ca_file=str(tmp_path / "ca.pem"))
        outcome = await probe.run()
        assert isinstance(outcome, Established)
        assert outcome.security == "VeNCrypt X509Vnc(261)"
        assert any(isinstance(command, StartTls) for command in probe.commands)
        await probe.aclose()
        untrusting = await open_probe(f"{address}:{port}", password="secret")
        failed = await untrusting.run()
        assert isinstance(failed, Failed)
        assert failed.error.reason is errors.UPSTREAM_TLS_FAILED


@timely
async def test_a_host_that_has_to_be_connected_to_twice_is_probed_to_its_end() -> None:
    host = ScriptedVncServer(security_types=(19, 2), vencrypt_subtypes=(258,), password="secret")
    probe = await open_probe(host, password="secret")
    outcome = await probe.run()
    assert isinstance(outcome, Established)
    assert outcome.security == "VncAuth(2)"
    assert len(host.conversations) == 2
    await probe.aclose()
