"""The interactive VNC server: a machine that lives, with a screen to type and to draw on, on any stream.

All its clients see the same screen. What they do can be read from ``text``, ``keys`` and ``pointer``, and waited for
with ``until``.

This file must not know how pixels are drawn, nor how a message looks on the wire.
"""

from __future__ import annotations

import contextlib
import secrets
import ssl
from collections.abc import AsyncIterator, Callable

import attrs
import trio

from ..rfb.vncauth import CHALLENGE_BYTES
from . import keysyms
from .demo_screen import MIN_HEIGHT, MIN_WIDTH, DemoScreen
from .handshake_steps import (
    NONE,
    VENCRYPT,
    VNC_AUTH,
    Authenticate,
    Initialise,
    Result,
    Security,
    Version,
)
from .steps import Conversation, Step, perform
from .streams import MemoryDialer, background, connected
from .viewer import Pointer, Viewer

#: Older key events and endings than this many are forgotten, and older pasted texts than that many.
MAX_REMEMBERED = 10_000
MAX_PASTED = 16

#: More connections than this at once are refused, at the security step.
MAX_CLIENTS = 64

_CONTROLS = frozenset((keysyms.CONTROL, keysyms.CONTROL_RIGHT))
_ALTS = frozenset((keysyms.ALT, keysyms.ALT_RIGHT))
_SUPERS = frozenset((keysyms.SUPER, keysyms.SUPER_RIGHT, keysyms.META, keysyms.META_RIGHT))
_MODIFIERS = _CONTROLS | _ALTS | _SUPERS


def _modifier_names(held: set[int]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(keysyms.name_of(keysym) for keysym in sorted(held)))


@attrs.frozen
class _View:
    """The last step of every connection: the client is a viewer until it leaves."""

    server: InteractiveVncServer

    async def run(self, conversation: Conversation) -> None:
        await self.server.view(conversation)


@attrs.define(eq=False, kw_only=True)
class InteractiveVncServer:
    """A VNC server with a keyboard, a pointer, a clipboard and a clock.

    It speaks RFB 3.3, 3.7 and 3.8. The clock needs a task: ``running`` or ``run``; without it the screen works but
    stands still.

    Args:
        width, height: of the screen in pixels, at least 320 by 200.
        name: the desktop's name; it stands in the title bar too.
        password: what clients have to know; ``None`` lets everybody in.
        tls: a certificate: the server then offers VeNCrypt with X509 only.

    Attributes:
        keys: every key event as ``(down, keysym)``.
        pointer: where the pointer was seen last.
        pasted: the clipboards that clients sent.
        endings: why clients were gone, one text each.
        viewers: the clients past their handshake.
    """

    width: int = attrs.field(default=640, validator=attrs.validators.ge(MIN_WIDTH))
    height: int = attrs.field(default=400, validator=attrs.validators.ge(MIN_HEIGHT))
    name: str = "demo"
    password: str | None = attrs.field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    keys: list[tuple[bool, int]] = attrs.field(factory=list, init=False)
    pointer: Pointer = attrs.field(default=Pointer(), init=False)
    pasted: list[str] = attrs.field(factory=list, init=False)
    endings: list[str] = attrs.field(factory=list, init=False)
    viewers: list[Viewer] = attrs.field(factory=list, init=False)
    screen: DemoScreen = attrs.field(init=False)
    _connections: int = attrs.field(default=0, init=False)
    _waiting: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def __attrs_post_init__(self) -> None:
        self.screen = DemoScreen(self.width, self.height, self.name)

    # -- running it ------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let the machine's clock tick, once a second of trio's time, until cancelled."""
        started = trio.current_time()
        task_status.started()
        while True:
            seconds = round(trio.current_time() - started)
            self.screen.tick(seconds)
            await trio.sleep_until(started + seconds + 1)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[InteractiveVncServer]:
        """The server with its clock ticking, for the length of the block."""
        async with background() as nursery:
            await nursery.start(self.run)
            yield self

    def start(self, nursery: trio.Nursery) -> MemoryDialer:
        """Start the clock in ``nursery`` and return a dialer whose connections are served there."""
        nursery.start_soon(self.run)
        return MemoryDialer(self.serve, nursery)

    def connect(self) -> contextlib.AbstractAsyncContextManager[trio.abc.Stream]:
        """One connection, as a context manager: the client's end of it."""
        return connected(self.serve)

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one client until it leaves, and close the stream; it is closed in any case, also when cancelled.

        Nothing a client sends raises; ``endings`` says why it is gone.
        """
        self._connections += 1
        try:
            await perform(self._script(), Conversation(stream, record_limit=0))
        finally:
            self._connections -= 1

    def _script(self) -> tuple[Step, ...]:
        password = None if self.password is None else self.password.encode("utf-8")
        kind = NONE if password is None else VNC_AUTH
        subtype = 260 if password is None else 261
        return (
            Version(),
            Security(
                (VENCRYPT if self.tls is not None else kind,),
                b"too many clients" if self._connections > MAX_CLIENTS else None,
            ),
            Authenticate(password, secrets.token_bytes(CHALLENGE_BYTES), (subtype,), self.tls),
            Result(),
            Initialise(self.name.encode("utf-8"), self.width, self.height),
            _View(self),
        )

    async def view(self, conversation: Conversation) -> None:
        """Serve a client that is past its handshake."""
        viewer = Viewer(conversation, self.screen.framebuffer, self)
        self.viewers.append(viewer)
        self._clients_changed()
        try:
            await viewer.run()
        finally:
            self.viewers.remove(viewer)
            self.endings.append(viewer.ending or "cancelled")
            self._clients_changed()

    # -- what a test looks at --------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """What stands on the screen as typed."""
        return self.screen.pad.text

    @property
    def clients(self) -> int:
        """How many clients are connected, handshake done."""
        return len(self.viewers)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` is true; it is looked at whenever a client did something, came or left.

        There is no time limit in here: put ``trio.fail_after`` around it.
        """
        await trio.lowlevel.checkpoint()
        while not condition():
            await self._waiting.park()

    @property
    def cursor_colours(self) -> tuple[int, int]:
        """The palette indices of a pointer's outline and inside."""
        return self.screen.cursor_colours

    # -- what a test does ------------------------------------------------------------------------------------------

    def ring_bell(self) -> None:
        """Ring the bell of every client."""
        for viewer in self.viewers:
            viewer.ring()

    def offer_cut_text(self, text: str) -> None:
        """Put a text on the clipboard of every client; Latin-1, what that lacks becomes a question mark."""
        for viewer in self.viewers:
            viewer.offer_cut_text(text)

    # -- what clients do (``Machine``) -----------------------------------------------------------------------------

    def key(self, viewer: Viewer, keysym: int, *, down: bool) -> None:
        """A client pressed or released a key."""
        self.keys.append((down, keysym))
        if keysym in _MODIFIERS:
            (viewer.held.add if down else viewer.held.discard)(keysym)
        if down:
            self._press(keysym, viewer.held)
        name = "+".join((*_modifier_names(viewer.held - {keysym}), keysyms.name_of(keysym)))
        self.screen.show_status("keys", f"{name} ({keysym:#x}) {'down' if down else 'up'}")
        self._happened()

    def point(self, viewer: Viewer, before: Pointer, now: Pointer) -> None:
        """A client moved its pointer."""
        self.pointer = now
        if now.buttons:
            start = (before.x, before.y) if before.buttons else (now.x, now.y)
            self.screen.stroke(start, (now.x, now.y), now.buttons)
        self.screen.show_status("pointer", f"pointer {now.x},{now.y} buttons {now.buttons}")
        self._happened()

    def paste(self, viewer: Viewer, text: str) -> None:
        """A client sent its clipboard: it is typed."""
        self.pasted.append(text)
        pad = self.screen.pad
        pad.insert("".join(char for char in text[-pad.max_chars :] if char.isprintable() or char in "\n\t"))
        self.screen.show_text()
        self.screen.show_status("keys", f"{len(text)} characters pasted")
        self._happened()

    def _press(self, keysym: int, held: set[int]) -> None:
        control, alt = bool(held & _CONTROLS), bool(held & _ALTS)
        if control and not alt:
            self._command(keysym)
        elif not held:
            self._edit(keysym)
        elif control and alt and (char := keysyms.char_of(keysym)) is not None:
            # Both together is how some keyboards say AltGr: the keysym is the character that is meant.
            self.screen.pad.insert(char)
        self.screen.show_text()

    def _edit(self, keysym: int) -> None:
        pad = self.screen.pad
        editing: dict[int, Callable[[], None]] = {
            keysyms.BACKSPACE: pad.backspace,
            keysyms.DELETE: pad.delete,
            keysyms.LEFT: pad.left,
            keysyms.RIGHT: pad.right,
            keysyms.UP: pad.up,
            keysyms.DOWN: pad.down,
            keysyms.HOME: pad.home,
            keysyms.END: pad.end,
            keysyms.ESCAPE: self.screen.clear,
        }
        typing = {keysyms.RETURN: "\n", keysyms.KEYPAD_ENTER: "\n", keysyms.TAB: "\t"}
        if keysym in editing:
            editing[keysym]()
        elif (char := typing.get(keysym) or keysyms.char_of(keysym)) is not None:
            pad.insert(char)

    def _command(self, keysym: int) -> None:
        if keysym in (ord("c"), ord("C")):
            self.offer_cut_text(self.text)
        elif keysym in (ord("g"), ord("G")):
            self.ring_bell()

    def _clients_changed(self) -> None:
        plural = "" if self.clients == 1 else "s"
        self.screen.show_status("clients", f"{self.clients} client{plural}")
        self._happened()

    def _happened(self) -> None:
        del self.keys[:-MAX_REMEMBERED], self.endings[:-MAX_REMEMBERED], self.pasted[:-MAX_PASTED]
        self._waiting.unpark_all()
