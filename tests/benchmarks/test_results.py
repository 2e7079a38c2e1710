"""What the benchmark makes of its figures."""

from __future__ import annotations

import pytest

from benchmarks.candidates import BASELINE, DAEMON, DAEMON_2, WEBSOCKIFY
from benchmarks.measurements import FULL, Measurement, all_measurements
from benchmarks.plots import latency_plot, targets_plot
from benchmarks.results import Results, Spread, added_ratio, ratio, tables, targets

LATENCY = Measurement("latency", 100)
RATE = Measurement("rate", 8)


def results_of(measurement: Measurement, figure: str, rounds: dict[str, list[float | None]]) -> Results:
    results = Results()
    for candidate, numbers in rounds.items():
        for number in numbers:
            results.add(measurement, candidate, None if number is None else {figure: number})
    return results


def test_a_ratio_is_made_of_the_same_round() -> None:
    results = results_of(RATE, "per_second", {WEBSOCKIFY: [10, 100, 20], DAEMON: [20, 100, 60]})
    assert results.compared(RATE, (DAEMON, WEBSOCKIFY), "per_second", ratio) == Spread(2, 1, 3)


def test_a_round_in_which_one_failed_is_left_out() -> None:
    results = results_of(RATE, "per_second", {WEBSOCKIFY: [10, None, 20], DAEMON: [20, 100, 60]})
    assert results.compared(RATE, (DAEMON, WEBSOCKIFY), "per_second", ratio) == Spread(2.5, 2, 3)


def test_added_latency_is_beyond_what_it_takes_without_a_proxy() -> None:
    assert added_ratio(130, 110, 70) == 1.5
    assert added_ratio(130, 70, 70) is None


@pytest.mark.parametrize(("ours", "outcome"), [(100.0, "reached"), (101.0, "not reached")])
def test_the_table_says_whether_a_target_is_reached(ours: float, outcome: str) -> None:
    results = results_of(LATENCY, "p50_us", {BASELINE: [60], WEBSOCKIFY: [140], DAEMON: [ours]})
    row = next(line for line in tables(results).splitlines() if line.startswith("added latency, 100"))
    assert row.split("  ")[-1] == outcome


def test_with_workers_they_are_what_many_keys_are_about() -> None:
    results = results_of(RATE, "per_second", {WEBSOCKIFY: [10], DAEMON: [8], DAEMON_2: [16]})
    target = next(target for target in targets(0) if target.measurement == RATE)
    assert target.value(results) == Spread(1.6, 1.6, 1.6)


def test_plots_show_what_was_measured() -> None:
    results = Results()
    for name, median in ((BASELINE, 60.0), (WEBSOCKIFY, 140.0), (DAEMON, 220.0)):
        results.add(LATENCY, name, {"p50_us": median, "p99_us": 2 * median, "p999_us": 5 * median})
    assert latency_plot(results).count("<circle") == 9
    assert targets_plot(results).count("<rect") == 2, "background and one bar"


def test_every_target_has_its_measurement() -> None:
    measured = all_measurements(FULL)
    most = max(of.sessions for of in measured if of.kind == "memory")
    assert {target.measurement for target in targets(most)} <= set(measured)
