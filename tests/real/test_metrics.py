"""What an operator and CloudStack's agent see of one console at a real host: ``/metrics`` and ``/cmd/getstatus``."""

from __future__ import annotations

import json
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from .conftest import StartDaemon, StartXvnc
from .daemon import Daemon
from .processes import wait_for
from .rfb_client import rfb_client

pytestmark = pytest.mark.real


def counted(daemon: Daemon) -> dict[str, float]:
    """The samples that are not 0, by their names and labels."""
    answer = daemon.get("/metrics", admin=True)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
        if sample.value
    }


def counted_with(daemon: Daemon, sessions: int) -> dict[str, float]:
    """Likewise, once so many sessions run."""

    def probe() -> dict[str, float] | None:
        now = counted(daemon)
        return now if now.get("trio_cpvm_sessions", 0) == sessions else None

    return wait_for(probe, f"{sessions} sessions are counted")


def test_one_console(start_xvnc: StartXvnc, start_daemon: StartDaemon, password: str) -> None:
    xvnc = start_xvnc(password=password)
    daemon = start_daemon()
    console = daemon.mint(xvnc.host, xvnc.port, password=password, options=["--vm-id", "machine-7"])
    with rfb_client(console.websocket_url) as client:
        client.handshake()
        seen = counted_with(daemon, 1)
        assert seen["trio_cpvm_sessions_started_total"] == 1
        assert seen["trio_cpvm_connections public"] == 1
        assert seen["process_open_fds"] > 5
        (entry,) = json.loads(daemon.get("/cmd/getstatus", admin=True).body)["connections"]
        assert (entry["host"], entry["port"], entry["tag"]) == (xvnc.host, xvnc.port, "machine-7")
        assert time.time() * 1000 - 60_000 < entry["createTime"] <= entry["lastUsedTime"] <= time.time() * 1000
    ended = daemon.wait_for_event("session ended")
    seen = counted_with(daemon, 0)
    assert seen[f"trio_cpvm_sessions_ended_total {ended['reason']} {ended['side']}"] == 1
    assert seen["trio_cpvm_handshake_duration_seconds_count"] == 1
    assert 0 < seen["trio_cpvm_handshake_duration_seconds_sum"] < 5
    assert daemon.get("/metrics").status == 404
    assert daemon.get("/cmd/getstatus").status == 404
