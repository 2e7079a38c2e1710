"""``PrefixedStream`` is a stream like any other (trio's own conformance check); what is known of a stream's socket."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
import trio
from trio.testing import check_two_way_stream, memory_stream_pair

from tests.helpers import within
from tests.upstream.networks import inside_tls, server_context
from trio_cpvm.config import UpstreamConfig
from trio_cpvm.streams import PrefixedStream, smoothed_rtt_s
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


async def test_what_is_held_back_goes_out_with_the_next() -> None:
    ours, theirs = memory_stream_pair()
    stream = PrefixedStream(b"", ours)
    stream.hold_next()
    await stream.send_all(b"last words")
    with trio.move_on_after(0):
        assert not await theirs.receive_some()
    await stream.send_all(b", goodbye")
    assert await theirs.receive_some() == b"last words, goodbye"


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


@within(10)
async def test_the_round_trip_time_is_read_in_microseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel has it: linux/tcp.h, ``tcpi_rtt`` at byte 68."""
    info = bytearray(range(100, 172))
    info[68:72] = (12_345).to_bytes(4, sys.byteorder)
    monkeypatch.setattr(trio.SocketStream, "getsockopt", lambda *_: bytes(info))
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
