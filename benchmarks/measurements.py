"""What is measured, and how one measurement of one candidate is taken."""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import attrs

from .candidates import BASELINE, DAEMON, DAEMON_2, WEBSOCKIFY, Bench, Candidate, Running
from .programs import Failed, Program, cpu_s, memory_kib

#: Named numbers: ``per_second`` (bytes, keys, consoles), ``per_cpu_second`` (the same for each second that the proxy
#: runs on a core), ``p50_us``, ``kib_per_session`` and the like.
Figures: TypeAlias = Mapping[str, float]

#: Keys per second over all sessions, by their number: a steady tap where there are few; a hundred users who hold a key
#: down (30 a second each); a thousand who type (3 each).
KEYS_PER_S = {1: 1000, 8: 1000, 100: 3000, 1000: 3000}
#: New consoles under way at a time.
IN_FLIGHT = 16
#: Consoles per second that nobody reaches through a proxy: so many tokens are there for each.
CONNECTS_PER_S = 3000
#: Somewhere beyond 500 sessions at a time, websockify 0.13 says "filedescriptor out of range in select()".
WEBSOCKIFY_MOST = 500
#: File descriptors of the daemon that are no session's.
OTHER_FILES = 400
#: During so much of the time in which the generator counts, the proxy's CPU time is taken: children must not be gone.
COUNTED = 0.9
#: How long a thousand sessions do nothing before that is measured, in seconds.
SETTLE_S = 2.0
#: How often a process is started, after once for Python to keep its byte code.
STARTS = 5


@attrs.frozen
class Measurement:
    """One row of the table.

    Attributes:
        kind: the load generator's word for it; ``memory`` and ``idle`` are ``hold``, and ``start`` is none.
        sessions: how many.
        tls: between browser and proxy.
    """

    kind: str
    sessions: int
    tls: bool = False

    @property
    def name(self) -> str:
        number = "" if self.kind in ("connect", "start") else f" {self.sessions}"
        return f"{self.kind}{number}{' tls' if self.tls else ''}"

    @property
    def starts_anew(self) -> bool:
        """Every round has a process of its own: it is about the process itself, not about what it does."""
        return self.kind in ("memory", "idle", "start")

    def candidates(self, *, workers: bool) -> list[Candidate]:
        """Who takes part; the baseline speaks no TLS, and has no process to look at."""
        names = [WEBSOCKIFY, DAEMON] if self.tls or self.starts_anew else [BASELINE, WEBSOCKIFY, DAEMON]
        if workers and not self.starts_anew:
            names.append(DAEMON_2)
        found = [Candidate(name, self.tls) for name in names]
        return [of for of in found if of.name != WEBSOCKIFY or self.sessions <= WEBSOCKIFY_MOST]


@attrs.frozen
class Length:
    """How long things take.

    Attributes:
        rounds: how often each measurement is taken of each candidate, in turns.
        seconds: how long one lasts.
        warm_up_s: what goes before and is not counted.
        idle_s: how long the CPU time of idle sessions is measured; 20 seconds are one ping to each. 0: it is not.
        sessions_max: none has more sessions than that.
    """

    rounds: int
    seconds: float
    warm_up_s: float
    idle_s: float
    sessions_max: int


FULL = Length(rounds=5, seconds=2.0, warm_up_s=0.5, idle_s=20.0, sessions_max=10_000)
QUICK = Length(rounds=1, seconds=0.5, warm_up_s=0.25, idle_s=0, sessions_max=1000)


def all_measurements(length: Length) -> list[Measurement]:
    """Plain and over TLS, as far as this machine's file descriptors go."""
    kinds = {
        "throughput-down": (1, 8, 100),
        "throughput-up": (1, 8, 100),
        "latency": (1, 8, 100, 1000),
        "rate": (1, 8, 100),
        "connect": (1,),
        "memory": (10, 100, 1000, 10_000),
        "idle": (1000,) if length.idle_s > 0 else (),
        "start": (0,),
    }
    most = min(length.sessions_max, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - OTHER_FILES) // 2)
    found = [
        Measurement(kind, min(sessions, most), tls)
        for kind, numbers in kinds.items()
        for tls in ((False,) if kind == "start" else (False, True))
        for sessions in numbers
    ]
    return list(dict.fromkeys(found))


def measure(measurement: Measurement, candidate: Candidate, running: Running, bench: Bench, length: Length) -> Figures:
    """Take one measurement once.

    Raises:
        Failed: it did not work.
    """
    match measurement.kind:
        case "memory":
            return _memory(measurement.sessions, candidate, running, bench)
        case "idle":
            return _idle(measurement.sessions, candidate, running, bench, length)
        case "start":
            return _start(candidate, bench)
        case _:
            return _load(measurement, candidate, running, bench, length)


def _load(measurement: Measurement, candidate: Candidate, running: Running, bench: Bench, length: Length) -> Figures:
    number = measurement.sessions
    options = [f"sessions={number}", f"seconds={length.seconds}", f"warm-up={length.warm_up_s}"]
    if measurement.kind == "latency":
        options.append(f"rate={KEYS_PER_S.get(number, 1000)}")
    if measurement.kind == "connect":
        options.append(f"in-flight={IN_FLIGHT}")
        number = int(CONNECTS_PER_S * (length.seconds + length.warm_up_s)) + IN_FLIGHT
    options += candidate.paths(bench, number)
    with _generator(bench, measurement.kind, running, options) as load:
        load.line()  # it begins to count
        cores = 0.0 if running.pid is None else _cores(running.pid, COUNTED * length.seconds)
        found: dict[str, float | str] = json.loads(load.line())
        load.finish()
    figures = {name: value for name, value in found.items() if isinstance(value, int | float)}
    if cores > 0:
        figures |= {"proxy_cores": cores, "per_cpu_second": figures["per_second"] / cores}
    return figures


def _cores(pid: int, seconds: float) -> float:
    """How many cores a process and its children keep busy."""
    began, before = time.monotonic(), cpu_s(pid)
    time.sleep(seconds)
    return (cpu_s(pid) - before) / (time.monotonic() - began)


def _memory(sessions: int, candidate: Candidate, running: Running, bench: Bench) -> Figures:
    """What each session takes beyond the first one, which has everything loaded."""
    assert running.pid is not None
    first = _memory_of(1, candidate, running, bench)
    total = _memory_of(sessions, candidate, running, bench)
    return {"kib_per_session": (total - first) / (sessions - 1), "total_mib": total / 1024, "sessions": sessions}


def _memory_of(sessions: int, candidate: Candidate, running: Running, bench: Bench) -> float:
    assert running.pid is not None
    with _holding(sessions, candidate, running, bench):
        return memory_kib(running.pid)


def _idle(sessions: int, candidate: Candidate, running: Running, bench: Bench, length: Length) -> Figures:
    assert running.pid is not None
    with _holding(sessions, candidate, running, bench):
        time.sleep(SETTLE_S)
        return {"cpu_percent": 100 * _cores(running.pid, length.idle_s), "sessions": sessions}


def _start(candidate: Candidate, bench: Bench) -> Figures:
    """What it has cost when it listens, from exec on."""
    costs = []
    for _ in range(1 + STARTS):
        with candidate.start(bench) as running:
            costs.append(running.start_s)
    return {"cpu_s": statistics.median(costs[1:])}


def _holding(sessions: int, candidate: Candidate, running: Running, bench: Bench) -> Program:
    """So many sessions that do nothing, for as long as the block lasts."""
    options = [f"sessions={sessions}", "patience=600", *candidate.paths(bench, sessions)]
    load = _generator(bench, "hold", running, options)
    try:
        held = json.loads(load.line())["held"]
    except BaseException:
        load.__exit__(*sys.exc_info())
        raise
    if held != sessions:
        raise Failed(f"{held} of {sessions} sessions")
    return load


def _generator(bench: Bench, kind: str, running: Running, options: Sequence[str]) -> Program:
    argv = [str(bench.generators / "load"), kind, "127.0.0.1", str(running.port), *running.options, *options]
    return Program(argv, bench.folder / "load.log", bench.cpus)
