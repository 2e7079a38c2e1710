"""A picture of an X screen, asked of the X server itself: the reference that VNC has no part in.

Just enough of the X11 protocol (X Window System Protocol, X.Org, appendix B) to do that: no access control, little
endian, 32 bits a pixel.
"""

from __future__ import annotations

import socket
import struct
from typing import Self

from .pictures import Picture, from_bgrx
from .processes import PATIENCE_S

_GET_GEOMETRY, _GET_IMAGE = 14, 73
_Z_PIXMAP, _ALL_PLANES = 2, 0xFFFFFFFF
_REPLY = 1


class X11Error(Exception):
    """The X server answered with something else than what was asked for."""


class XScreen:
    """A connection to display ``number`` of this machine."""

    def __init__(self, number: int) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        try:
            self._socket.connect(f"/tmp/.X11-unix/X{number}")
            self._root = self._open()
        except BaseException:
            self._socket.close()
            raise

    def _open(self) -> int:
        """The set-up exchange; the id of the root window."""
        self._socket.sendall(struct.pack("<BxHHHHxx", ord("l"), 11, 0, 0, 0))
        status, length = struct.unpack("<Bx2x2xH", self._read(8))
        body = self._read(length * 4)
        if status != 1:
            raise X11Error(f"no connection: {body!r}")
        vendor_length, _, _, formats = struct.unpack_from("<HHBB", body, 16)
        at = 32 + (vendor_length + 3) // 4 * 4 + formats * 8
        root: int = struct.unpack_from("<I", body, at)[0]
        return root

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise X11Error("the X server hung up")
            data += piece
        return bytes(data)

    def _ask(self, request: bytes) -> tuple[bytes, bytes]:
        """The 32 bytes of the reply, and what follows them."""
        self._socket.sendall(request)
        head = self._read(32)
        while head[0] not in (0, _REPLY):  # an event
            head = self._read(32)
        if head[0] != _REPLY:
            raise X11Error(f"error {head[1]} for request {request[0]}")
        return head, self._read(int.from_bytes(head[4:8], "little") * 4)

    def picture(self) -> Picture:
        """What the whole screen shows, without the pointer."""
        head, _ = self._ask(struct.pack("<BxHI", _GET_GEOMETRY, 2, self._root))
        width, height = struct.unpack_from("<HH", head, 16)
        request = struct.pack("<BBHIhhHHI", _GET_IMAGE, _Z_PIXMAP, 5, self._root, 0, 0, width, height, _ALL_PLANES)
        _, pixels = self._ask(request)
        return from_bgrx(width, height, pixels[: width * height * 4])

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
