"""What the daemon counts for Prometheus, and how ``/metrics`` spells it.

One object per daemon, with a registry of its own: many servers may run in one process. Labels come from fixed sets
only (the table of reasons, a few words), so that no peer can make the number of series grow. Each series is there from
the start. The only file that knows prometheus-client; it does not know who counts.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Literal, Protocol, TypeAlias

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from . import __version__
from .errors import REASONS, Reason
from .limits import Limit
from .models import SessionEnd

#: What several processes have together; of the rest only this one's is told.
_SUMMED = frozenset(
    {
        "process_cpu_seconds",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_open_fds",
        "process_max_fds",
    }
)

#: Of ``Metrics.exposition``.
CONTENT_TYPE = CONTENT_TYPE_LATEST

#: From the opened WebSocket to the first screen: a host nearby takes milliseconds, the usual limit is 15 s.
HANDSHAKE_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)
#: From a look that failed at once to a console that stays open over the night.
SESSION_BUCKETS_S = (1, 10, 30, 60, 300, 900, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 24 * 3600)

#: What a refused request was for: a page or file, a console's WebSocket, or nothing that the door could make out.
RefusedKind: TypeAlias = Literal["page", "console", "request"]
_KINDS: tuple[RefusedKind, ...] = ("page", "console", "request")
#: What the access endpoint answers with; anything else is counted as ``other``.
_ACCESS_STATUS = ("200", "302", "400", "401", "403", "404", "405", "409", "429", "502", "503", "other")


class Counts(Protocol):
    """Who is told of events: the metrics, or somebody who passes them on. What each means stands with ``Metrics``."""

    def session_started(self) -> None:
        """One of ``Metrics``' events."""
        ...

    def session_ended(self, end: SessionEnd, opened_after_s: float | None) -> None:
        """One of ``Metrics``' events."""
        ...

    def refused(self, kind: RefusedKind, reason: Reason) -> None:
        """One of ``Metrics``' events."""
        ...

    def access_answered(self, status: int) -> None:
        """One of ``Metrics``' events."""
        ...

    def limit_reached(self, limit: Limit) -> None:
        """One of ``Metrics``' events."""
        ...


class Metrics:
    """Counts. Every method returns at once and raises nothing that a peer can cause."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._ended_bytes = {"up": 0, "down": 0}
        self._started = Counter(
            "trio_cpvm_sessions_started", "Sessions that passed every check.", registry=self._registry
        )
        self._ended = Counter(
            "trio_cpvm_sessions_ended",
            "Sessions that ended, by the reason and by whose doing it was.",
            ("reason", "side"),
            registry=self._registry,
        )
        self._refused = Counter(
            "trio_cpvm_requests_refused",
            "Requests that were refused, by what was asked for and the reason.",
            ("kind", "reason"),
            registry=self._registry,
        )
        self._access = Counter(
            "trio_cpvm_access_answers",
            "Answers of the access endpoint, by HTTP status.",
            ("status",),
            registry=self._registry,
        )
        self._limits = Counter(
            "trio_cpvm_limit_reached",
            "How often a limit has refused or ended something; token.max_failures: for each request while it holds.",
            ("limit",),
            registry=self._registry,
        )
        self._duration = Histogram(
            "trio_cpvm_session_duration_seconds",
            "From passing every check to the end, whether or not a screen was seen.",
            buckets=SESSION_BUCKETS_S,
            registry=self._registry,
        )
        self._handshake = Histogram(
            "trio_cpvm_handshake_duration_seconds",
            "From a session's WebSocket until its host's screen was open; sessions without one do not count.",
            buckets=HANDSHAKE_BUCKETS_S,
            registry=self._registry,
        )
        self._reloads = Counter(
            "trio_cpvm_config_reloads",
            "Configurations read while running, by whether they were taken.",
            ("result",),
            registry=self._registry,
        )
        self._last_reload = Gauge(
            "trio_cpvm_config_last_reload_successful",
            "0 while the file holds a configuration that was refused, 1 otherwise.",
            registry=self._registry,
        )
        self._last_reload.set(1)
        self._build = Gauge("trio_cpvm_build_info", "Always 1.", ("version",), registry=self._registry)
        self._build.labels(__version__).set(1)
        self._worker_deaths = Counter(
            "trio_cpvm_worker_deaths", "Processes that served browsers and died.", registry=self._registry
        )
        self._others: Callable[[], Collection[int]] = tuple
        self._registry.register(_Processes(lambda: self._others()))  # read when asked
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Every series that there will be: what appears at its first event only has no rate for it."""
        for reason in REASONS.values():
            if reason.close_code is not None:
                self._ended.labels(reason.slug, str(reason.side))
            if reason.http_status is not None:
                for kind in _KINDS:
                    self._refused.labels(kind, reason.slug)
        for status in _ACCESS_STATUS:
            self._access.labels(status)
        for result in ("ok", "refused"):
            self._reloads.labels(result)
        for limit in Limit:
            self._limits.labels(str(limit))

    # -- events

    def session_started(self) -> None:
        """A session passed every check; its WebSocket is about to open."""
        self._started.inc()

    def session_ended(self, end: SessionEnd, opened_after_s: float | None) -> None:
        """A session is over.

        Args:
            end: how.
            opened_after_s: seconds until its screen was open; ``None`` if it never was.
        """
        self._ended.labels(end.reason.slug, str(end.reason.side)).inc()
        if opened_after_s is not None:
            self._handshake.observe(opened_after_s)
        self._duration.observe(end.duration_s)
        if end.limit is not None:
            self.limit_reached(end.limit)
        self._ended_bytes["up"] += end.bytes_up
        self._ended_bytes["down"] += end.bytes_down

    def refused(self, kind: RefusedKind, reason: Reason) -> None:
        """A request was refused."""
        self._refused.labels(kind, reason.slug).inc()

    def access_answered(self, status: int) -> None:
        """The access endpoint answered."""
        self._access.labels(str(status) if str(status) in _ACCESS_STATUS else "other").inc()

    def reloaded(self, *, ok: bool) -> None:
        """The configuration was read anew; whether it was taken."""
        self._reloads.labels("ok" if ok else "refused").inc()
        self._last_reload.set(int(ok))

    def limit_reached(self, limit: Limit) -> None:
        """A limit has refused or ended something."""
        self._limits.labels(str(limit)).inc()

    def worker_died(self) -> None:
        """A process that serves browsers has ended, and nobody had told it to."""
        self._worker_deaths.inc()

    # -- what is asked for when somebody wants to know

    def watch_sessions(
        self, count: Callable[[], int], draining: Callable[[], bool], running_bytes: Callable[[], Mapping[str, int]]
    ) -> None:
        """Show the running sessions.

        Args:
            count: how many there are.
            draining: whether no new ones are taken.
            running_bytes: their payload bytes so far, ``up`` and ``down``.
        """
        Gauge("trio_cpvm_sessions", "Running sessions.", registry=self._registry).set_function(count)
        Gauge("trio_cpvm_draining", "1 while no new sessions are taken.", registry=self._registry).set_function(
            draining
        )

        def relayed() -> dict[str, int]:
            running = running_bytes()
            return {direction: ended + running[direction] for direction, ended in self._ended_bytes.items()}

        self._registry.register(
            _Counted("trio_cpvm_relayed_bytes", "Payload between browsers and hosts.", "direction", relayed)
        )

    def watch_connections(self, opened: Callable[[], Mapping[str, int]], refused: Callable[[], int]) -> None:
        """Show the connections.

        Args:
            opened: how many are open, by listener: ``public`` and ``admin``.
            refused: how many browser connections were refused for want of room, since the start.
        """
        gauge = Gauge("trio_cpvm_connections", "Open connections.", ("listener",), registry=self._registry)
        for listener in opened():
            gauge.labels(listener).set_function(partial(_entry, opened, listener))
        name, text = "trio_cpvm_connections_refused", "Browser connections closed at once for want of room."
        self._registry.register(_Counted(name, text, "listener", lambda: {"public": refused()}))

    def watch_limits(self, values: Callable[[], Mapping[Limit, float]]) -> None:
        """Show the limits as they are at the moment; 0: there is none."""
        gauge = Gauge("trio_cpvm_limit", "What is configured; 0: no limit.", ("limit",), registry=self._registry)
        for limit in Limit:
            gauge.labels(str(limit)).set_function(partial(_limit, values, limit))

    def watch_tasks(self, count: Callable[[], int]) -> None:
        """Show how many tasks there are: one that grows while consoles do not is a leak."""
        Gauge("trio_cpvm_tasks", "Living tasks.", registry=self._registry).set_function(count)

    def watch_workers(self, count: Callable[[], int], processes: Callable[[], Collection[int]]) -> None:
        """Show the processes that serve browsers.

        Args:
            count: how many do.
            processes: their ids; memory, files and CPU time are those of all together.
        """
        Gauge("trio_cpvm_workers", "Processes that serve browsers.", registry=self._registry).set_function(count)
        self._others = processes

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format, of ``CONTENT_TYPE``."""
        return generate_latest(_WithoutCreated(self._registry))


def _entry(values: Callable[[], Mapping[str, int]], name: str) -> int:
    return values()[name]


def _limit(values: Callable[[], Mapping[Limit, float]], limit: Limit) -> float:
    return values()[limit]


class _Counted(Collector):
    """A counter that somebody else keeps."""

    def __init__(self, name: str, text: str, label: str, values: Callable[[], Mapping[str, int]]) -> None:
        self._name, self._text, self._label, self._values = name, text, label, values

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._text, labels=(self._label,))
        for value, count in self._values().items():
            family.add_metric((value,), count)
        yield family

    def describe(self) -> Iterator[Metric]:
        """What it will be called; without it the library would ask for the values at once."""
        yield CounterMetricFamily(self._name, self._text, labels=(self._label,))


class _Processes(Collector):
    """Memory, open files and CPU time of this process and its workers, as the library tells them of one.

    The CPU time of processes that have ended is that of this one's children, so it never goes back.
    """

    def __init__(self, others: Callable[[], Collection[int]]) -> None:
        self._others = others
        self._own = ProcessCollector(registry=None)

    def collect(self) -> Iterator[Metric]:
        families = list(self._own.collect())
        sums = {family.name: family.samples[0].value for family in families if family.samples}
        for pid in self._others():
            for family in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                if family.name in _SUMMED and family.samples:
                    sums[family.name] = sums.get(family.name, 0) + family.samples[0].value
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        for family in families:
            if family.name in _SUMMED and family.samples:
                more = ended.ru_utime + ended.ru_stime if family.name == "process_cpu_seconds" else 0
                family.samples = [family.samples[0]._replace(value=sums[family.name] + more)]
            yield family


class _WithoutCreated(CollectorRegistry):
    """A registry as it is, but for the library's ``_created`` series, which double everything and tell nobody much.

    The library's own switch for them is one for the whole process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._whole = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._whole.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
