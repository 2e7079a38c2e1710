"""The daemon's life under a running ``serve``: reloads that are taken and refused, and a drain, while consoles run."""

from __future__ import annotations

import contextlib
import signal
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import websockets.exceptions

from .certificates import Authority
from .conftest import StartDaemon, StartQemu
from .daemon import Console, Daemon, command, make_key
from .qemu import Qemu
from .rfb_client import Refused, RfbClient, rfb_client
from .test_tls_browsers import pem, replace, shown_certificate, tls_settings, trusting

pytestmark = [pytest.mark.real]

SESSIONS = 30


def open_console(stack: contextlib.ExitStack, console: Console, trust: ssl.SSLContext | None = None) -> RfbClient:
    client = stack.enter_context(rfb_client(console.websocket_url, trust=trust))
    client.handshake()
    return client


def refused_with(console: Console, trust: ssl.SSLContext | None = None) -> int:
    """The status that a console is refused with before its WebSocket is open."""
    with pytest.raises(websockets.exceptions.InvalidStatus) as caught, contextlib.ExitStack() as stack:
        open_console(stack, console, trust)
    return int(caught.value.response.status_code)


def assert_alive(*clients: RfbClient) -> None:
    for client in clients:
        client.ask_for_corner()
    for client in clients:
        client.read_corner()


def reusable(daemon: Daemon, qemu: Qemu, password: str, key: Path | None = None) -> Console:
    return daemon.mint(qemu.host, qemu.port, password=password, key=key, options=["--reusable"])


def test_everything_is_exchanged_under_running_consoles(
    start_qemu: StartQemu, start_daemon: StartDaemon, tmp_path: Path, authority: Authority, password: str
) -> None:
    """Keys, certificate (other files, and then watched), networks, limits and log level by one SIGHUP."""
    pair = authority.issue(tmp_path / "proxy", "server", "127.0.0.1")
    qemu = start_qemu(password=password, vnc=[f"connections={SESSIONS + 5}"])
    settings = tls_settings(pair)
    shared: dict[str, object] = {"second_viewer": "share", "max_sessions_per_machine": 0}
    daemon = start_daemon(**settings, session=shared)
    trust = trusting(authority)
    old_token = reusable(daemon, qemu, password)
    with contextlib.ExitStack() as stack:
        clients = [open_console(stack, old_token, trust) for _ in range(SESSIONS)]
        new_pair = authority.issue(tmp_path / "other", "server", "127.0.0.1")
        new_key = make_key(tmp_path / "new-key.json")
        daemon.reconfigure(
            {
                "tls": tls_settings(new_pair)["tls"],
                "server": {**settings["server"], "allowed_origins": ["https://cloud.example"]},
                "token": {"key_files": [str(new_key)]},
                "session": {**shared, "max_sessions": SESSIONS + 1, "idle_timeout_s": 1234},
                "log": {"level": "info"},
            }
        )
        changed = daemon.wait_for_event("configuration reloaded")["changed"]
        assert isinstance(changed, list)
        assert [str(line).partition(" = ")[0] for line in changed] == [
            "server.allowed_origins",
            "tls.certificate",
            "tls.private_key",
            "token.key_files",
            "session.idle_timeout_s",
            "session.max_sessions",
            "log.level",
        ]
        assert shown_certificate(daemon, authority) == pem(new_pair)
        assert refused_with(old_token, trust) == 403
        assert_alive(*clients)

        new_token = reusable(daemon, qemu, password, new_key)
        clients.append(open_console(stack, new_token, trust))
        assert refused_with(new_token, trust) == 503, "session.max_sessions"
        assert len(daemon.sessions()) == SESSIONS + 1
        assert "console open" not in {line["event"] for line in daemon.log()[-3:]}, "log.level is info by now"

        # the new files are watched from now on, without a signal
        third = authority.issue(tmp_path / "third", "server", "127.0.0.1")
        wanted = pem(third)
        replace(new_pair, third)
        daemon.wait_for_event("certificate loaded")
        assert shown_certificate(daemon, authority) == wanted

        daemon.reconfigure(
            {
                "tls": tls_settings(new_pair)["tls"],
                "token": {"key_files": [str(new_key)]},
                "session": shared,
                "upstream": {"allowed_networks": ["192.0.2.0/24"]},
            }
        )
        daemon.wait_for_event("configuration reloaded", 2)
        with pytest.raises((Refused, websockets.exceptions.ConnectionClosed)):
            open_console(stack, new_token, trust)
        assert daemon.wait_for_reason("upstream-forbidden")
        assert_alive(*clients)


def test_what_needs_a_restart_is_said(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    daemon.reconfigure({"server": {"listen": ["127.0.0.1:1"]}, "session": {"max_sessions": 5}})
    assert daemon.wait_for_event("configuration reloaded")["changed"] == ["session.max_sessions = 5"]
    assert daemon.wait_for_event("needs a restart")["key"] == "server.listen"
    assert daemon.get("/novnc/status").status == 200


def missing_key(tables: dict[str, dict[str, object]], folder: Path) -> None:
    tables["token"] = {"key_files": [str(folder / "none.json")]}


def unknown_key(tables: dict[str, dict[str, object]], folder: Path) -> None:
    tables["session"] = {"idle_timeout": 5}


def bad_certificate(tables: dict[str, dict[str, object]], folder: Path) -> None:
    (folder / "bad.pem").write_text("no certificate")
    tables["tls"] = {"certificate": str(folder / "bad.pem"), "private_key": str(folder / "bad.pem")}


def bad_authority(tables: dict[str, dict[str, object]], folder: Path) -> None:
    (folder / "bad.pem").write_text("no certificate")
    tables["upstream"] = {"ca_file": str(folder / "bad.pem")}


def test_bad_configurations_leave_the_old_one_running(
    start_qemu: StartQemu, start_daemon: StartDaemon, tmp_path: Path, authority: Authority, password: str
) -> None:
    """Each of them would have changed the limits, too; none of it is taken, and no console is lost."""
    pair = authority.issue(tmp_path / "proxy", "server", "127.0.0.1")
    qemu = start_qemu(password=password)
    settings = tls_settings(pair)
    daemon = start_daemon(**settings, session={"second_viewer": "share", "max_sessions_per_machine": 0})
    trust = trusting(authority)
    token = reusable(daemon, qemu, password)
    good = daemon.config.read_text("utf-8")
    spoils: list[tuple[Callable[[dict[str, dict[str, object]], Path], None], str]] = [
        (missing_key, "none.json: No such file"),
        (unknown_key, "session.idle_timeout: unknown key (value 5)"),
        (bad_certificate, "tls.certificate = "),
        (bad_authority, "upstream.ca_file = "),
    ]
    with contextlib.ExitStack() as stack:
        client = open_console(stack, token, trust)
        daemon.write_config(good.replace("[server]", "[server"))
        assert "not TOML" in str(daemon.wait_for_event("configuration refused")["detail"])
        for number, (spoil, words) in enumerate(spoils, start=2):
            tables: dict[str, dict[str, object]] = {"session": {"max_sessions": 1}}
            spoil(tables, tmp_path)
            daemon.reconfigure({**tables, "server": {**settings["server"], "max_connections": 1}})
            assert words in str(daemon.wait_for_event("configuration refused", number)["detail"])
            assert_alive(client)
            assert_alive(open_console(stack, token, trust))
        metrics = daemon.get("/metrics", admin=True).body.decode()
        assert f'trio_cpvm_config_reloads_total{{result="refused"}} {len(spoils) + 1}.0' in metrics
        assert shown_certificate(daemon, authority) == pem(pair)

        daemon.write_config(good)
        assert daemon.wait_for_event("configuration reloaded")["changed"] == []
        assert_alive(client)


@pytest.mark.parametrize("how", ["SIGTERM", "sessions drain"])
def test_a_drain(start_qemu: StartQemu, start_daemon: StartDaemon, password: str, how: str) -> None:
    """Nobody new, the others are told how long they have, and then why it is over; operators can look until then."""
    qemu = start_qemu(password=password)
    shared: dict[str, object] = {"second_viewer": "share", "max_sessions_per_machine": 0}
    daemon = start_daemon(server={"drain_timeout_s": 2}, session=shared)
    token = reusable(daemon, qemu, password)
    with contextlib.ExitStack() as stack:
        client = open_console(stack, token)
        if how == "SIGTERM":
            daemon.process.send(signal.SIGTERM)
        else:
            command("sessions", "--admin", daemon.admin_address, "drain")
        daemon.wait_for_event("draining")
        with pytest.raises(ConnectionRefusedError):
            open_console(stack, token)
        assert daemon.get("/readyz", admin=True).status == 503
        assert daemon.get("/healthz", admin=True).status == 200
        assert_alive(client)
        told = client.ask(1)
        assert 0 < float(str(told["drain_left_s"])) <= 2
        assert told["looks_on"] is False
        code, reason = client.closed()
        assert (code, reason.partition(":")[0]) == (4412, "draining")
    assert daemon.process.wait_until_ended() == 0
