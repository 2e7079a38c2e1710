"""``python -m benchmarks``: take all measurements, print the tables, write ``results.json`` and the plots."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import attrs

from .candidates import BASELINE, DAEMON, Bench, has_workers, open_bench, versions
from .measurements import FULL, QUICK, Length, Measurement, all_measurements, measure
from .plots import latency_plot, targets_plot
from .programs import Failed, compile_generators
from .results import COLUMNS, Results, tables

BUILD = Path("build/bench")


def main() -> int:
    """Measure; the exit code is 0 whatever the figures are, and 1 where something could not be measured."""
    options = _options()
    length = QUICK if options.quick else FULL
    length = attrs.evolve(length, rounds=options.rounds or length.rounds, seconds=options.seconds or length.seconds)
    folder: Path = options.output
    chosen = [of for of in all_measurements(length) if not options.only or of.name.startswith(tuple(options.only))]
    if not chosen:
        print("no measurement has such a name", file=sys.stderr)
        return 1
    _raise_descriptors()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of the blocks that end what was started
    machine = _machine(options.generator_cpus)
    results = Results()
    try:
        compile_generators(folder)
        with open_bench(folder / "run", folder, options.generator_cpus) as bench:
            workers = has_workers(bench)
            for measurement in chosen:
                _take(measurement, bench, length, results, workers=workers)
                machine["load_after"] = os.getloadavg()
                _write(folder, options.plots or folder, results, {"machine": machine, "length": attrs.asdict(length)})
    except Failed as exc:
        print(exc, file=sys.stderr)
        return 1
    print(f"\n{tables(results)}")
    for key, value in machine.items():
        print(f"{key}: {value}")
    for fault in results.faults:
        print(f"not measured: {fault}")
    return 1 if results.faults else 0


def _write(folder: Path, plots: Path, results: Results, about: Mapping[str, object]) -> None:
    """What there is so far, so that a run that is stopped was not for nothing."""
    found = {**about, "results": results.as_json(), "faults": results.faults}
    (folder / "results.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    (folder / "tables.rst").write_text(tables(results), "utf-8")
    for name, svg in (("targets", targets_plot(results)), ("latency", latency_plot(results))):
        if svg:
            (plots / f"bench-{name}.svg").write_text(svg, "utf-8")


def _take(measurement: Measurement, bench: Bench, length: Length, results: Results, *, workers: bool) -> None:
    """All rounds of one measurement, one candidate after the other in each."""
    candidates = measurement.candidates(workers=workers)
    rounds = 1 if measurement.starts_anew else length.rounds
    print(measurement.name, end="", flush=True)
    with ExitStack() as stack:
        running = [stack.enter_context(candidate.start(bench)) for candidate in candidates]
        for _ in range(rounds):
            for candidate, served in zip(candidates, running, strict=True):
                try:
                    figures = measure(measurement, candidate, served, bench, length)
                except Failed as exc:
                    results.faults.append(f"{measurement.name}, {candidate.name}: {exc}")
                    results.add(measurement, candidate.name, None)
                else:
                    results.add(measurement, candidate.name, figures)
    title, figure, unit = COLUMNS[measurement.kind][0]
    for candidate in candidates:
        found = results.spread(measurement, candidate.name, figure)
        print(f"  {candidate.name} {'-' if found is None else f'{found.median / unit:,.1f}'}", end="")
    print(f"  {title}", flush=True)


def _machine(cpus: list[int]) -> dict[str, object]:
    """What the figures are to be read with."""
    names = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in names if line.startswith("model name")), "")
    return {
        "when": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "cpus": os.cpu_count(),
        "model": model,
        "kernel": platform.release(),
        "python": platform.python_version(),
        **versions(),
        "generator_cpus": cpus,
        "load_before": os.getloadavg(),
    }


def _raise_descriptors() -> None:
    """As many as may be, for the generators and for whoever does not raise the limit itself."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=f"Compares {DAEMON}, websockify and {BASELINE}.")
    parser.add_argument("--quick", action="store_true", help="one short round, under three minutes: a first impression")
    parser.add_argument("--only", action="append", metavar="NAME", help="measurements whose names begin so; repeatable")
    parser.add_argument("--rounds", type=int, help=f"rounds of each measurement ({FULL.rounds})")
    parser.add_argument("--seconds", type=float, help=f"how long one takes ({FULL.seconds})")
    parser.add_argument("--output", type=lambda text: Path(text).resolve(), default=BUILD.resolve(), metavar="FOLDER")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="where the plots go (the output folder)")
    parser.add_argument(
        "--generator-cpus",
        type=lambda text: [int(cpu) for cpu in text.split(",") if cpu],
        default=[max(os.sched_getaffinity(0))],
        metavar="N,...",
        help="cores of the generators (the last one); empty: any. Proxies may run on all of them",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
