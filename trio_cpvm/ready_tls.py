"""TLS on a socket as a ready stream: OpenSSL reads and writes the socket itself.

trio's ``SSLStream`` works on any stream, by way of buffers in memory; here a record goes from the socket to where it is
wanted. What is encrypted for whom, contexts know.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import final

import trio

from .ready_stream import DRAINED_BYTES, SocketReadyStream

#: RFC 8446 section 5.1: what a record holds at most.
RECORD_BYTES = 1 << 14


@final
class ReadyTls(SocketReadyStream):
    """One end of a TLS connection; a peer that ends without a close_notify has just ended, as with HTTP.

    Args:
        stream: trio's own; its socket is taken away from it, and closed where this fails.
        context: with the certificate, or with what those of servers are verified by.
        server_hostname: makes it the client's end: whose certificate the server has to have.

    Raises:
        ValueError, TypeError: that can be nobody's name.
    """

    def __init__(
        self, stream: trio.SocketStream, context: ssl.SSLContext, *, server_hostname: str | None = None
    ) -> None:
        super().__init__()
        self.transport: trio.SocketStream = stream
        plain = socket.socket(fileno=stream.socket.detach())
        try:
            plain.setblocking(False)
            if server_hostname is not None:  # one that is refused later leaves a socket open that nobody has
                context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=server_hostname)
            self._tls = context.wrap_socket(
                plain,
                server_side=server_hostname is None,
                server_hostname=server_hostname,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
            )
        except BaseException:
            plain.close()
            raise

    @property
    def socket(self) -> ssl.SSLSocket:
        return self._tls

    async def do_handshake(self) -> None:
        """Do the handshake; the deadline is the caller's.

        Raises:
            trio.BrokenResourceError: it failed, or the peer is gone.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._descriptor())
            except ssl.SSLWantWriteError:
                await self._wait_writable()
            except (OSError, ValueError) as exc:
                raise trio.BrokenResourceError(f"TLS handshake failed: {exc}") from exc
            else:
                return

    def _read_now(self, buffer: memoryview) -> int:
        """As many records as there are, up to the buffer's size."""
        self._descriptor()
        size = 0
        try:
            while size < len(buffer):
                found = self._tls.recv_into(buffer[size:])
                if not found:
                    break  # if anything came before the end, that is found once more
                size += found
                if size < DRAINED_BYTES and not self._tls.pending():
                    self._drained = True
                    return size
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as exc:
            self._reading_writes = isinstance(exc, ssl.SSLWantWriteError)
            if not size:
                raise BlockingIOError from None
            self._drained = True
        except ssl.SSLEOFError:
            pass
        except OSError as exc:
            if not size:
                raise _broken(exc) from exc
        return size

    def _descriptor(self) -> int:
        descriptor = self._tls.fileno()
        if descriptor < 0:
            raise trio.ClosedResourceError("this socket was already closed")
        return descriptor

    def send_now(self, data: bytes | memoryview) -> int:
        self._descriptor()
        view = memoryview(data)
        sent = 0
        try:
            while sent < len(view):
                sent += self._tls.send(view[sent:])
        except ssl.SSLWantWriteError:
            pass
        except OSError as exc:
            raise _broken(exc) from exc
        return sent

    def send_parts_now(self, head: bytes, body: bytes | memoryview) -> int:
        room = RECORD_BYTES - len(head)
        first = b"".join((head, body[:room]))
        sent = self.send_now(first)
        if sent == len(first) and len(body) > room:
            sent += self.send_now(memoryview(body)[room:])
        return sent

    async def aclose(self) -> None:
        """Say goodbye if the system takes it, and close; who waits for it sees ``trio.ClosedResourceError``."""
        if self._tls.fileno() >= 0:
            self.closing()
            trio.lowlevel.notify_closing(self._tls)
            with contextlib.suppress(OSError, ValueError):
                self._tls.unwrap()  # sends the close_notify; the peer's own is not waited for
            self._tls.close()
        await trio.lowlevel.checkpoint()


def _broken(exc: OSError) -> trio.BrokenResourceError:
    return trio.BrokenResourceError(f"TLS connection broken: {exc}")
