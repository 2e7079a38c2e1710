"""Results: the rounds of each measurement, medians with their spread, ratios, and the targets that they are held to."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

import attrs

from .candidates import BASELINE, DAEMON, DAEMON_2, WEBSOCKIFY
from .measurements import Figures, Measurement


@attrs.frozen
class Spread:
    """The median of some rounds, and the least and the most of them."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        if self.least == self.most:
            return short(self.median)
        return f"{short(self.median)} ({short(self.least)}..{short(self.most)})"


def short(number: float) -> str:
    """Three digits that mean something."""
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


def spread(numbers: Sequence[float]) -> Spread:
    """Of at least one number."""
    return Spread(statistics.median(numbers), min(numbers), max(numbers))


class Results:
    """What was measured, round by round; a candidate that failed has ``None`` for that round."""

    def __init__(self) -> None:
        self._rounds: dict[tuple[Measurement, str], list[Figures | None]] = {}
        self.faults: list[str] = []

    def add(self, measurement: Measurement, candidate: str, figures: Figures | None) -> None:
        """One more round."""
        self._rounds.setdefault((measurement, candidate), []).append(figures)

    @property
    def measurements(self) -> list[Measurement]:
        """In the order in which they were taken."""
        return list(dict.fromkeys(measurement for measurement, _ in self._rounds))

    @property
    def sessions_most(self) -> int:
        """The most whose memory was measured."""
        return max((of.sessions for of in self.measurements if of.kind == "memory"), default=0)

    def candidates(self, measurement: Measurement) -> list[str]:
        """Who took part."""
        return [candidate for of, candidate in self._rounds if of == measurement]

    def rounds(self, measurement: Measurement, candidate: str, figure: str) -> list[float | None]:
        """One figure of each round."""
        rounds = self._rounds.get((measurement, candidate), [])
        return [None if figures is None else figures.get(figure) for figures in rounds]

    def spread(self, measurement: Measurement, candidate: str, figure: str) -> Spread | None:
        """One figure over all rounds; ``None``: there is none."""
        numbers = [number for number in self.rounds(measurement, candidate, figure) if number is not None]
        return spread(numbers) if numbers else None

    def compared(
        self, measurement: Measurement, candidates: Sequence[str], figure: str, how: Callable[..., float | None]
    ) -> Spread | None:
        """Something made of several candidates' figures of the same round, over all rounds."""
        columns = [self.rounds(measurement, candidate, figure) for candidate in candidates]
        found = [how(*row) for row in zip(*columns, strict=False) if None not in row]
        numbers = [number for number in found if number is not None]
        return spread(numbers) if numbers else None

    def as_json(self) -> list[Mapping[str, object]]:
        """Everything, for other programs."""
        return [
            {"measurement": of.name, **attrs.asdict(of), "candidate": candidate, "rounds": rounds}
            for (of, candidate), rounds in self._rounds.items()
        ]


def ratio(ours: float, theirs: float) -> float | None:
    """How many times theirs ours is."""
    return ours / theirs if theirs > 0 else None


def added_ratio(ours: float, theirs: float, direct: float) -> float | None:
    """Likewise of what each adds to what it takes without a proxy."""
    return ratio(ours - direct, theirs - direct)


@attrs.frozen
class Target:
    """What a measurement should come to.

    Attributes:
        text: what it is about.
        measurement: of which.
        figure: its figure.
        bound: the least, or the most.
        at_most: it is the most.
        against: ``websockify``: the ratio; ``added``: the ratio of what is added to no proxy; empty: the figure itself.
        unit: of the bound.
        workers: it is about several processes; skipped where this version has none of that.
    """

    text: str
    measurement: Measurement
    figure: str
    bound: float
    at_most: bool = False
    against: str = "websockify"
    unit: str = "x websockify"
    workers: bool = False

    @property
    def ours(self) -> str:
        """Which candidate it is about."""
        return DAEMON_2 if self.workers else DAEMON

    @property
    def name(self) -> str:
        """What it is about, and of how many processes."""
        return f"{self.text}, 2 workers" if self.workers else self.text

    def value(self, results: Results) -> Spread | None:
        """What it came to; ``None``: it was not measured."""
        if self.against == "websockify":
            return results.compared(self.measurement, (self.ours, WEBSOCKIFY), self.figure, ratio)
        if self.against == "added":
            return results.compared(self.measurement, (self.ours, WEBSOCKIFY, BASELINE), self.figure, added_ratio)
        return results.spread(self.measurement, self.ours, self.figure)

    def is_met(self, value: Spread) -> bool:
        """By the median of the rounds."""
        return value.median <= self.bound if self.at_most else value.median >= self.bound


def targets(sessions_most: int) -> list[Target]:
    """All of them; ``sessions_most`` stands for ten thousand where a machine has not as many descriptors."""
    most = Measurement("memory", sessions_most)
    return [
        Target("host to browser, 1 session", Measurement("throughput-down", 1), "per_second", 1.4),
        Target("browser to host, 1 session", Measurement("throughput-up", 1), "per_second", 1.5),
        Target("host to browser, 1 session, TLS", Measurement("throughput-down", 1, tls=True), "per_second", 1.0),
        Target("browser to host, 1 session, TLS", Measurement("throughput-up", 1, tls=True), "per_second", 1.0),
        Target("new consoles", Measurement("connect", 1), "per_second", 5.0),
        Target("new consoles", Measurement("connect", 1), "per_second", 5.0, workers=True),
        Target("new consoles, TLS", Measurement("connect", 1, tls=True), "per_second", 4.0),
        Target("new consoles, TLS", Measurement("connect", 1, tls=True), "per_second", 4.0, workers=True),
        Target("added latency, 1 session", Measurement("latency", 1), "p50_us", 1.0, True, "added"),
        Target("added latency, 100 sessions", Measurement("latency", 100), "p50_us", 0.5, True, "added"),
        Target("added latency, 100 sessions", Measurement("latency", 100), "p50_us", 0.5, True, "added", workers=True),
        Target("keys per second, 8 sessions", Measurement("rate", 8), "per_second", 1.3, workers=True),
        Target("keys per second, 100 sessions", Measurement("rate", 100), "per_second", 1.3, workers=True),
        Target(f"memory of each of {sessions_most:,}", most, "kib_per_session", 40, True, "", "KiB"),
        Target(f"memory of {sessions_most:,} in all", most, "total_mib", 1024, True, "", "MiB"),
        Target("CPU of 1,000 idle sessions", Measurement("idle", 1000), "cpu_percent", 1.0, True, "", "% of a core"),
        Target("start until it listens", Measurement("start", 0), "cpu_s", 0.3, True, "", "s of CPU"),
    ]


#: What the table shows of each kind: heading, figure, and what it is divided by.
COLUMNS: Mapping[str, Sequence[tuple[str, str, float]]] = {
    "throughput-down": (("MB/s", "per_second", 1e6), ("MB/CPU s", "per_cpu_second", 1e6)),
    "throughput-up": (("MB/s", "per_second", 1e6), ("MB/CPU s", "per_cpu_second", 1e6)),
    "latency": (("p50 us", "p50_us", 1), ("p99 us", "p99_us", 1), ("p99.9 us", "p999_us", 1)),
    "rate": (("keys/s", "per_second", 1), ("keys/CPU s", "per_cpu_second", 1)),
    "connect": (("consoles/s", "per_second", 1), ("consoles/CPU s", "per_cpu_second", 1)),
    "memory": (("KiB/session", "kib_per_session", 1),),
    "idle": (("% of a core", "cpu_percent", 1),),
    "start": (("CPU s", "cpu_s", 1),),
}


def tables(results: Results) -> str:
    """Everything as reStructuredText: measurements, and targets."""
    has_workers = any(DAEMON_2 in results.candidates(of) for of in results.measurements)
    rows = [["Measurement", "unit", BASELINE, WEBSOCKIFY, DAEMON, "ratio", *([DAEMON_2] * has_workers)]]
    for measurement in results.measurements:
        for title, figure, unit in COLUMNS[measurement.kind]:
            cells = [_cell(results, measurement, name, figure, unit) for name in (BASELINE, WEBSOCKIFY, DAEMON)]
            times = results.compared(measurement, (DAEMON, WEBSOCKIFY), figure, ratio)
            row = [measurement.name, title, *cells, "" if times is None else str(times)]
            rows.append([*row, *([_cell(results, measurement, DAEMON_2, figure, unit)] * has_workers)])
    return f"{_rst(rows)}\n\n{_rst(_target_rows(results))}\n"


def _target_rows(results: Results) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("Target", "wanted", "measured", "outcome")]
    for target in targets(results.sessions_most):
        value = target.value(results)
        if value is not None:
            wanted = f"at {'most' if target.at_most else 'least'} {short(target.bound)} {target.unit}"
            rows.append((target.name, wanted, str(value), "reached" if target.is_met(value) else "not reached"))
    return rows


def _cell(results: Results, measurement: Measurement, candidate: str, figure: str, unit: float) -> str:
    found = results.spread(measurement, candidate, figure)
    return "" if found is None else str(Spread(found.median / unit, found.least / unit, found.most / unit))


def _rst(rows: Sequence[Sequence[str]]) -> str:
    """A simple table. Its first column has to say something in every row."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * max(width, 1) for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])
