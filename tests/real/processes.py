"""Programs the tests start, and waiting for them.

Rules of this file: nothing sleeps for a fixed time, every wait has a deadline and says what it waited for, and a
process is ended by its own id only.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

#: How long anything that normally takes well under a second may take on a loaded machine, in seconds.
PATIENCE_S = 20.0

#: How long a process has to end by itself after SIGTERM, in seconds.
END_S = 5.0

#: How often a condition is looked at, in seconds.
POLL_S = 0.02


class NotInTime(AssertionError):
    """A condition did not come true before its deadline."""


def wait_for(probe: Callable[[], T | None], what: str, *, within_s: float = PATIENCE_S) -> T:
    """Call ``probe`` until it gives something true, and return that.

    Raises:
        NotInTime: it did not within ``within_s`` seconds.
    """
    deadline = time.monotonic() + within_s
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise NotInTime(f"not within {within_s} s: {what}")
        time.sleep(POLL_S)


def program(name: str, package: str) -> str:
    """Where ``name`` is installed; the test fails and names the Debian package if it is not."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is missing: apt-get install --no-install-recommends {package}", pytrace=False)
    return found


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment (who binds it has to be ready to lose it)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether somebody takes connections on a TCP port of 127.0.0.1."""
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), PATIENCE_S):
        return True
    return False


#: By the test that runs.
_started: list[Process] = []


def forget_processes() -> None:
    """Another test begins."""
    _started.clear()


def last_words(characters: int = 3000) -> list[tuple[str, str]]:
    """Names and ends of the output of what the running test has started."""
    return [(process.name, process.output()[-characters:]) for process in _started if process.log.exists()]


class Process:
    """One running program. What it says goes to a file; ``stop`` ends it whatever state it is in.

    Args:
        name: what the tests call it.
        argv: program and arguments.
        folder: where ``<name>.out`` is written.
        env: replaces the environment.
        pass_fds: inherited file descriptors.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.out"
        _started.append(self)
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                pass_fds=pass_fds,
                cwd=folder,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs."""
        return self._popen.poll()

    def output(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def wait_for(self, probe: Callable[[], T | None], what: str, *, within_s: float = PATIENCE_S) -> T:
        """Like ``wait_for``, but it is an error at once if the process ends meanwhile."""

        def alive_and_ready() -> T | None:
            code = self.exit_code
            found = probe()
            if not found and code is not None:
                raise AssertionError(f"{self.name} ended with {code} before: {what}\n{self.output()[-4000:]}")
            return found

        try:
            return wait_for(alive_and_ready, what, within_s=within_s)
        except NotInTime as late:
            late.add_note(f"{self.name} said:\n{self.output()[-4000:]}")
            raise

    def wait_until_ended(self, within_s: float = PATIENCE_S) -> int:
        """Wait for it to end by itself; return its exit code."""
        return self._popen.wait(within_s)

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def pause(self) -> None:
        """Stop it in its tracks: its sockets stay open, the kernel still accepts for it, nobody answers."""
        self.send(signal.SIGSTOP)
        wait_for(lambda: process_state(self.pid) == "T", f"{self.name} is stopped")

    def kill(self) -> None:
        """End it with no chance to say good-bye."""
        self._popen.kill()
        self._popen.wait()

    def stop(self) -> None:
        """End it: politely, and after ``END_S`` seconds not politely. Does nothing if it has ended."""
        if self._popen.poll() is None:
            self.send(signal.SIGCONT)
            self._popen.terminate()
            try:
                self._popen.wait(END_S)
            except subprocess.TimeoutExpired:
                self.kill()


def process_state(pid: int) -> str:
    """The letter of /proc/PID/stat: R, S, T (stopped), Z, ..."""
    stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    return stat[stat.rindex(")") + 2]


def children(pid: int) -> list[int]:
    """The processes that a process has started and not yet seen the end of."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text("ascii").split()]
    return found


def open_files(pid: int) -> list[str]:
    """What the open file descriptors of a process point to, sorted; sockets as ``socket``."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(entry.readlink()).partition(":")[0])
    return sorted(found)


@contextlib.contextmanager
def answering_with(banner: bytes) -> Iterator[int]:
    """A TCP server that says ``banner`` to everyone, waits for the other side to hang up, and hangs up too.

    Gives its port. It runs in a thread of this process.
    """
    stopping = threading.Event()
    held: list[socket.socket] = []

    def serve(listener: socket.socket) -> None:
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                stream, _ = listener.accept()
                held.append(stream)
                with contextlib.suppress(OSError):
                    stream.sendall(banner)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=serve, args=(listener,), name="banner server")
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stopping.set()
            thread.join()
            for stream in held:
                stream.close()
