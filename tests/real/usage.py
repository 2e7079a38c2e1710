"""What the daemon holds: files, tasks, threads, memory; and waiting until that is no more than before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import attrs
import trio

from .daemon import Daemon
from .processes import PATIENCE_S, open_files, wait_for

T = TypeVar("T")

#: What the daemon's memory may have grown by once a fault is over, in KiB: freed memory in pieces too small or too
#: scattered to give back to the system.
MEMORY_SLACK_KIB = 24 * 1024
#: Threads that trio keeps for a while after use.
THREADS_SLACK = 4


def said(text: str) -> None:
    """Shown by ``pytest -s``, and where a test fails."""
    print(text)  # noqa: T201


@attrs.frozen
class Usage:
    """What the daemon holds at one moment.

    Attributes:
        files: its open files, as ``processes.open_files`` tells them.
        threads: how many it has.
        sessions: how many run.
        tasks: trio's; ``None`` where it does not tell.
        rss_kib: memory, without what it shares with others.
    """

    files: tuple[str, ...]
    threads: int
    sessions: int
    tasks: int | None
    rss_kib: int

    def __str__(self) -> str:
        tasks = "" if self.tasks is None else f"{self.tasks} tasks, "
        return (
            f"{self.sessions} sessions, {self.files.count('socket')} sockets, {len(self.files)} files, {tasks}"
            f"{self.threads} threads, {self.rss_kib / 1024:.1f} MiB"
        )


def memory_kib(pid: int) -> int:
    """A process's own memory, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:")))


def usage(daemon: Daemon) -> Usage:
    """Ask the system, then the daemon: the question itself takes a socket."""
    files = tuple(open_files(daemon.process.pid))
    metrics = gauges(daemon)
    status = Path(f"/proc/{daemon.process.pid}/status").read_text("ascii")
    tasks = metrics.get("trio_cpvm_tasks")
    return Usage(
        files=files,
        threads=int(status.partition("\nThreads:")[2].split()[0]),
        sessions=int(metrics["trio_cpvm_sessions"]),
        tasks=None if tasks is None else int(tasks),
        rss_kib=memory_kib(daemon.process.pid),
    )


def gauges(daemon: Daemon) -> dict[str, float]:
    """What ``/metrics`` tells, by name and labels."""
    lines = daemon.get("/metrics", admin=True).body.decode("ascii").splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


async def settled_usage(daemon: Daemon) -> Usage:
    """What the daemon holds once that has not changed for three looks in a row; memory and threads apart."""
    found: list[Usage] = []

    def still() -> Usage | None:
        found.append(usage(daemon))
        last = [(one.files, one.sessions, one.tasks) for one in found[-3:]]
        return found[-1] if len(last) == 3 and last[0] == last[1] == last[2] else None

    return await in_thread(lambda: wait_for(still, "the daemon is at rest"))


async def wait_until_freed(daemon: Daemon, before: Usage, *, within_s: float = PATIENCE_S) -> Usage:
    """Wait until the daemon holds no more than ``before``: sessions, files, tasks; threads and memory with a slack."""
    now = before

    def freed() -> bool:
        nonlocal now
        now = usage(daemon)
        return (
            (now.files, now.sessions, now.tasks) == (before.files, before.sessions, before.tasks)
            and now.threads <= before.threads + THREADS_SLACK
            and now.rss_kib <= before.rss_kib + MEMORY_SLACK_KIB
        )

    try:
        await in_thread(lambda: wait_for(freed, "everything is freed", within_s=within_s))
    except AssertionError as late:
        late.add_note(f"before: {before}\nnow:    {now}")
        raise
    said(f"  before  {before}\n  after   {now}")
    return now


async def in_thread(call: Callable[[], T]) -> T:
    """Run something that blocks."""
    return await trio.to_thread.run_sync(call)
