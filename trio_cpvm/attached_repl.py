"""The daemon's end of ``trio-cpvm repl --attach``: an operator's statements, run in this process, one at a time.

Asked for by an HTTP/1.1 upgrade on the admin listener's unix socket (``GET /repl``, ``Upgrade: trio-cpvm-repl``); then
both sides send JSON objects, one a line::

    {"run": "await trio.sleep(1)"}    run a statement; may be several lines
    {"interrupt": true}               cancel it
    -> {"out": "text"}                it printed that
    -> {"done": true}                 it is over

Whoever may attach may do what the daemon may: only root and the daemon's own user are let in. Does not know what is in
reach; that is ``inspection``'s.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from types import CodeType, TracebackType

import attrs
import trio

from . import __version__, errors
from .errors import ConsoleError
from .http import Request
from .http_io import TakeOver
from .logger import get_logger
from .streams import PeerProcess, peer_process

log = get_logger("trio_cpvm.attached_repl")

PROTOCOL = "trio-cpvm-repl"
MAX_ATTACHED = 2
#: The longest line that is taken, in bytes; a statement has to fit.
MAX_LINE_BYTES = 1 << 16
#: How much may wait to be sent; what is printed beyond that is dropped, and said to be.
MAX_WAITING_CHARS = 1 << 20
#: What a message counts for beside its text.
MESSAGE_CHARS = 64
#: A client that takes nothing for so long is gone, in seconds.
SEND_TIMEOUT_S = 30.0
RECEIVE_BYTES = 16384

_FILE = "<operator>"
_DISPLAY = "__display__"
_STATUS = {403: "Forbidden", 503: "Service Unavailable"}


@attrs.define(eq=False, kw_only=True)
class AttachedRepl:
    """Lets operators in.

    Attributes:
        names: what is in reach, as of now; ``print`` and the like are added here.
        peer: who is at the other end of a stream.
        attached: how many operators are.
    """

    names: Callable[[], Mapping[str, object]]
    peer: Callable[[trio.abc.Stream], PeerProcess | None] = peer_process
    attached: int = attrs.field(default=0, init=False)

    def attach(self, request: Request) -> TakeOver:
        """Answer a request to attach; who asks is looked at once its connection is at hand.

        Raises:
            ConsoleError: it does not ask for this.
        """
        if PROTOCOL not in (item.lower() for item in request.header_items("upgrade")):
            raise ConsoleError(errors.BAD_REQUEST, f"no Upgrade: {PROTOCOL}")
        return TakeOver(self.serve)

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Let in whoever has asked on this connection, if they may; until they leave."""
        peer = self.peer(stream)
        if peer is None or peer.uid not in (0, os.geteuid()):
            log.warning("attaching refused", uid=peer.uid if peer else None, pid=peer.pid if peer else None)
            await _send(stream, _refusal(403, "only root and the daemon's own user may attach, by the unix socket"))
        elif self.attached >= MAX_ATTACHED:
            await _send(stream, _refusal(503, f"{MAX_ATTACHED} operators are attached already"))
        else:
            self.attached += 1
            bound, began = log.bind(uid=peer.uid, pid=peer.pid), trio.current_time()
            bound.warning("operator attached")
            try:
                head = f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n\r\n"
                await _send(stream, head.encode())
                await _Conversation(stream, self.names).run()
            finally:
                self.attached -= 1
                bound.warning("operator detached", after_s=round(trio.current_time() - began, 1))


def _refusal(status: int, text: str) -> bytes:
    head = f"HTTP/1.1 {status} {_STATUS[status]}\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(text) + 1}\r\n\r\n{text}\n".encode()


async def _send(stream: trio.abc.Stream, data: bytes) -> None:
    """Raises ``trio.TooSlowError`` where it is not taken in time."""
    with trio.fail_after(SEND_TIMEOUT_S):
        await stream.send_all(data)


class _Conversation:
    """One operator, from the 101 to the end of the connection, which ends whatever is running."""

    def __init__(self, stream: trio.abc.Stream, names: Callable[[], Mapping[str, object]]) -> None:
        self._stream = stream
        self._names = names
        self._given: dict[str, object] = {}
        self._waiting: deque[dict[str, str | bool]] = deque()
        self._waiting_chars = 0
        self._cut = False
        self._news = trio.Event()
        self._running: trio.CancelScope | None = None
        self._trio = trio.lowlevel.current_trio_token()
        self._namespace: dict[str, object] = {
            "__name__": "__operator__",
            "print": self._print,
            "input": _not_here,
            "breakpoint": _not_here,
            _DISPLAY: self._display,
        }

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_what_waits, nursery.cancel_scope, name="what an operator is sent")
            self._say({"out": f"trio-cpvm {__version__}, process {os.getpid()}\n"})
            self._say({"done": True})
            while (line := await self._next_line()) is not None:
                match _read(line):
                    case {"run": str(source)} if self._running is None:
                        self._running = trio.CancelScope()
                        nursery.start_soon(self._run, source, self._running, name="an operator's statement")
                    case {"interrupt": True}:
                        if self._running is not None:  # else it is over already
                            self._running.cancel()
                    case _:
                        break
            nursery.cancel_scope.cancel()

    # -- lines

    _unread = b""

    async def _next_line(self) -> bytes | None:
        """``None`` at the end, or for a line that is too long."""
        while b"\n" not in self._unread:
            if len(self._unread) > MAX_LINE_BYTES:
                return None
            data = await self._stream.receive_some(RECEIVE_BYTES)
            if not data:
                return None
            self._unread += data
        line, self._unread = self._unread.split(b"\n", 1)
        return line

    def _say(self, message: dict[str, str | bool]) -> None:
        self._waiting.append(message)
        self._news.set()

    async def _send_what_waits(self, conversation: trio.CancelScope) -> None:
        try:
            while True:
                await self._news.wait()
                self._news = trio.Event()
                lines = [json.dumps(message) + "\n" for message in self._waiting]
                self._waiting.clear()
                self._waiting_chars, self._cut = 0, False
                await _send(self._stream, "".join(lines).encode())
        except (trio.BrokenResourceError, trio.TooSlowError):
            conversation.cancel()

    # -- statements

    async def _run(self, source: str, scope: trio.CancelScope) -> None:
        with scope:
            await self._execute(source)
        if scope.cancelled_caught:
            self._write("interrupted\n")
        self._running = None
        self._say({"done": True})

    async def _execute(self, source: str) -> None:
        """Run a statement; whatever it raises is shown to the operator, and the daemon goes on."""
        self._refresh_names()
        try:
            result = eval(compile_statement(source), self._namespace)  # noqa: S307 -- that is what it is for
            if inspect.iscoroutine(result):
                await result
        except trio.Cancelled:
            raise
        except BaseExceptionGroup as group:
            _, others = group.split(trio.Cancelled)
            if others is None:
                raise
            self._show(others)
        except BaseException as exc:  # SystemExit, too: it is the operator's, not the daemon's
            self._show(exc)

    def _refresh_names(self) -> None:
        """What is in reach is as of now, but for names that the operator has made their own."""
        for name, value in self._names().items():
            if name not in self._namespace or self._namespace[name] is self._given.get(name, self):
                self._namespace[name] = self._given[name] = value

    def _show(self, exc: BaseException) -> None:
        """A traceback from the statement on, without the values of variables."""
        told = traceback.format_exception(type(exc), exc, _from_statement(exc.__traceback__))
        self._write("".join(told))

    # -- what statements say

    def _write(self, text: str) -> None:
        room = MAX_WAITING_CHARS - self._waiting_chars
        if self._cut or not text:
            return
        if len(text) > room:
            self._cut = True
            text = f"{text[: max(0, room)]}\n[the rest was cut off]\n"
        self._waiting_chars += len(text) + MESSAGE_CHARS
        self._say({"out": text})

    def _print(self, *values: object, sep: str | None = None, end: str | None = None, **_: object) -> None:
        """In place of the built-in one: prints to the operator, not into the daemon's standard output."""
        text = (" " if sep is None else sep).join(map(str, values)) + ("\n" if end is None else end)
        if trio.lowlevel.in_trio_run():
            self._write(text)
        else:  # a thread that the statement has started
            self._trio.run_sync_soon(self._write, text)

    def _display(self, value: object) -> None:
        """In place of ``sys.displayhook``, which is one for the whole process."""
        if value is not None:
            self._namespace["_"] = value
            self._write(f"{value!r}\n")


def compile_statement(source: str) -> CodeType:
    """Code for ``eval``: a coroutine where the source awaits; each expression that stands alone is displayed.

    Raises:
        SyntaxError: it is none.
        ValueError: likewise, null bytes.
    """
    await_outside = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(source, _FILE, "exec", flags=ast.PyCF_ONLY_AST | await_outside, dont_inherit=True)
    for statement in tree.body:
        if isinstance(statement, ast.Expr):
            shown = ast.Call(ast.Name(_DISPLAY, ast.Load()), [statement.value], [])
            statement.value = ast.copy_location(shown, statement.value)
    code: CodeType = compile(ast.fix_missing_locations(tree), _FILE, "exec", flags=await_outside, dont_inherit=True)
    return code


def _read(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _from_statement(found: TracebackType | None) -> TracebackType | None:
    """Without this file's frames in front; ``None`` where it never came to the statement (a ``SyntaxError``)."""
    while found is not None and found.tb_frame.f_code.co_filename != _FILE:
        found = found.tb_next
    return found


def _not_here(*_: object, **__: object) -> None:
    raise RuntimeError("the daemon has no terminal")
