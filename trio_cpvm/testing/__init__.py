"""Doubles for both sides of a console proxy: VNC servers, a browser, an RFB client. Public; use them in your own tests.

All of them take any ``trio.abc.Stream``, so a test needs neither ports nor threads nor real time. A server that
follows a script, and a client::

    from trio_cpvm.testing import RfbClient, ScriptedVncServer

    server = ScriptedVncServer(password="secret", name="web-01")
    async with server.connect() as stream:
        client = RfbClient(stream)
        init = await client.handshake("secret")
    assert init.name == "web-01" and "challenge ok" in server.events

A server that misbehaves is a list of steps::

    from trio_cpvm.testing import Security, SendSlowly, Stall, Version

    ScriptedVncServer(refuse_with="too many security failures")
    ScriptedVncServer.playing(SendSlowly(b"RFB 003.008\\n", pause_s=30))
    ScriptedVncServer.playing(Version(b"RFB 003.003\\n"), Security((2,)), Stall())

A machine to type and draw on, which several clients may look at::

    async with InteractiveVncServer(name="web-01").running() as machine, machine.connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        await client.type_text("hello")
        await machine.until(lambda: machine.text == "hello")
        picture = await client.refresh()  # picture.png() is a file to look at

For code that connects by itself, ``machine.start(nursery)`` (or ``server.start(nursery)``) gives a ``MemoryDialer``
with an ``async dial(...)``, and ``listening(machine.serve)`` a TCP port. ``behind_websocket(machine.serve)`` is the
same machine reached through a WebSocket.

The browser's side of a proxy, over a stream to it::

    page = await http_get(stream, "/novnc/?token=...")
    websocket = await open_websocket(stream, "/websockify?token=...", origin="https://console.test")
    client = RfbClient(websocket)

``UpgradeRefused`` holds a refusal; ``websocket.close_code`` says how it ended; ``vanish`` and ``go_silent`` are what
users do. The fixtures for pytest-trio are in ``trio_cpvm.testing.fixtures``.
"""

from __future__ import annotations

from . import keysyms
from .browser import HttpAnswer, UpgradeRefused, http_get, open_websocket
from .framebuffer import Damage, Framebuffer, PixelEncoder
from .handshake_steps import CHALLENGE, Authenticate, Initialise, Result, Security, Version
from .image import Image, Rect
from .interactive import InteractiveVncServer
from .rfbclient import RfbClient, RfbRefused, RfbViolation, ServerInit
from .scripted import ScriptedVncServer
from .steps import (
    Abort,
    Close,
    Conversation,
    EchoForever,
    Event,
    Expect,
    Pause,
    Read,
    ReadForever,
    ScriptMismatch,
    Send,
    SendForever,
    SendSlowly,
    Stall,
    StartTls,
    Step,
    perform,
)
from .streams import (
    MemoryDialer,
    StreamEnded,
    TrickleStream,
    abort,
    background,
    connected,
    listening,
    read_exactly,
)
from .viewer import Pointer
from .websocket import Opcode, WebSocketDouble, accept_websocket, behind_websocket

__all__ = [
    "CHALLENGE",
    "Abort",
    "Authenticate",
    "Close",
    "Conversation",
    "Damage",
    "EchoForever",
    "Event",
    "Expect",
    "Framebuffer",
    "HttpAnswer",
    "Image",
    "Initialise",
    "InteractiveVncServer",
    "MemoryDialer",
    "Opcode",
    "Pause",
    "PixelEncoder",
    "Pointer",
    "Read",
    "ReadForever",
    "Rect",
    "Result",
    "RfbClient",
    "RfbRefused",
    "RfbViolation",
    "ScriptMismatch",
    "ScriptedVncServer",
    "Security",
    "Send",
    "SendForever",
    "SendSlowly",
    "ServerInit",
    "Stall",
    "StartTls",
    "Step",
    "StreamEnded",
    "TrickleStream",
    "UpgradeRefused",
    "Version",
    "WebSocketDouble",
    "abort",
    "accept_websocket",
    "background",
    "behind_websocket",
    "connected",
    "http_get",
    "keysyms",
    "listening",
    "open_websocket",
    "perform",
    "read_exactly",
]
