"""``ReadyTls`` on real sockets, against trio's own TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
import trustme

from tests.helpers import within
from trio_cpvm import ready_stream
from trio_cpvm.ready_stream import BORROW_BYTES, LEAST_BYTES, TURN_BYTES
from trio_cpvm.ready_tls import RECORD_BYTES, ReadyTls

timely = within(30)
SIZE = 3 << 20
AUTHORITY = trustme.CA()


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    return context


def client_context(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    context.maximum_version = version
    return context


async def connection(buffer: int = 0) -> tuple[trio.SocketStream, trio.SocketStream]:
    """Over loopback, this package's end first."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        theirs = await trio.open_tcp_stream(*listener.socket.getsockname())
        ours = await listener.accept()
    for one in (theirs, ours):
        if buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    return ours, theirs


@contextlib.asynccontextmanager
async def pair(
    *, buffer: int = 0, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, as_client: bool = False
) -> AsyncIterator[tuple[ReadyTls, trio.SSLStream[trio.SocketStream]]]:
    """A TLS connection over loopback, this package's end first."""
    plain, peer = await connection(buffer)
    name = "127.0.0.1"
    if as_client:
        ours = ReadyTls(plain, client_context(version), server_hostname=name)
        theirs = trio.SSLStream(peer, server_context(), server_side=True, https_compatible=True)
    else:
        ours = ReadyTls(plain, server_context())
        theirs = trio.SSLStream(peer, client_context(version), server_hostname=name, https_compatible=True)
    async with ours, theirs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(theirs.do_handshake)
            await ours.do_handshake()
        yield ours, theirs


@timely
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(("buffer", "size"), [(0, SIZE), (4096, 1 << 16)])
@pytest.mark.parametrize("as_client", [False, True])
async def test_everything_arrives_in_both_directions(
    buffer: int, size: int, version: ssl.TLSVersion, as_client: bool
) -> None:
    data = bytes(range(256)) * (size // 256)
    received = bytearray()
    async with (
        pair(buffer=buffer, version=version, as_client=as_client) as (ours, theirs),
        trio.open_nursery() as nursery,
    ):

        async def echo() -> None:
            async for chunk in theirs:
                await theirs.send_all(chunk)

        async def send() -> None:
            for start in range(0, size, 100_000):
                part = memoryview(data)[start : start + 100_000]
                sent = ours.send_parts_now(bytes(part[:7]), part[7:])
                if sent < len(part):
                    sent += ours.send_now(part[sent:])
                await ours.send_all(part[sent:])

        nursery.start_soon(echo)
        nursery.start_soon(send)
        while len(received) < size:
            received += await ours.receive_some(10_000)
            received += await ours.borrow_some() if len(received) < size else b""
        nursery.cancel_scope.cancel()
    assert received == data


@timely
async def test_a_server_that_is_somebody_else_is_refused_and_told() -> None:
    plain, peer = await connection()
    ours = ReadyTls(plain, client_context(ssl.TLSVersion.TLSv1_3), server_hostname="another.test")
    theirs = trio.SSLStream(peer, server_context(), server_side=True)
    async with peer, ours, trio.open_nursery() as nursery:

        async def serve() -> None:
            with pytest.raises(trio.BrokenResourceError) as refused:
                await theirs.do_handshake()
            assert "alert bad certificate" in str(refused.value.__cause__)

        nursery.start_soon(serve)
        with pytest.raises(trio.BrokenResourceError, match="Hostname mismatch"):
            await ours.do_handshake()


@timely
@pytest.mark.parametrize("name", ["", ".test", "a\0b"])
async def test_what_can_be_no_server_s_name_closes_the_connection(name: str) -> None:
    plain, peer = await connection()
    async with peer:
        with pytest.raises((ValueError, TypeError)):
            ReadyTls(plain, client_context(ssl.TLSVersion.TLSv1_3), server_hostname=name)
        assert await peer.receive_some() == b""


@timely
async def test_many_records_are_one_piece_and_a_short_one_comes_at_once() -> None:
    async with pair() as (ours, theirs):
        await theirs.send_all(bytes(3 * RECORD_BYTES + 1))
        await theirs.send_all(b"end")
        await trio.sleep(0.05)
        assert len(await ours.borrow_some()) == 3 * RECORD_BYTES + 4
        await theirs.send_all(b"key")
        assert bytes(await ours.borrow_some()) == b"key"


@timely
async def test_ends() -> None:
    async with pair() as (ours, theirs):  # with a close_notify
        await theirs.aclose()
        assert await ours.receive_some(1) == b""
        assert not await ours.borrow_some()
    async with pair() as (ours, theirs):  # without one, as browsers do
        await theirs.transport_stream.aclose()
        assert await ours.receive_some(1) == b""
    async with pair() as (ours, theirs):
        peer = theirs.transport_stream
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await peer.aclose()
        with contextlib.suppress(trio.BrokenResourceError):  # OpenSSL does not always tell a reset from an end
            assert await ours.receive_some(1) == b""
        with pytest.raises(trio.BrokenResourceError):
            await ours.send_all(b"x")


@timely
async def test_closing_tells_the_peer() -> None:
    async with pair() as (ours, theirs):
        strict = theirs
        strict._https_compatible = False  # would take the end of TCP for an attack
        await ours.aclose()
        await ours.aclose()
        assert await strict.receive_some(1) == b""


@timely
async def test_garbage_breaks_it() -> None:
    async with pair() as (ours, theirs):
        await theirs.transport_stream.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(trio.BrokenResourceError):
            await ours.receive_some(1)
    plain, peer = await connection()
    async with ReadyTls(plain, server_context()) as ours, peer:
        await peer.send_all(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            await ours.do_handshake()


@timely
@pytest.mark.parametrize("reads", [True, False])
async def test_closing_wakes_who_waits(reads: bool) -> None:
    async with pair(buffer=4096) as (ours, _), trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await (ours.receive_some(1) if reads else ours.send_all(bytes(SIZE)))
            nursery.cancel_scope.cancel()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await ours.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_some(1)
    with pytest.raises(trio.ClosedResourceError):
        ours.send_now(b"x")


@timely
async def test_a_cancelled_read_loses_nothing() -> None:
    async with pair() as (ours, theirs):
        with trio.move_on_after(0.01) as read:
            await ours.receive_some(1)
        assert read.cancelled_caught
        await theirs.send_all(b"later")
        assert await ours.receive_some(100) == b"later"


@timely
async def test_who_is_always_ready_gives_up_its_turn() -> None:
    turns = operations = 0
    async with pair() as (ours, theirs), trio.open_nursery() as nursery:

        async def count_turns() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        await theirs.send_all(bytes(100_000))
        nursery.start_soon(count_turns)
        with trio.CancelScope() as scope:
            while True:
                if turns >= 3:
                    scope.cancel()
                await ours.receive_some(1) if operations < 50_000 else await ours.send_all(b"x")
                operations += 1
        nursery.cancel_scope.cancel()
    assert operations <= 6 * TURN_BYTES // LEAST_BYTES


@timely
async def test_the_socket_is_given_back() -> None:
    plain, peer = await connection()
    number = plain.socket.fileno()
    async with peer:
        ours = ReadyTls(plain, server_context())
        assert ours.socket.fileno() == number
        assert plain.socket.fileno() == -1
        await ours.aclose()
        assert await peer.receive_some() == b""


@timely
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_what_comes_is_handed_on_until_the_end(version: ssl.TLSVersion) -> None:
    data = bytes(range(256)) * 1024
    taken = bytearray()
    ends = 0

    def take(part: bytes | memoryview) -> bool:
        nonlocal ends
        taken.extend(part)
        ends += not part
        return True

    async with pair(version=version) as (ours, theirs), trio.open_nursery() as nursery:

        async def send() -> None:
            for start in range(0, len(data), 50_000):
                await theirs.send_all(data[start : start + 50_000])
                await trio.testing.wait_all_tasks_blocked(0.001)
            await theirs.aclose()

        nursery.start_soon(send)
        while not ends:
            await ours.hand_on(take)
    assert taken == data
    assert ends == 1


@timely
async def test_who_hands_on_is_woken_by_closing() -> None:
    async with pair() as (ours, _), trio.open_nursery() as nursery:

        async def hand_on() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await ours.hand_on(lambda _: True)

        nursery.start_soon(hand_on)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await ours.aclose()


@timely
async def test_what_openssl_has_read_already_is_handed_on_when_the_turn_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The socket has nothing more then, and will not tell of it."""
    monkeypatch.setattr(ready_stream, "TURN_BYTES", BORROW_BYTES)
    size = BORROW_BYTES + 1000
    taken = 0

    def take(part: bytes | memoryview) -> bool:
        nonlocal taken
        taken += len(part)
        return taken < size

    async with pair(buffer=1 << 20) as (ours, theirs), trio.open_nursery() as nursery:

        async def send() -> None:
            await theirs.send_all(bytes(20_000))
            await theirs.send_all(bytes(size - 20_000))  # its last record begins in one turn and ends in the next

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked(0.05)
        while taken < size:
            await ours.hand_on(take)
    assert taken == size
