"""TLS towards hosts: which certificates are good, which files, and what is said of a connection."""

from __future__ import annotations

import datetime
import ssl
import warnings
from pathlib import Path

import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization
from trio.testing import MockClock, memory_stream_pair

from tests.upstream.bounds import bounded
from tests.upstream.networks import AUTHORITY, inside_tls, is_closed, server_context
from trio_cpvm import errors
from trio_cpvm.config import UpstreamConfig
from trio_cpvm.errors import BadConfiguration, ConsoleError
from trio_cpvm.streams import PrefixedStream
from trio_cpvm.testing import EchoForever, ScriptedVncServer, background, behind_websocket
from trio_cpvm.upstream import HostTls, secured_by
from trio_cpvm.websocket import open_host_websocket, websocket_nursery

HOST = "vm-host.test"
ENCRYPTED_KEY_PASSWORD = b"nobody knows"


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture
def trusting(ca_file: str) -> HostTls:
    return HostTls(UpstreamConfig(ca_file=ca_file))


async def shake(tls: HostTls, context: ssl.SSLContext, host: str = HOST, *, anonymous: bool = False) -> str:
    """Do one handshake and carry a byte both ways; what secures it."""
    ours, theirs = memory_stream_pair()
    echo = ScriptedVncServer.playing(EchoForever())
    async with background() as nursery:
        nursery.start_soon(inside_tls(echo.serve, context), theirs)
        try:
            secure = await tls.start(ours, host, anonymous=anonymous)
        except ConsoleError:
            assert await is_closed(ours)
            raise
        await secure.send_all(b"x")
        assert await secure.receive_some() == b"x"
        return secured_by(secure)


async def refused(tls: HostTls, context: ssl.SSLContext, host: str = HOST, *, anonymous: bool = False) -> str:
    with pytest.raises(ConsoleError) as caught:
        await shake(tls, context, host, anonymous=anonymous)
    assert caught.value.reason is errors.UPSTREAM_TLS_FAILED
    return caught.value.detail.lower()


# -- whose certificate ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "::1", "0:0:0:0:0:0:0:1", "fe80::1%eth0", HOST, "VM-Host.TEST", "x.wild.test"]
)
@bounded(10)
async def test_names_and_addresses_of_the_certificate_are_good(trusting: HostTls, host: str) -> None:
    context = server_context("127.0.0.1", "::1", "fe80::1", HOST, "*.wild.test")
    assert (await shake(trusting, context, host)).startswith("TLSv1.3 TLS_")


@pytest.mark.parametrize("host", ["127.0.0.2", "::2", "vm-host.test.evil.test", "wild.test", "a.b.wild.test"])
@bounded(10)
async def test_any_other_name_or_address_is_not(trusting: HostTls, host: str) -> None:
    context = server_context("127.0.0.1", "::1", HOST, "*.wild.test")
    assert "mismatch" in await refused(trusting, context, host)


@bounded(10)
async def test_an_address_spelled_as_a_name_does_not_count(trusting: HostTls) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("other.test", common_name="127.0.0.1").configure_cert(context)
    assert "mismatch" in await refused(trusting, context, "127.0.0.1")


@bounded(10)
async def test_an_expired_certificate(trusting: HostTls) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    long_ago = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    AUTHORITY.issue_cert(HOST, not_before=long_ago, not_after=long_ago.replace(year=2002)).configure_cert(context)
    assert "certificate has expired" in await refused(trusting, context)


@bounded(10)
async def test_another_authority(trusting: HostTls) -> None:
    assert "unable to get local issuer" in await refused(trusting, server_context(HOST, authority=trustme.CA()))


@bounded(10)
async def test_the_systems_authorities_do_not_count_beside_the_operators(
    ca_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = trustme.CA()
    other.cert_pem.write_to_path(tmp_path / "system.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    context = server_context(HOST, authority=other)
    assert await shake(HostTls(UpstreamConfig()), context)
    await refused(HostTls(UpstreamConfig(ca_file=ca_file)), context)


@bounded(10)
async def test_verifying_may_be_turned_off_in_part_or_whole(ca_file: str) -> None:
    another_name, another_authority = server_context("x.test"), server_context(HOST, authority=trustme.CA())
    no_names = HostTls(UpstreamConfig(ca_file=ca_file, verify_hostname=False))
    assert await shake(no_names, another_name)
    await refused(no_names, another_authority)
    nothing = HostTls(UpstreamConfig(ca_file=ca_file, verify_certificate=False))
    assert await shake(nothing, another_name)
    assert await shake(nothing, another_authority)


NAMELESS = ["", ".vm.test", "h\0st"]
UNSENDABLE = ["x" * 64 + ".test", "a..b", "unix:/run/" + "x" * 70]


@pytest.mark.parametrize(
    ("host", "verify"),
    [*((host, True) for host in NAMELESS + UNSENDABLE), *((host, False) for host in NAMELESS)],
)
@bounded(10)
async def test_a_host_that_can_have_no_certificate(ca_file: str, host: str, verify: bool) -> None:
    # An unsendable name that nobody verifies is left out or refused, as the version of trio has it.
    await refused(HostTls(UpstreamConfig(ca_file=ca_file, verify_hostname=verify)), server_context(HOST), host)


# -- which TLS -----------------------------------------------------------------------------------------------------


@bounded(10)
async def test_old_versions_are_refused(trusting: HostTls) -> None:
    server = server_context(HOST)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(client)
    for context in (server, client):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        server.maximum_version = ssl.TLSVersion.TLSv1_1
    ours, theirs = memory_stream_pair()
    async with background() as nursery:
        nursery.start_soon(inside_tls(ScriptedVncServer.playing(EchoForever()).serve, server), theirs)
        old = trio.SSLStream(ours, client, server_hostname=HOST)
        await old.do_handshake()
        assert old.version() == "TLSv1.1"
    await refused(trusting, server)


@bounded(10)
async def test_version_1_2_is_good(trusting: HostTls) -> None:
    context = server_context(HOST)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert (await shake(trusting, context)).startswith("TLSv1.2 ECDHE-")


@bounded(10)
async def test_tls_without_certificates_only_where_it_is_allowed_and_asked_for(ca_file: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("aNULL:@SECLEVEL=0")
    strict, lax = (HostTls(UpstreamConfig(ca_file=ca_file, allow_anonymous_tls=flag)) for flag in (False, True))
    assert "allow_anonymous_tls is off" in await refused(strict, context, anonymous=True)
    await refused(lax, context)
    assert "TLSv1.2" in await shake(lax, context, anonymous=True)


@pytest.mark.parametrize(
    "answer", [b"RFB 003.008\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\0\2\2\x28", b""]
)
@bounded(10)
async def test_what_is_no_tls(trusting: HostTls, answer: bytes) -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(answer)
    await theirs.send_eof()
    with pytest.raises(ConsoleError) as caught:
        await trusting.start(ours, HOST)
    assert caught.value.reason is errors.UPSTREAM_TLS_FAILED
    assert caught.value.detail.startswith("TLS with vm-host.test: ")
    assert await is_closed(ours)


@bounded(60)
async def test_a_cancelled_handshake_closes_the_connection(trusting: HostTls, autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    with trio.move_on_after(5) as scope:
        await trusting.start(ours, HOST)
    assert scope.cancelled_caught
    assert await is_closed(ours)
    await trio.aclose_forcefully(theirs)


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(tmp_path: Path) -> Path:
    """A folder with a client certificate and some files that are none."""
    ours, other = AUTHORITY.issue_cert("proxy.test"), AUTHORITY.issue_cert("proxy.test")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    ours.private_key_pem.write_to_path(tmp_path / "client.key")
    other.private_key_pem.write_to_path(tmp_path / "other.key")
    (tmp_path / "encrypted.key").write_bytes(encrypted(ours.private_key_pem.bytes()))
    (tmp_path / "garbage").write_bytes(b"not PEM\n" * 10)
    (tmp_path / "empty").touch()
    return tmp_path


def encrypted(key_pem: bytes) -> bytes:
    """The same key behind a password."""
    key = serialization.load_pem_private_key(key_pem, None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(ENCRYPTED_KEY_PASSWORD),
    )


@pytest.mark.parametrize(
    ("name", "words"), [("none", "No such file"), ("garbage", ""), ("empty", ""), ("client.key", ""), (".", "")]
)
def test_a_ca_file_that_is_none(client: Path, name: str, words: str) -> None:
    path = str(client / name)
    with pytest.raises(BadConfiguration) as caught:
        HostTls(UpstreamConfig(ca_file=path))
    assert str(caught.value).startswith(f"upstream.ca_file = {path!r}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        ("none", "client.key", "No such file"),
        ("client.pem", "none", "No such file"),
        ("client.pem", "other.key", "mismatch"),
        ("client.pem", "garbage", ""),
        ("garbage", "client.key", ""),
        ("client.pem", "encrypted.key", "encrypted"),
    ],
)
def test_a_client_certificate_that_is_none(client: Path, certificate: str, key: str, words: str) -> None:
    config = UpstreamConfig(client_certificate=str(client / certificate), client_key=str(client / key))
    with pytest.raises(BadConfiguration) as caught:
        HostTls(config)
    text = str(caught.value)
    assert text.startswith(f"upstream.client_certificate = {config.client_certificate!r}")
    assert config.client_key in text
    assert words in text.lower().replace("no such", "No such")


@bounded(10)
async def test_our_certificate_is_shown_to_hosts_that_ask(client: Path, ca_file: str) -> None:
    context = server_context(HOST)
    context.verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(context)
    config = UpstreamConfig(
        ca_file=ca_file, client_certificate=str(client / "client.pem"), client_key=str(client / "client.key")
    )
    assert await shake(HostTls(config), context)


# -- what is said of it --------------------------------------------------------------------------------------------


@bounded(10)
async def test_what_secures_a_stream_is_seen_through_our_own_streams(trusting: HostTls) -> None:
    context = server_context(HOST)
    echo = behind_websocket(ScriptedVncServer.playing(EchoForever()).serve)
    ours, theirs = memory_stream_pair()
    assert secured_by(ours) == ""
    assert secured_by(PrefixedStream(b"", ours)) == ""
    async with background() as nursery, websocket_nursery() as readers:
        nursery.start_soon(inside_tls(echo, context), theirs)
        secure = await trusting.start(ours, HOST)
        said = secured_by(secure)
        assert said.startswith("TLSv1.3 TLS_")
        assert secured_by(PrefixedStream(b"x", PrefixedStream(b"", secure))) == said
        assert secured_by(await open_host_websocket(readers, secure, HOST, "/")) == said


@bounded(10)
async def test_a_websocket_without_tls_is_not_secured() -> None:
    ours, theirs = memory_stream_pair()
    async with background() as nursery, websocket_nursery() as readers:
        nursery.start_soon(behind_websocket(ScriptedVncServer.playing(EchoForever()).serve), theirs)
        assert secured_by(await open_host_websocket(readers, ours, HOST, "/")) == ""
