"""Programs: the generators are compiled, processes are started, pinned, looked at in /proc, and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

SOURCES = Path(__file__).parent / "generators"
CFLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-std=c11")
#: Each program's files and libraries.
GENERATORS: Mapping[str, Sequence[str]] = {
    "host": ("host.c", "common.c"),
    "load": (
        "load.c",
        "session.c",
        "connection.c",
        "websocket.c",
        "histogram.c",
        "common.c",
        "-lssl",
        "-lcrypto",
    ),
}

#: How long anything that should happen soon may take, in seconds.
PATIENCE_S = 30.0
POLL_S = 0.02
#: How long a program has to end after SIGTERM, in seconds.
END_S = 5.0


class Failed(Exception):
    """A program did not do what it was started for; the text has what it said."""


def compile_generators(folder: Path) -> None:
    """Compile what is older than its sources into ``folder``.

    Raises:
        Failed: the compiler is missing or complains.
    """
    folder.mkdir(parents=True, exist_ok=True)
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    for name, parts in GENERATORS.items():
        program = folder / name
        if program.exists() and program.stat().st_mtime > newest:
            continue
        files = [part if part.startswith("-") else str(SOURCES / part) for part in parts]
        run(["gcc", *CFLAGS, "-o", str(program), *files])


def run(argv: Sequence[str]) -> str:
    """Run a program to its end; what it printed.

    Raises:
        Failed: it is missing, or failed.
    """
    try:
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError as exc:
        raise Failed(f"{exc}; tools/setup.sh bench installs what is needed") from None
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv[:4])} ...: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def wait_until(
    condition: Callable[[], bool], what: str, *, within_s: float = PATIENCE_S, look_every_s: float = POLL_S
) -> None:
    """Wait until something is true.

    Raises:
        Failed: it was not in time.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"not within {within_s:.0f} s: {what}")
        time.sleep(look_every_s)


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nobody listens at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE_S):
        return True
    return False


class Program:
    """A running program and all that it starts. It ends with the block.

    Args:
        argv: program and arguments.
        log: where its standard error goes.
        cpus: where it may run; empty: anywhere.
        env: replaces the environment.
    """

    def __init__(
        self, argv: Sequence[str], log: Path, cpus: Collection[int] = (), *, env: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        self._argv = argv
        with log.open("wb") as errors:
            self._popen = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                cwd=log.parent,
                env=env,
            )
        if cpus:
            os.sched_setaffinity(self._popen.pid, cpus)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def line(self) -> str:
        """The next line that it prints.

        Raises:
            Failed: it ended without.
        """
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            self._popen.wait(END_S)
            raise self.failed()
        return line.decode()

    def finish(self) -> None:
        """End its standard input, and wait for it to end.

        Raises:
            Failed: it failed.
        """
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        if self._popen.wait(PATIENCE_S * 4) != 0:
            raise self.failed()

    def failed(self) -> Failed:
        """What there is to say about its failure."""
        said = self._log.read_text("utf-8", "replace").strip()
        return Failed(f"{Path(self._argv[0]).name}: {said[-500:]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self.pid, number)
                self._popen.wait(END_S)
        for pipe in (self._popen.stdin, self._popen.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def tree(pid: int) -> Iterator[int]:
    """A process and all its descendants."""
    yield pid
    for task in _entries(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text("ascii").split():
                yield from tree(int(child))


def memory_kib(pid: int) -> float:
    """What a process and its descendants take, pages that they share counted once (PSS), in KiB."""
    total = 0
    for member in tree(pid):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{member}/smaps_rollup").read_text("ascii").splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def cpu_s(pid: int) -> float:
    """How long a process and its descendants have run on a core so far, in seconds, also those that have ended."""
    total = 0.0
    for member in tree(pid):
        for task in _entries(f"/proc/{member}/task"):
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text("ascii").split()[0]) / 1e9
        with contextlib.suppress(OSError):
            # proc_pid_stat(5): cutime and cstime, what children that were waited for have used, in clock ticks.
            fields = Path(f"/proc/{member}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            total += (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return total


def _entries(folder: str) -> list[Path]:
    try:
        return list(Path(folder).iterdir())
    except OSError:
        return []
