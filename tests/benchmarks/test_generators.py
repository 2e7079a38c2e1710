"""The benchmark's generators: what they count is what was sent, straight and through this daemon. No speed is held."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from benchmarks.candidates import BASELINE, DAEMON, Bench, Candidate, open_bench
from benchmarks.measurements import Length, Measurement, measure
from benchmarks.programs import compile_generators

pytestmark = pytest.mark.real

SHORT = Length(rounds=1, seconds=0.2, warm_up_s=0.05, idle_s=0.2, sessions_max=20)
LARGE_UPDATE = 16 + 256 * 256 * 4


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    compile_generators(folder)
    with open_bench(folder / "run", folder, ()) as made:
        yield made


@pytest.fixture(scope="module", params=[(BASELINE, False), (DAEMON, False), (DAEMON, True)], ids=str)
def candidate(request: pytest.FixtureRequest) -> Candidate:
    name, tls = request.param
    return Candidate(name, tls)


def test_every_measurement_counts(bench: Bench, candidate: Candidate) -> None:
    """The generators check each byte's place, and that all has come at the end; else they fail."""
    with candidate.start(bench) as running:
        for kind in ("throughput-down", "throughput-up", "latency", "rate", "connect"):
            figures = measure(Measurement(kind, 5, candidate.tls), candidate, running, bench, SHORT)
            assert figures["count"] > 0, kind
            assert ("per_cpu_second" in figures) == (candidate.name != BASELINE), kind
            assert figures["per_second"] == pytest.approx(figures["count"] / figures["seconds"], rel=0.01), kind
            if kind in ("latency", "rate", "connect"):
                assert 0 < figures["p50_us"] <= figures["p99_us"] <= figures["p999_us"], kind
            if kind == "throughput-up":
                assert figures["count"] % (16 * 16384 + 8) == 0, "whole blocks, each confirmed"


def test_what_a_process_takes_is_measured(bench: Bench) -> None:
    candidate = Candidate(DAEMON)
    with candidate.start(bench) as running:
        memory = measure(Measurement("memory", 20), candidate, running, bench, SHORT)
        idle = measure(Measurement("idle", 20), candidate, running, bench, SHORT)
    assert memory["total_mib"] > 10
    assert memory["sessions"] == idle["sessions"] == 20
    assert 0 <= idle["cpu_percent"] < 300


def run_load(bench: Bench, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [str(bench.generators / "load"), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_a_proxy_that_refuses_is_an_error(bench: Bench, tmp_path: Path) -> None:
    """Sixteen tokens that nobody made."""
    paths = tmp_path / "paths"
    paths.write_text("/websockify?token=nonsense\n" * 16)
    with Candidate(DAEMON).start(bench) as running:
        done = run_load(bench, "rate", "127.0.0.1", str(running.port), "seconds=0.1", f"paths={paths}")
    assert done.returncode == 1
    assert "no WebSocket: HTTP/1.1 403" in done.stderr
    assert done.stdout == ""


def test_a_certificate_of_another_authority_is_an_error(bench: Bench, tmp_path: Path) -> None:
    candidate = Candidate(DAEMON, tls=True)
    another = tmp_path / "another.pem"
    trustme.CA().cert_pem.write_to_path(str(another))
    with candidate.start(bench) as running:
        options = ["tls=yes", f"ca={another}", *candidate.paths(bench, 1)]
        done = run_load(bench, "rate", "127.0.0.1", str(running.port), "seconds=0.1", *options)
    assert done.returncode == 1
    assert "certificate verify failed" in done.stderr
