"""What the handshake asks its driver to do. Values only; how they are carried out is the driver's business."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from ..errors import ConsoleError
from .pixelformat import PixelFormat


@attrs.frozen
class SendToServer:
    """Send ``data`` to the VNC server. ``what`` names it; ``secret`` keeps the bytes out of ``repr``."""

    data: bytes
    what: str
    secret: bool = False

    def __repr__(self) -> str:
        shown = f"<{len(self.data)} bytes>" if self.secret else repr(self.data)
        return f"SendToServer({shown}, {self.what!r})"


@attrs.frozen
class SendToClient:
    """Send ``data`` to the browser. ``what`` names it."""

    data: bytes
    what: str

    def __repr__(self) -> str:
        return f"SendToClient({self.data!r}, {self.what!r})"


@attrs.frozen(kw_only=True)
class StartTls:
    """Begin TLS on the server's stream, as the client; what follows goes through it.

    Attributes:
        anonymous: VeNCrypt's sub-types without certificates. Otherwise the certificate has to be verified.
    """

    anonymous: bool = False


@attrs.frozen
class Reconnect:
    """Close the server's stream and connect anew; the handshake begins again on the new one."""


@attrs.frozen(kw_only=True)
class Established:
    """Both handshakes are done; from here on bytes are carried as they come.

    Attributes:
        name: what the browser was told the console is called.
        width: of the framebuffer, in pixels, at the start.
        height: likewise.
        pixel_format: the server's own.
        server_version: the RFB version agreed on with the server.
        client_version: likewise with the browser.
        security: how the server was authenticated to.
    """

    name: str
    width: int
    height: int
    pixel_format: PixelFormat = attrs.field(repr=False)
    server_version: str
    client_version: str
    security: str


@attrs.frozen
class Failed:
    """The handshake is over.

    Attributes:
        error: why.
        farewell: the browser's last message, which tells it why in RFB's words; empty where RFB allows none. It has to
            go out in one write with whatever closes the connection: a client that reads it closes at once itself, and
            would otherwise often be faster than our close code.
    """

    error: ConsoleError
    farewell: bytes = b""


Command: TypeAlias = SendToServer | SendToClient | StartTls | Reconnect | Established | Failed
