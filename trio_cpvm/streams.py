"""Small trio streams that stand between others."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
import termios

import attrs
import trio

from .ready_stream import ReadySocket, SocketReadyStream


class PrefixedStream(trio.abc.Stream):
    """A stream whose first bytes have been read already: hands those out first, then reads on.

    Attributes:
        transport: the stream behind it.
    """

    def __init__(self, prefix: bytes, stream: trio.abc.Stream) -> None:
        self._prefix = prefix
        self.transport = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As trio's ``ReceiveStream.receive_some``. Cancelling it loses nothing."""
        if not self._prefix:
            return await self.transport.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        data, self._prefix = self._prefix[:max_bytes], b"" if max_bytes is None else self._prefix[max_bytes:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As trio's ``SendStream.send_all``."""
        await self.transport.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As trio's ``SendStream.wait_send_all_might_not_block``."""
        await self.transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream behind."""
        await self.transport.aclose()


async def close_at_once(stream: trio.abc.AsyncResource) -> None:
    """As ``trio.aclose_forcefully``, which takes a turn of the event loop even where a plain socket is all there is.

    Closing what is closed already does nothing.
    """
    if isinstance(stream, SocketReadyStream) and stream.socket.fileno() < 0:
        return
    bare = stream
    if isinstance(stream, ReadySocket):
        stream.closing()
        bare = stream.transport
    if isinstance(bare, trio.SocketStream):
        bare.socket.close()
    else:
        await trio.aclose_forcefully(bare)


#: A peer that has vanished without a word (power, network) is noticed after about two minutes of silence; likewise
#: where something is on its way to it: the system would wait a quarter of an hour (tcp(7), ``TCP_USER_TIMEOUT``).
KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 120_000),  # milliseconds
)


def keep_alive(stream: trio.SocketListener | trio.abc.Stream) -> None:
    """Have the system probe a TCP peer that says nothing; other streams are left alone.

    What a listener accepts from then on has its settings from the start (Linux: ``sk_clone_lock``).
    """
    if not isinstance(stream, trio.SocketStream | trio.SocketListener):
        return
    sock = stream.socket
    if sock.family in (socket.AF_INET, socket.AF_INET6) and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
        for level, option, value in KEEP_ALIVE:
            sock.setsockopt(level, option, value)


#: How much the kernel takes for a browser beyond what is under way to it, in bytes. trio's own 16 KiB have a relay wait
#: several times for each read of a host that sends fast; much more would only be old pictures (tcp(7),
#: ``TCP_NOTSENT_LOWAT``).
UNSENT_BYTES = 128 * 1024


def take_more(stream: trio.abc.Stream) -> None:
    """Have the system take up to ``UNSENT_BYTES`` ahead of what it has sent, where it is TCP."""
    sock = _socket(stream)
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):  # it went away in the meantime
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


#: Where ``tcpi_rtt`` stands in Linux's ``struct tcp_info`` (linux/tcp.h): behind eight bytes and fifteen ``__u32``.
_TCPI_RTT = struct.Struct("=68xI")


def smoothed_rtt_s(stream: trio.abc.Stream) -> float | None:
    """The kernel's smoothed round-trip time of the TCP connection under a stream, in seconds.

    Looks through TLS and the streams that this package puts around others. ``None`` where there is no TCP connection,
    or none any more, or nothing has been measured yet.
    """
    found = _tcp_info(stream, _TCPI_RTT)
    return found[0] / 1e6 if found and found[0] else None


#: Likewise ``tcpi_bytes_acked`` (64 bits, behind the ``__u32`` and two ``__u64``) and ``tcpi_notsent_bytes``; how many
#: packets are on their way, ``tcpi_unacked``, is the fifth ``__u32``.
_TCPI_DELIVERY = struct.Struct("=24xI92xQ16xI")


@attrs.frozen
class Delivery:
    """How far the kernel has come with what was sent.

    Attributes:
        acknowledged: bytes that have arrived in all; only ever more.
        under_way: whether some have not.
    """

    acknowledged: int
    under_way: bool


def delivery(stream: trio.abc.Stream) -> Delivery | None:
    """How much of what was sent has arrived at the peer's end of the TCP connection under a stream.

    ``None`` as with ``smoothed_rtt_s``.
    """
    found = _tcp_info(stream, _TCPI_DELIVERY)
    if found is None:
        return None
    unacknowledged, acknowledged, not_sent = found
    return Delivery(acknowledged, bool(unacknowledged or not_sent))


def _tcp_info(stream: trio.abc.Stream, wanted: struct.Struct) -> tuple[int, ...] | None:
    """Fields of ``struct tcp_info`` of the TCP connection under a stream, where there is one."""
    sock = _socket(stream)
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, wanted.size)
    except OSError:
        return None
    return wanted.unpack(info) if len(info) >= wanted.size else None


@attrs.frozen
class PeerProcess:
    """The process at the other end of a unix socket, as it was when it connected."""

    pid: int
    uid: int


#: Linux's ``struct ucred`` (unix(7)): process, user and group id.
_UCRED = struct.Struct("=iII")


def peer_process(stream: trio.abc.Stream) -> PeerProcess | None:
    """Who is at the other end of a unix socket; ``None`` for every other stream."""
    if not isinstance(stream, trio.SocketStream) or stream.socket.family != socket.AF_UNIX:
        return None
    credentials = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(credentials)
    return PeerProcess(pid, uid)


def stream_layers(stream: trio.abc.Stream) -> list[str]:
    """What a stream is made of, from the outermost one to the socket, by class name."""
    layers = [type(stream).__name__]
    while (inner := _inner(stream)) is not None:
        stream = inner
        layers.append(type(stream).__name__)
    return layers


def socket_state(stream: trio.abc.Stream) -> dict[str, object]:
    """What the kernel knows of the socket under a stream; empty where there is none, or none any more."""
    sock = _socket(stream)
    if sock is None or sock.fileno() < 0:
        return {}
    number = sock.fileno()
    state: dict[str, object] = {
        "unread in the kernel": _queued(number, termios.FIONREAD),
        "unsent in the kernel": _queued(number, termios.TIOCOUTQ),
    }
    rtt_s = smoothed_rtt_s(stream)
    return state if rtt_s is None else {**state, "round trip, ms": rtt_s * 1000}


def _queued(number: int, question: int) -> int | None:
    """Bytes in one of a socket's queues (tcp(7): ``SIOCINQ`` and ``SIOCOUTQ``, which have the terminals' numbers)."""
    try:
        return int.from_bytes(fcntl.ioctl(number, question, bytes(4)), sys.byteorder)
    except OSError:
        return None


def _socket(stream: trio.abc.Stream) -> socket.socket | trio.socket.SocketType | None:
    """The socket under a stream, where there is one."""
    found: trio.abc.Stream | None = stream
    while found is not None:
        if isinstance(found, trio.SocketStream | SocketReadyStream):
            return found.socket
        found = _inner(found)
    return None


def _inner(stream: trio.abc.Stream) -> trio.abc.Stream | None:
    """The stream under another one."""
    inner = stream.transport_stream if isinstance(stream, trio.SSLStream) else getattr(stream, "transport", None)
    return inner if isinstance(inner, trio.abc.Stream) else None
