"""``PrefixedStream`` is a stream like any other (trio's own conformance check); what is known of a stream's socket."""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path

import pytest
import trio
from trio.testing import check_two_way_stream, memory_stream_pair

from tests.helpers import within
from tests.upstream.networks import inside_tls, server_context
from trio_cpvm.config import UpstreamConfig
from trio_cpvm.config_values import TcpAddress
from trio_cpvm.listeners import open_listeners
from trio_cpvm.streams import UNSENT_BYTES, Delivery, PrefixedStream, delivery, keep_alive, smoothed_rtt_s, take_more
from trio_cpvm.testing import EchoForever, ScriptedVncServer, behind_websocket, listening
from trio_cpvm.upstream import HostTls
from trio_cpvm.websocket import open_host_websocket, websocket_nursery


@pytest.mark.parametrize("prefix", [b"", b"x"])
async def test_it_conforms(prefix: bytes) -> None:
    async def make_pair() -> tuple[PrefixedStream, PrefixedStream]:
        ours, theirs = memory_stream_pair()
        left, right = PrefixedStream(prefix, ours), PrefixedStream(prefix, theirs)
        if prefix:  # the check wants to see only what it sends itself
            assert await left.receive_some(1) == prefix
            assert await right.receive_some() == prefix
        return left, right

    await check_two_way_stream(make_pair, None)


async def test_the_prefix_comes_first_and_in_pieces() -> None:
    ours, theirs = memory_stream_pair()
    stream = PrefixedStream(b"hello", ours)
    await theirs.send_all(b" world")
    assert await stream.receive_some(2) == b"he"
    assert await stream.receive_some(10) == b"llo"
    assert await stream.receive_some(3) == b" wo"


async def test_a_cancelled_read_loses_nothing() -> None:
    stream = PrefixedStream(b"hello", memory_stream_pair()[0])
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.receive_some()
    assert scope.cancelled_caught
    assert await stream.receive_some() == b"hello"


async def test_closing_closes_what_is_behind() -> None:
    ours, theirs = memory_stream_pair()
    await PrefixedStream(b"", ours).aclose()
    assert await theirs.receive_some() == b""


# -- round trips -------------------------------------------------------------------------------------------------------

ECHO = ScriptedVncServer.playing(EchoForever())


async def in_use(stream: trio.abc.Stream) -> trio.abc.Stream:
    """The stream, once something has gone to and fro on it."""
    await stream.send_all(b"x")
    assert await stream.receive_some() == b"x"
    return stream


def assert_is_loopback(rtt_s: float | None) -> None:
    assert rtt_s is not None
    assert 0 < rtt_s < 1


@within(10)
async def test_the_kernels_round_trip_time_of_a_connection() -> None:
    async with listening(ECHO.serve) as (host, port):
        stream = await in_use(await trio.open_tcp_stream(host, port))
        assert_is_loopback(smoothed_rtt_s(stream))
        assert_is_loopback(smoothed_rtt_s(PrefixedStream(b"", PrefixedStream(b"", stream))))
        await stream.aclose()
        assert smoothed_rtt_s(stream) is None


def socket_class() -> type[trio.socket.SocketType]:
    """trio's own, which has no public name."""
    with trio.socket.socket() as sock:
        return type(sock)


@within(10)
async def test_the_round_trip_time_is_read_in_microseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel has it: linux/tcp.h, ``tcpi_rtt`` at byte 68."""
    info = bytearray(range(100, 172))
    info[68:72] = (12_345).to_bytes(4, sys.byteorder)
    monkeypatch.setattr(socket_class(), "getsockopt", lambda *_: bytes(info))
    async with listening(ECHO.serve) as (host, port):
        stream = await trio.open_tcp_stream(host, port)
        assert smoothed_rtt_s(stream) == 0.012345
        info[68:72] = bytes(4)
        assert smoothed_rtt_s(stream) is None
        del info[70:]
        assert smoothed_rtt_s(stream) is None
        await stream.aclose()


@within(10)
async def test_the_round_trip_time_through_tls_and_websocket() -> None:
    tls = HostTls(UpstreamConfig(verify_certificate=False))
    serve = inside_tls(behind_websocket(ECHO.serve), server_context("127.0.0.1"))
    async with listening(serve) as (host, port), websocket_nursery() as nursery:
        stream = await tls.start(await trio.open_tcp_stream(host, port), host)
        assert_is_loopback(smoothed_rtt_s(stream))
        websocket = await open_host_websocket(nursery, stream, host, "/")
        assert_is_loopback(smoothed_rtt_s(await in_use(websocket)))
        await websocket.aclose()


@within(10)
async def test_streams_without_tcp_have_no_round_trip_time(tmp_path: Path) -> None:
    ours, _ = memory_stream_pair()
    assert smoothed_rtt_s(ours) is None
    assert smoothed_rtt_s(PrefixedStream(b"", ours)) is None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        stream = await trio.open_unix_socket(tmp_path / "socket")
        assert smoothed_rtt_s(stream) is None
        await stream.aclose()


@within(10)
async def test_what_has_arrived_at_the_peers_end() -> None:
    """Until the buffers are full and more is under way; then the peer reads, and all of it arrives."""
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, socket.create_connection(listener.getsockname()) as peer:
        sock, _ = listener.accept()
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        before = delivery(PrefixedStream(b"", stream))
        assert before is not None
        assert not before.under_way
        total = 0
        while not (full := delivery(stream)) or not full.under_way:
            with trio.move_on_after(0.05):
                await stream.send_all(bytes(65536))
                total += 65536
        peer.setblocking(False)
        seen = 0
        while (now := delivery(stream)) and now.under_way:
            try:
                seen += len(peer.recv(1 << 20))
            except BlockingIOError:
                await trio.sleep(0.001)
        assert now is not None
        assert now.acknowledged - before.acknowledged >= seen >= total
        assert now.acknowledged > full.acknowledged
        await stream.aclose()
        assert delivery(stream) is None


@within(10)
async def test_delivery_is_read_where_the_kernel_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """linux/tcp.h: ``tcpi_unacked`` at byte 24, ``tcpi_bytes_acked`` at 120, ``tcpi_notsent_bytes`` at 144."""
    info = bytearray(b"\xff" * 148)
    info[24:28], info[120:128], info[144:148] = bytes(4), (1 << 40).to_bytes(8, sys.byteorder), bytes(4)
    monkeypatch.setattr(socket_class(), "getsockopt", lambda *_: bytes(info))
    async with listening(ECHO.serve) as (host, port):
        stream = await trio.open_tcp_stream(host, port)
        assert delivery(stream) == Delivery(1 << 40, under_way=False)
        info[24] = 1
        assert delivery(stream) == Delivery(1 << 40, under_way=True)
        info[24], info[147] = 0, 1
        assert delivery(stream) == Delivery(1 << 40, under_way=True)
        del info[147:]
        assert delivery(stream) is None
        await stream.aclose()


async def test_of_a_stream_in_memory_nothing_is_known() -> None:
    assert delivery(memory_stream_pair()[0]) is None


@pytest.mark.parametrize("who", ["a connection", "what a listener accepts"])
async def test_the_system_gives_up_a_vanished_peer_after_two_minutes(who: str) -> None:
    """Whether it is silent (keep-alive) or something is on its way to it (user timeout, in milliseconds)."""
    async with contextlib.AsyncExitStack() as stack:
        (listener,) = await stack.enter_async_context(open_listeners(TcpAddress("127.0.0.1", 0)))
        client = await stack.enter_async_context(await trio.open_tcp_stream(*listener.socket.getsockname()))
        stream = await stack.enter_async_context(await listener.accept())
        if who == "a connection":
            keep_alive(client)
            stream = client
        assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle_s, interval_s, count, timeout_ms = (
            stream.getsockopt(socket.IPPROTO_TCP, option)
            for option in (
                socket.TCP_KEEPIDLE,
                socket.TCP_KEEPINTVL,
                socket.TCP_KEEPCNT,
                socket.TCP_USER_TIMEOUT,
            )
        )
    assert idle_s + interval_s * count == timeout_ms / 1000 == 120


async def test_the_system_takes_more_for_a_browser_than_trio_lets_it() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, await trio.open_tcp_stream(*listener.socket.getsockname()) as stream:
        take_more(stream)
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == UNSENT_BYTES
    take_more(stream)  # it is closed
    take_more(memory_stream_pair()[0])
