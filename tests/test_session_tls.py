"""Consoles of hosts that speak VeNCrypt, in memory: TLS in the middle of the handshake, verified or refused."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
import trustme
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair

from tests.consoles import PASSWORD, console
from trio_cpvm import errors
from trio_cpvm.config import UpstreamConfig
from trio_cpvm.errors import Reason
from trio_cpvm.rfb_io import SecureStream
from trio_cpvm.testing import (
    Close,
    EchoForever,
    InteractiveVncServer,
    Read,
    RfbClient,
    RfbRefused,
    ScriptedVncServer,
    Security,
    Send,
    Stall,
    StartTls,
    Version,
)
from trio_cpvm.upstream import HostTls

HOST = "vm-host.test"
AUTHORITY = trustme.CA()


def server_context(authority: trustme.CA = AUTHORITY, *, name: str = HOST, clients: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    return context


def anonymous_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("aNULL:@SECLEVEL=0")
    return context


@pytest.fixture
def trusting(tmp_path: Path) -> UpstreamConfig:
    path = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(path)
    return UpstreamConfig(ca_file=str(path))


def securing(config: UpstreamConfig) -> SecureStream:
    tls = HostTls(config)

    async def secure(stream: trio.abc.Stream, anonymous: bool) -> trio.abc.Stream:
        return await tls.start(stream, HOST, anonymous=anonymous)

    return secure


@pytest.mark.parametrize("make_pair", [memory_stream_pair, lockstep_stream_pair])
async def test_a_console_inside_tls(
    trusting: UpstreamConfig,
    make_pair: Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]],
    autojump_clock: MockClock,
) -> None:
    host = ScriptedVncServer(
        security_types=(19,), password=PASSWORD, tls=server_context(), after_init=b"early", then=[EchoForever()]
    )
    async with console(host, upstream=trusting, secure=securing(trusting), make_pair=make_pair) as c:
        await RfbClient(c.browser).handshake()
        got = b""
        await c.browser.send_all(b"\4\1\0\0\0\0\0a")
        while len(got) < 13:
            got += await c.browser.receive_some()
        assert got == b"early\4\1\0\0\0\0\0a"
        assert c.session.transport.startswith("TLSv1.3 ")
        assert c.session.established is not None
        assert c.session.established.security == "VeNCrypt X509Vnc(261)"
        await c.browser.close()
        assert (await c.wait_end()).reason is errors.CLOSED_BY_USER


async def test_typing_and_looking_inside_tls(trusting: UpstreamConfig, autojump_clock: MockClock) -> None:
    machine = InteractiveVncServer(password=PASSWORD, tls=server_context())
    async with machine.running(), console(machine.serve, upstream=trusting, secure=securing(trusting)) as c:
        client = RfbClient(c.browser)
        await client.handshake()
        await client.type_text("hello")
        await machine.until(lambda: machine.text == "hello")
        await client.refresh()
        assert "VeNCrypt" in (c.session.established.security if c.session.established else "")


async def refused(host: ScriptedVncServer, config: UpstreamConfig) -> tuple[Reason, str, int]:
    async with console(host, upstream=config, secure=securing(config)) as c:
        with pytest.raises((RfbRefused, trio.BrokenResourceError)):
            await RfbClient(c.browser).handshake()
        await c.drain()
        end = await c.wait_end()
        return end.reason, end.detail, c.browser.close_code or 0


@pytest.mark.parametrize(
    ("context", "words"),
    [
        (partial(server_context, trustme.CA()), "unable to get local issuer certificate"),
        (partial(server_context, name="other.test"), "mismatch"),
        (anonymous_context, "tls with vm-host.test"),
    ],
    ids=["another authority", "another name", "no certificate"],
)
async def test_a_certificate_that_is_not_the_hosts(
    trusting: UpstreamConfig, context: Callable[[], ssl.SSLContext], words: str, autojump_clock: MockClock
) -> None:
    host = ScriptedVncServer(security_types=(19,), password=PASSWORD, tls=context())
    reason, detail, code = await refused(host, trusting)
    assert (reason, code) == (errors.UPSTREAM_TLS_FAILED, 4495)
    assert words in detail.lower()
    assert "challenge ok" not in host.events


async def test_without_the_operators_authority_nothing_is_trusted(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(security_types=(19,), password=PASSWORD, tls=server_context())
    reason, *_ = await refused(host, UpstreamConfig())
    assert reason is errors.UPSTREAM_TLS_FAILED


async def test_an_operator_may_look_away(autojump_clock: MockClock) -> None:
    config = UpstreamConfig(verify_certificate=False)
    host = ScriptedVncServer(security_types=(19,), password=PASSWORD, tls=server_context(trustme.CA(), name="x.test"))
    async with console(host, upstream=config, secure=securing(config)) as c:
        await RfbClient(c.browser).handshake()


async def test_the_name_may_be_left_unverified(trusting: UpstreamConfig, autojump_clock: MockClock) -> None:
    config = attrs.evolve(trusting, verify_hostname=False)
    host = ScriptedVncServer(security_types=(19,), password=PASSWORD, tls=server_context(name="other.test"))
    async with console(host, upstream=config, secure=securing(config)) as c:
        await RfbClient(c.browser).handshake()


async def test_a_host_that_wants_a_client_certificate(
    trusting: UpstreamConfig, tmp_path: Path, autojump_clock: MockClock
) -> None:
    host = ScriptedVncServer(security_types=(19,), password=PASSWORD, tls=server_context(clients=True))
    reason, detail, _ = await refused(host, trusting)
    assert reason is errors.UPSTREAM_TLS_FAILED
    assert detail.startswith("TLS broke: ")
    ours = AUTHORITY.issue_cert("console-proxy.test")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    ours.private_key_pem.write_to_path(tmp_path / "client.key")
    config = attrs.evolve(
        trusting, client_certificate=str(tmp_path / "client.pem"), client_key=str(tmp_path / "client.key")
    )
    async with console(host, upstream=config, secure=securing(config)) as c:
        await RfbClient(c.browser).handshake()


async def test_anonymous_tls_only_where_it_is_allowed(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(security_types=(19,), vencrypt_subtypes=(258,), password=PASSWORD, tls=anonymous_context())
    reason, *_ = await refused(host, UpstreamConfig())
    assert reason is errors.UPSTREAM_PROTOCOL
    config = UpstreamConfig(allow_anonymous_tls=True)
    async with console(host, upstream=config, secure=securing(config)) as c:
        await RfbClient(c.browser).handshake()
        assert c.session.established is not None
        assert c.session.established.security == "VeNCrypt TLSVnc(258)"


async def test_a_host_with_only_anonymous_tls_is_connected_to_twice(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(security_types=(19, 2), vencrypt_subtypes=(258,), password=PASSWORD)
    async with console(host, secure=securing(UpstreamConfig())) as c:
        await RfbClient(c.browser).handshake()
        assert len(c.host_streams) == 2
        with pytest.raises(trio.ClosedResourceError):
            await c.host_streams[0].send_all(b"x")
        assert c.session.established is not None
        assert c.session.established.security == "VncAuth(2)"


async def test_plain_text_where_tls_is_demanded_gets_no_answer_to_its_challenge(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(security_types=(2,), password=PASSWORD)
    config = UpstreamConfig(allow_plaintext=False)
    reason, detail, _ = await refused(host, config)
    assert reason is errors.UPSTREAM_TLS_FAILED
    assert "VncAuth(2)" in detail
    assert host.received == b"RFB 003.008\n"


async def test_a_host_that_stalls_in_the_tls_handshake(trusting: UpstreamConfig, autojump_clock: MockClock) -> None:
    host = ScriptedVncServer.playing(
        Version(), Security((19,)), Send(b"\0\2"), Send(b"\0" + b"\1" + b"\0\0\1\5"), Send(b"\1"), Stall()
    )
    reason, _, code = await refused(host, trusting)
    assert (reason, code) == (errors.UPSTREAM_TIMEOUT, 4504)


async def test_a_host_that_closes_right_behind_the_tls_handshake(
    trusting: UpstreamConfig, autojump_clock: MockClock
) -> None:
    offer = Send(b"\0\2"), Read(2), Send(b"\0" + b"\1" + b"\0\0\1\5"), Read(4), Send(b"\1")
    host = ScriptedVncServer.playing(Version(), Security((19,)), *offer, StartTls(server_context()), Close())
    reason, detail, code = await refused(host, trusting)
    assert (reason, code) == (errors.UPSTREAM_TLS_FAILED, 4495)
    assert detail.startswith("TLS broke: ")
