"""Servers of the tests' own between proxy and host, in threads of this process: one that keeps what the proxy sends,
one that changes what a host offers, and one that answers CONNECT as XenServer does.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from typing import Self

from .processes import PATIENCE_S

#: How long a cut in an answer is, in seconds: enough for the proxy to be given the first part alone.
_CUT_S = 0.002
_RECEIVE_BYTES = 65536


class Forwarder:
    """Passes connections on to a host and keeps every byte that the proxy sends there.

    Args:
        port: the host's, on 127.0.0.1.

    Attributes:
        port: its own, on 127.0.0.1.
        sent: what the proxy sent, for each of its connections, in the order in which they were made.
        ended: how many of them are over.
    """

    host = "127.0.0.1"

    def __init__(self, port: int) -> None:
        self.sent: list[bytearray] = []
        self.ended = 0
        self._host_port = port
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:  # shut down
                return
            kept = bytearray()
            self.sent.append(kept)
            self._open.append(stream)
            self._start(self._serve, stream, kept)

    def _start(self, target: object, *args: object) -> None:
        assert callable(target)
        thread = threading.Thread(target=target, args=args, name=type(self).__name__)
        self._threads.append(thread)
        thread.start()

    def _serve(self, stream: socket.socket, kept: bytearray) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as closing:
            stream.settimeout(PATIENCE_S)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            closing.enter_context(stream)
            client = closing.enter_context(self._secured(stream))
            host = closing.enter_context(socket.create_connection((self.host, self._host_port), PATIENCE_S))
            self._open.append(host)
            if self._begin(client, host, kept):
                self._relay(client, host, kept)
        self.ended += 1

    def _secured(self, stream: socket.socket) -> socket.socket:
        """The connection as it is talked on."""
        return stream

    def _begin(self, client: socket.socket, host: socket.socket, kept: bytearray) -> bool:
        """What comes in front of passing on; whether there is to be any."""
        return True

    @staticmethod
    def _relay(client: socket.socket, host: socket.socket, kept: bytearray) -> None:
        while True:
            waiting = [client] if isinstance(client, ssl.SSLSocket) and client.pending() else []
            for source in waiting or select.select([client, host], [], [])[0]:
                data = source.recv(_RECEIVE_BYTES)
                if not data:
                    return
                if source is client:
                    kept += data
                    host.sendall(data)
                else:
                    client.sendall(data)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for stream in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()


class TlsWrapper(Forwarder):
    """TLS in front of a host that has none."""

    def __init__(self, port: int, tls: ssl.SSLContext) -> None:
        super().__init__(port)
        self._tls = tls

    def _secured(self, stream: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(stream, server_side=True)


class OffersOnly(Forwarder):
    """Makes the host's list of security types one that has a single type.

    Args:
        port: the host's.
        kind: the type that is left.

    Attributes:
        offered: what the host itself offered, for each connection.
    """

    def __init__(self, port: int, kind: int) -> None:
        super().__init__(port)
        self._kind = kind
        self.offered: list[list[int]] = []

    def _begin(self, client: socket.socket, host: socket.socket, kept: bytearray) -> bool:
        client.sendall(_read(host, 12))
        version = _read(client, 12)
        kept += version
        host.sendall(version)
        kinds = list(_read(host, _read(host, 1)[0]))
        self.offered.append(kinds)
        assert self._kind in kinds
        client.sendall(bytes([1, self._kind]))
        return True


class XenServer(Forwarder):
    """A CONNECT server in front of a VNC server.

    Args:
        port: the VNC server's.
        tls: answers over TLS.

    Attributes:
        requests: the heads of all requests.
        answer: what it says; a status other than 200 ends the connection.
        cut: where its answer (with the VNC server's first twelve bytes behind) is cut in two.
        ends_at_cut: the second part never comes.
    """

    ANSWER = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nCache-Control: no-cache, no-store\r\n\r\n"

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(port)
        self._tls = tls
        self.requests: list[bytes] = []
        self.answer = self.ANSWER
        self.cut = 0
        self.ends_at_cut = False

    def _secured(self, stream: socket.socket) -> socket.socket:
        return stream if self._tls is None else self._tls.wrap_socket(stream, server_side=True)

    def _begin(self, client: socket.socket, host: socket.socket, kept: bytearray) -> bool:
        head = bytearray()
        while not head.endswith(b"\r\n\r\n"):
            head += _read(client, 1)
        self.requests.append(bytes(head))
        opened = b" 200 " in self.answer
        answer = self.answer + (_read(host, 12) if opened else b"")
        client.sendall(answer[: self.cut])
        time.sleep(_CUT_S)
        if self.ends_at_cut:
            return False
        client.sendall(answer[self.cut :])
        return opened


def _read(stream: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            raise ConnectionResetError("the other side hung up")
        data += piece
    return bytes(data)
