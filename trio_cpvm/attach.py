"""The operator's end of ``trio-cpvm repl --attach``: reads statements from the terminal, shows what the daemon says.

The other end is ``attached_repl``, which says what the two send each other. Needs no trio: there is one thing to wait
for at a time.
"""

from __future__ import annotations

import ast
import codeop
import contextlib
import json
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from types import FrameType

from .admin_client import TIMEOUT_S, AdminUnreachable
from .config_values import ListenAddress, UnixAddress
from .logs import printable

PROTOCOL = "trio-cpvm-repl"
HELP = """\
This runs inside the daemon: a loop that never awaits stops all consoles.
help says what is in reach; Ctrl-C cancels what runs, Ctrl-D leaves.
"""
#: Every so many Ctrl-C in a row leave, since one of them should have been enough.
IMPATIENT = 3
MAX_HEAD_BYTES = 16384
#: The daemon takes no longer line.
MAX_LINE_BYTES = 1 << 16
#: Of the daemon's: what it keeps for one that does not read, with JSON's escapes.
MAX_MESSAGE_BYTES = 16 << 20
_LEAVE = frozenset({"exit", "exit()", "quit", "quit()"})
_WHY = {403: "", 404: "; it has admin.repl = false", 503: ""}


def run_attached(address: ListenAddress, worker: int | None = None) -> None:
    """Attach to the daemon at an admin listener and talk until the operator leaves or the daemon ends.

    Args:
        address: the admin listener.
        worker: which of several processes; ``None``: the one that was started.

    Raises:
        AdminUnreachable: there is no attaching there.
    """
    if not isinstance(address, UnixAddress):
        raise AdminUnreachable(
            f"admin.listen = {address}: attaching needs a unix socket, by which the daemon knows who it is talking to"
        )
    with _connected(address, worker) as daemon:
        if sys.stdin.isatty():
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401 -- gives ``input`` line editing and a history, which is kept nowhere
            sys.stdout.write(HELP)
        daemon.hear_out()
        while (source := _next_statement()) is not None:
            daemon.run(source)


@contextlib.contextmanager
def _connected(address: UnixAddress, worker: int | None) -> Iterator[_Daemon]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(TIMEOUT_S)
        try:
            sock.connect(address.path)
            query = f"?worker={worker}" if worker is not None else ""
            request = (
                f"GET /repl{query} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n\r\n"
            )
            sock.sendall(request.encode())
            head, rest = _read_head(sock)
        except OSError as exc:
            raise AdminUnreachable(f"no daemon answers at {address}: {exc.strerror or exc}") from exc
        status = int(head[9:12]) if head.startswith(b"HTTP/1.1 ") and head[9:12].isdigit() else 0
        if status != 101:
            said = printable(rest.decode("utf-8", "replace").strip())
            why = _WHY.get(status, "") + (", or no such worker" if status == 404 and worker is not None else "")
            raise AdminUnreachable(f"{address} answered {status or 'something else'}{why}: {said}")
        sock.settimeout(None)  # a statement may take its time
        yield _Daemon(sock, rest)


def _read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    """The head of the answer, and what came behind it."""
    data = b""
    while b"\r\n\r\n" not in data and len(data) < MAX_HEAD_BYTES:
        more = sock.recv(4096)
        if not more:
            break
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


class _Daemon:
    """The daemon that this is attached to."""

    def __init__(self, sock: socket.socket, unread: bytes) -> None:
        self._sock = sock
        self._unread = unread

    def run(self, source: str) -> None:
        """Let it run a statement and show what that says, until it is over.

        Raises:
            AdminUnreachable: the daemon has ended.
        """
        line = json.dumps({"run": source}).encode() + b"\n"
        if len(line) > MAX_LINE_BYTES:
            sys.stderr.write(f"a statement has at most {MAX_LINE_BYTES} bytes\n")
            return
        self._send(line)
        self.hear_out()

    def hear_out(self) -> None:
        """Show what the daemon says until it is done; Ctrl-C asks it to stop."""
        with _interrupts(self):
            while True:
                message = self._next_message()
                if "done" in message:
                    return
                text = str(message.get("out", ""))
                # peers' texts are in there: nothing of them is for the terminal itself
                sys.stdout.write("\n".join(map(printable, text.split("\n"))))
                sys.stdout.flush()

    def interrupt(self) -> None:
        """Cancel what runs."""
        self._send(b'{"interrupt": true}\n')

    def _send(self, line: bytes) -> None:
        try:
            self._sock.sendall(line)
        except OSError:
            raise AdminUnreachable("the daemon has ended the connection") from None

    def _next_message(self) -> dict[str, object]:
        while b"\n" not in self._unread:
            try:
                data = self._sock.recv(65536)
            except OSError:
                data = b""
            if not data or len(self._unread) > MAX_MESSAGE_BYTES:
                raise AdminUnreachable("the daemon has ended the connection")
            self._unread += data
        line, self._unread = self._unread.split(b"\n", 1)
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise AdminUnreachable("the daemon has ended the connection: it said something else")
        return message


@contextlib.contextmanager
def _interrupts(daemon: _Daemon) -> Iterator[None]:
    """Ctrl-C is for the daemon within the block; whoever presses it again and again gets out."""
    pressed = 0

    def handle(_: int, __: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed >= IMPATIENT:
            raise AdminUnreachable("left: what runs does not let itself be cancelled")
        daemon.interrupt()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _next_statement() -> str | None:
    """A whole statement, perhaps of several lines; ``None`` where the operator leaves."""
    compiler = codeop.CommandCompiler()
    compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    lines: list[str] = []
    while True:
        try:
            lines.append(input(_prompt(">>> " if not lines else "... ")))
        except EOFError:
            if sys.stdin.isatty():
                sys.stdout.write("\n")
            return None
        except KeyboardInterrupt:
            sys.stdout.write("\nKeyboardInterrupt\n")
            lines.clear()
            continue
        source = "\n".join(lines)
        if source.strip() in _LEAVE:
            return None
        try:
            whole = compiler(source, "<operator>", "single") is not None
        except (SyntaxError, ValueError, OverflowError):
            traceback.print_exc(limit=0)
            lines.clear()
            continue
        if whole and source.strip():
            return source
        if not source.strip():
            lines.clear()


def _prompt(text: str) -> str:
    return text if sys.stdin.isatty() else ""
