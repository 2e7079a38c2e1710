"""The daemon with TLS listeners, on loopback: page and console over HTTPS, and those who come with something else."""

from __future__ import annotations

import contextlib
import ssl
import time
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
import trio
import trustme

from tests.upstream.bounds import bounded
from trio_cpvm.addresses import parse_trusted_proxy
from trio_cpvm.config import Config, ServerConfig, TlsConfig, TokenConfig, UpstreamConfig
from trio_cpvm.config_values import TcpAddress
from trio_cpvm.errors import BadConfiguration
from trio_cpvm.models import ConsoleTarget, Secret
from trio_cpvm.parts import make_parts
from trio_cpvm.server import Bound, Server, insecure_settings
from trio_cpvm.testing import (
    EchoForever,
    HttpAnswer,
    RfbClient,
    ScriptedVncServer,
    StreamEnded,
    WebSocketDouble,
    http_get,
    listening,
    open_websocket,
)
from trio_cpvm.token import TokenKey, mint_token, write_key_file

AUTHORITY = trustme.CA()
KEY = TokenKey(bytes(range(0x10)), bytes(range(0x10, 0x20)))
ANY = TcpAddress("127.0.0.1", 0)
HEAD_TIMEOUT_S = 0.4


def write_pair(folder: Path) -> trustme.LeafCert:
    pair = AUTHORITY.issue_cert("127.0.0.1", "console.test")
    (folder / "chain.pem").write_bytes(pair.cert_chain_pems[0].bytes())
    (folder / "key.pem").write_bytes(pair.private_key_pem.bytes())
    return pair


def der(pair: trustme.LeafCert) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.cert_chain_pems[0].bytes().decode("ascii"))


@attrs.define(eq=False)
class Daemon:
    """A running server.

    Attributes:
        server: the server.
        bound: where it listens.
    """

    server: Server
    bound: Bound

    def port(self, scheme: str) -> int:
        (url,) = [url for url in self.bound.public if url.startswith(f"{scheme}://")]
        return int(url.rpartition(":")[2])

    async def connect(self, scheme: str = "https") -> trio.SocketStream:
        """A bare connection to the listener."""
        return await trio.open_tcp_stream("127.0.0.1", self.port(scheme))

    async def browse(self) -> trio.SSLStream[trio.SocketStream]:
        """A connection as a browser makes it."""
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        AUTHORITY.configure_trust(client)
        stream = trio.SSLStream(await self.connect(), client, server_hostname="127.0.0.1", https_compatible=True)
        await stream.do_handshake()
        return stream

    async def get(self, path: str) -> HttpAnswer:
        stream = await self.browse()
        try:
            return await http_get(stream, path)
        finally:
            await trio.aclose_forcefully(stream)

    async def lives(self) -> bool:
        """Whether it still answers, and has forgotten those who were turned away."""
        while self.server.front.connections:  # noqa: ASYNC110 -- nothing tells
            await trio.sleep(0.01)
        return (await self.get("/novnc/status")).status == 200


def config(folder: Path, *, plain: bool = False) -> Config:
    write_key_file(folder / "token-key.json", KEY)
    return Config(
        server=ServerConfig(
            listen=(ANY,) if plain else (), listen_tls=(ANY,), head_timeout_s=HEAD_TIMEOUT_S, drain_timeout_s=0
        ),
        tls=TlsConfig(certificate=str(folder / "chain.pem"), private_key=str(folder / "key.pem")),
        token=TokenConfig(key_files=(folder / "token-key.json",)),
        admin=attrs.evolve(Config().admin, listen=ANY),
    )


@contextlib.asynccontextmanager
async def running(folder: Path, *, plain: bool = False) -> AsyncIterator[Daemon]:
    write_pair(folder)
    server = Server(config(folder, plain=plain))
    async with trio.open_nursery() as nursery:
        bound: Bound = await nursery.start(server.run)
        yield Daemon(server, bound)
        server.stop()
        await server.stopped.wait()


def token(host: str, port: int, vm_id: str = "vm-1") -> str:
    target = ConsoleTarget(host=host, port=port, password=Secret("secret"), vm_id=vm_id, not_after=time.time() + 600)
    return mint_token(target, KEY).replace("+", "%2B")


# -- serving -------------------------------------------------------------------------------------------------------


@bounded(20)
async def test_page_and_console_over_https(tmp_path: Path) -> None:
    host = ScriptedVncServer(password="secret", name="web-01", then=[EchoForever()])
    async with running(tmp_path) as daemon, listening(host.serve) as (address, port):
        page = await daemon.get(f"/novnc/?token={token(address, port)}")
        assert page.status == 200
        assert page.header("content-type") == "text/html; charset=utf-8"
        stream = await daemon.browse()
        origin = f"https://127.0.0.1:{daemon.port('https')}"
        websocket = await open_websocket(
            stream, f"/websockify?token={token(address, port)}", host=origin.removeprefix("https://"), origin=origin
        )
        assert (await RfbClient(websocket).handshake()).name == "web-01"
        await websocket.send_all(b"\4\1\0\0\0\0\0a")
        assert await websocket.receive_some() == b"\4\1\0\0\0\0\0a"
        await websocket.close()
        assert await daemon.lives()


@bounded(20)
async def test_several_requests_on_one_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        stream = await daemon.browse()
        for _ in range(3):
            assert (await http_get(stream, "/novnc/status")).status == 200
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("plain", [False, True])
@bounded(20)
async def test_browsers_are_told_to_stay_with_tls_only_where_nothing_else_listens(tmp_path: Path, plain: bool) -> None:
    async with running(tmp_path, plain=plain) as daemon:
        answer = await daemon.get("/novnc/?token=x")
        assert answer.header("strict-transport-security") == (None if plain else "max-age=31536000")
        assert [url.partition(":")[0] for url in daemon.bound.public] == (["http", "https"] if plain else ["https"])
        if plain:
            stream = await daemon.connect("http")
            answer = await http_get(stream, "/novnc/?token=x")
            assert answer.status == 403
            assert answer.header("strict-transport-security") is None
            await trio.aclose_forcefully(stream)


# -- others --------------------------------------------------------------------------------------------------------


async def ends(stream: trio.abc.Stream, within_s: float) -> bytes:
    """What still comes until the daemon closes, which it has to do in time."""
    data = b""
    try:
        with trio.fail_after(within_s), contextlib.suppress(trio.BrokenResourceError):
            while chunk := await stream.receive_some():
                data += chunk
    finally:
        await trio.aclose_forcefully(stream)
    return data


@pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
@bounded(20)
async def test_a_client_that_stalls_in_the_handshake_is_closed(tmp_path: Path, said: bytes) -> None:
    async with running(tmp_path) as daemon:
        stream = await daemon.connect()
        started = trio.current_time()
        await stream.send_all(said)
        assert await ends(stream, 5) == b""
        assert HEAD_TIMEOUT_S * 0.9 <= trio.current_time() - started < HEAD_TIMEOUT_S + 2
        assert await daemon.lives()


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"RFB 003.008\n", bytes(100), b"\x80\x2e\1\0\2"]
)
@bounded(20)
async def test_a_client_that_speaks_no_tls_is_closed_at_once(
    tmp_path: Path, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as daemon:
        stream = await daemon.connect()
        await stream.send_all(said)
        assert b"HTTP" not in await ends(stream, 5)
        assert await daemon.lives()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@bounded(20)
async def test_a_client_that_stalls_behind_the_handshake_is_closed(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        stream = await daemon.browse()
        await stream.send_all(b"GET /novnc/ HTTP/1.1\r\n")
        assert b" 408 " in await ends(stream, 5)
        assert await daemon.lives()


@bounded(20)
async def test_a_client_that_vanishes_leaves_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(tmp_path) as daemon:
        for _ in range(20):
            stream = await daemon.connect()
            await stream.send_all(b"\x16\x03\x01")
            await trio.aclose_forcefully(stream)
            secure = await daemon.browse()
            await trio.aclose_forcefully(secure.transport_stream)
        assert await daemon.lives()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@bounded(20)
async def test_plain_requests_go_nowhere_near_the_site(tmp_path: Path) -> None:
    async with running(tmp_path, plain=True) as daemon:
        stream = await daemon.connect("https")
        with pytest.raises((StreamEnded, trio.BrokenResourceError)):
            await http_get(stream, "/novnc/status")
        await trio.aclose_forcefully(stream)
        assert await daemon.lives()


def old_client(*, ciphers: str, version: ssl.TLSVersion) -> ssl.SSLContext:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(client)
    client.set_ciphers(ciphers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.minimum_version = ssl.TLSVersion.TLSv1
        client.maximum_version = version
    return client


@pytest.mark.parametrize(
    ("ciphers", "version", "good"),
    [
        ("ALL:@SECLEVEL=0", ssl.TLSVersion.TLSv1_1, False),
        ("ALL:@SECLEVEL=0", ssl.TLSVersion.TLSv1, False),
        ("AES128-SHA", ssl.TLSVersion.TLSv1_2, False),
        ("AES128-GCM-SHA256", ssl.TLSVersion.TLSv1_2, False),
        ("ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA256", ssl.TLSVersion.TLSv1_2, False),
        ("aNULL:@SECLEVEL=0", ssl.TLSVersion.TLSv1_2, False),
        ("ECDHE+AESGCM", ssl.TLSVersion.TLSv1_2, True),
        ("ALL:@SECLEVEL=0", ssl.TLSVersion.TLSv1_2, True),
    ],
)
@bounded(20)
async def test_old_versions_and_weak_ciphers_are_refused(
    tmp_path: Path, ciphers: str, version: ssl.TLSVersion, good: bool
) -> None:
    async with running(tmp_path) as daemon:
        transport = await daemon.connect()
        stream = trio.SSLStream(transport, old_client(ciphers=ciphers, version=version), server_hostname="127.0.0.1")
        if good:
            await stream.do_handshake()
            assert stream.version() == "TLSv1.2"
        else:
            with pytest.raises(trio.BrokenResourceError):
                await stream.do_handshake()
        await trio.aclose_forcefully(stream)
        assert await daemon.lives()


# -- another certificate -------------------------------------------------------------------------------------------


async def shown(daemon: Daemon) -> bytes:
    stream = await daemon.browse()
    certificate = stream.getpeercert(binary_form=True)
    await trio.aclose_forcefully(stream)
    assert isinstance(certificate, bytes)
    return certificate


@bounded(20)
async def test_a_reload_shows_the_new_certificate_and_leaves_sessions_alone(tmp_path: Path) -> None:
    host = ScriptedVncServer(password="secret", then=[EchoForever()])
    async with running(tmp_path) as daemon, listening(host.serve) as (address, port):
        websockets: list[WebSocketDouble] = []
        for i in range(50):
            path = f"/websockify?token={token(address, port, f'vm-{i}')}"
            websocket = await open_websocket(await daemon.browse(), path, host="127.0.0.1")
            await RfbClient(websocket).handshake()
            websockets.append(websocket)
        pair = write_pair(tmp_path)
        assert await shown(daemon) != der(pair)
        daemon.server.take(make_parts(daemon.server.config, before=daemon.server.parts))
        assert await shown(daemon) == der(pair)
        (tmp_path / "key.pem").write_text("nothing")
        with pytest.raises(BadConfiguration, match=r"tls\.certificate"):
            make_parts(daemon.server.config, before=daemon.server.parts)
        assert await shown(daemon) == der(pair)
        for websocket in websockets:
            await websocket.send_all(b"\4\1\0\0\0\0\0a")
            assert await websocket.receive_some() == b"\4\1\0\0\0\0\0a"
            await websocket.close()


def test_a_certificate_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    write_pair(tmp_path)
    (tmp_path / "chain.pem").unlink()
    with pytest.raises(BadConfiguration, match=r"tls\.certificate = .*chain\.pem.*: No such file"):
        Server(config(tmp_path))


# -- warnings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("upstream", "keys"),
    [
        (UpstreamConfig(), []),
        (UpstreamConfig(verify_certificate=False), ["upstream.verify_certificate = false"]),
        (UpstreamConfig(verify_hostname=False), ["upstream.verify_hostname = false"]),
        (UpstreamConfig(verify_certificate=False, verify_hostname=False), ["upstream.verify_certificate = false"]),
        (UpstreamConfig(allow_anonymous_tls=True), ["upstream.allow_anonymous_tls = true"]),
        (UpstreamConfig(allow_no_authentication=True), ["upstream.allow_no_authentication = true"]),
        (
            UpstreamConfig(verify_hostname=False, allow_anonymous_tls=True, allow_no_authentication=True),
            [
                "upstream.verify_hostname = false",
                "upstream.allow_anonymous_tls = true",
                "upstream.allow_no_authentication = true",
            ],
        ),
    ],
)
def test_what_is_left_unprotected_is_warned_of_at_start(
    tmp_path: Path, upstream: UpstreamConfig, keys: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    write_pair(tmp_path)
    whole = attrs.evolve(config(tmp_path), upstream=upstream)
    assert [warning.partition(":")[0] for warning in insecure_settings(whole)] == keys
    Server(whole)
    lines = [str(record.msg) for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == len(keys)
    for key, line in zip(keys, lines, strict=True):
        assert key in line


@pytest.mark.parametrize(
    ("trusted", "warned_of"),
    [
        (["10.0.0.0/8", "fd00::/8", "unix"], []),
        (["0.0.0.0/0"], ["server.trusted_proxies = 0.0.0.0/0"]),
        (["unix", "0.0.0.0/0", "::/0"], ["server.trusted_proxies = 0.0.0.0/0", "server.trusted_proxies = ::/0"]),
        (["::ffff:0:0/96"], ["server.trusted_proxies = 0.0.0.0/0"]),
    ],
)
def test_believing_everybody_is_warned_of(trusted: list[str], warned_of: list[str]) -> None:
    server = ServerConfig(trusted_proxies=tuple(parse_trusted_proxy(text) for text in trusted))
    assert [warning.partition(": ")[0] for warning in insecure_settings(Config(server=server))] == warned_of


@bounded(20)
async def test_the_daemon_believes_whom_its_configuration_names(tmp_path: Path) -> None:
    """PROXY protocol before TLS, and no header of the client's own."""
    host = ScriptedVncServer(password="secret", then=[EchoForever()])
    write_pair(tmp_path)
    whole = config(tmp_path)
    believing = attrs.evolve(
        whole.server, trusted_proxies=(parse_trusted_proxy("127.0.0.1"),), proxy_protocol=True, public_url=""
    )
    server = Server(attrs.evolve(whole, server=believing))
    async with trio.open_nursery() as nursery, listening(host.serve) as (address, port):
        daemon = Daemon(server, await nursery.start(server.run))
        stream = await daemon.connect()
        await stream.send_all(b"PROXY TCP4 192.0.2.9 203.0.113.1 56324 443\r\n")
        context = ssl.create_default_context()
        AUTHORITY.configure_trust(context)
        secure = trio.SSLStream(stream, context, server_hostname="127.0.0.1", https_compatible=True)
        path = f"/websockify?token={token(address, port)}"
        websocket = await open_websocket(secure, path, extra_headers=[("X-Forwarded-For", "198.51.100.1")])
        await RfbClient(websocket).handshake()
        (session,) = server.registry
        assert session.client == "192.0.2.9"
        await websocket.close()
        nursery.cancel_scope.cancel()
