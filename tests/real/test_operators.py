"""What operators see and do, on a terminal: ``top``, and the REPL inside the running daemon."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import StartDaemon
from .daemon import Daemon, Record, program_environment, run_command
from .processes import PATIENCE_S, free_port, wait_for
from .recorder import Recorder
from .rfb_client import RfbClient, rfb_client
from .terminal import terminal

pytestmark = pytest.mark.real

NASTY = "\x1b]0;owned\x07\x1b[2J[bold]x"


@contextlib.contextmanager
def console(daemon: Daemon, recorder: Recorder, *options: str) -> Iterator[RfbClient]:
    """An open console of a machine."""
    minted = daemon.mint(recorder.host, recorder.port, options=options)
    with rfb_client(minted.websocket_url) as client:
        client.handshake()
        wait_for(lambda: any(one["phase"] == "relay" for one in daemon.sessions()), "the console is open")
        yield client


def only(daemon: Daemon) -> Record:
    (session,) = daemon.sessions()
    return session


# -- top ---------------------------------------------------------------------------------------------------------------


def test_top_shows_the_daemon_and_its_sessions(start_daemon: StartDaemon, recorder: Recorder) -> None:
    daemon = start_daemon()
    options = ["--vm-id", "vm-7", "--name", NASTY, "--user", "alice"]
    with (
        console(daemon, recorder, *options),
        terminal("top", "--admin", daemon.admin_address, "--interval", "0.2") as term,
    ):
        shown = term.wait_for("alice")
        assert re.search(r"trio-cpvm \S+ +up \d+s +sessions 1/1000 +connections public 1, admin 1 +MB/s \d", shown)
        (row,) = [line for line in shown.splitlines() if "alice" in line]
        session = only(daemon)
        for text in (session["id"], "127.0.0.1", "vm-7", str(session["host"]), "relay", "None(1), no TLS", "[bold]x"):
            assert str(text) in row
        assert b"\x1b]0;owned" not in term.raw
        term.resize(80, 12)
        term.type("s")
        term.wait_for("sorted by age")
        narrow = [line for line in term.lines if line]
        assert len(narrow) <= 12
        assert str(session["id"]) in term.said
        assert "down/s" in term.said
        assert "security" not in term.said
        term.type("q")
        assert term.wait_until_ended() == 0
        assert b"\x1b[?1049l" in term.raw  # the screen is as it was


def test_top_ends_a_session_and_outlives_the_daemon(start_daemon: StartDaemon, recorder: Recorder) -> None:
    port = free_port()
    daemon = start_daemon(admin={"listen": f"127.0.0.1:{port}"})
    with (
        console(daemon, recorder, "--user", "alice"),
        console(daemon, recorder, "--user", "bob", "--vm-id", "b"),
        terminal("top", "--admin", daemon.admin_address, "--interval", "0.2") as term,
    ):
        term.wait_for("2 in all")
        term.type("sss")
        term.wait_for("sorted by user")
        term.type("\x1b[B\x1b[B")
        term.type("k")
        term.wait_for("? y: yes")
        term.type("n")
        term.wait_for("q quit")
        assert len(daemon.sessions()) == 2
        term.type("k")
        term.wait_for("? y: yes")
        term.type("y")
        term.wait_for("1 in all")
        assert only(daemon)["user"] == "alice"
        assert daemon.wait_for_event("session ended")["user"] == "bob"
        daemon.process.send(signal.SIGINT)
        term.wait_for(f"no daemon answers at 127.0.0.1:{port}")
        again = start_daemon(admin={"listen": f"127.0.0.1:{port}"})
        term.wait_until_gone("no daemon answers")
        term.wait_for("0 in all")
        term.type("\x03")
        assert term.wait_until_ended() == 0
        assert again.process.exit_code is None


def test_top_once_is_for_scripts(start_daemon: StartDaemon, recorder: Recorder) -> None:
    daemon = start_daemon()
    with console(daemon, recorder, "--user", "alice", "--name", "a" * 40):
        printed = run_command("top", "--admin", daemon.admin_address, "--once", "--interval", "0.1").stdout
    assert "\x1b" not in printed
    assert "a" * 40 in printed
    assert "alice" in printed
    assert printed.splitlines()[-1].startswith("1 in all")


# -- the REPL inside ---------------------------------------------------------------------------------------------------


@pytest.fixture
def daemon(start_daemon: StartDaemon, tmp_path: Path) -> Daemon:
    return start_daemon(admin={"listen": f"unix:{tmp_path / 'admin.sock'}", "repl": True})


def attached(daemon: Daemon, *lines: str) -> str:
    """What the daemon says to these lines."""
    done = subprocess.run(
        [sys.executable, "-m", "trio_cpvm", "repl", "--attach", "--admin", daemon.admin_address],
        input="".join(line + "\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=program_environment(),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_an_operator_looks_around_inside(daemon: Daemon, recorder: Recorder) -> None:
    with console(daemon, recorder, "--user", "alice", "--vm-id", "vm-7", "--view-only") as client:
        session = only(daemon)["id"]
        said = attached(daemon, "sessions()", "tasks()", f"state({session!r})", f"session({session!r}).target")
        assert re.search(rf"{session} +alice +127\.0\.0\.1 +vm-7 .* relay ", said)
        tree = said[said.index("<init>") : said.index("round trip")]
        assert re.search(rf"\n +\S.*  session {session} \(relay\)  at ", tree)
        for task in (
            "_copy_up",
            "_copy_down",
            "Session._watch_browser",
            "daemon.run_daemon",
            "an operator's statement",
        ):
            assert task in tree
        assert tree.count(f"session {session} (") == 1
        for text in ("idle_left_s", "unsent in the kernel", "BrowserSocket > ", "view only   True"):
            assert text in said
        assert "ConsoleTarget(host=" in said
        told = attached(daemon, f"session({session!r}).end(errors.KILLED, 'by hand')")
        assert told.count("\n") == 1  # the greeting
        with contextlib.suppress(Exception):
            client.read(1)
    assert daemon.wait_for_event("session ended")["detail"] == "by hand"
    record = daemon.wait_for_event("operator attached")
    assert (record["level"], record["uid"]) == ("warning", 0)
    assert daemon.wait_for_event("operator detached", 2)["pid"] != record["pid"]


def test_on_a_terminal_what_runs_can_be_stopped(daemon: Daemon, recorder: Recorder) -> None:
    with terminal("repl", "--attach", "--admin", daemon.admin_address, columns=100) as term:
        term.wait_for(">>>")
        term.type("async def slowly():\n    print('begun')\n    await trio.sleep(3600)\n\n")
        term.type("await slowly()\n")
        term.wait_for("\nbegun")
        with console(daemon, recorder):  # consoles open meanwhile
            term.type("\x03")
            term.wait_for("interrupted")
        term.type("never\x03")  # a line that is given up
        term.wait_for("KeyboardInterrupt")
        term.type("6 * 7\n")
        term.wait_for("\n42")
        term.type("\x1b[A\n")  # once more, from the history
        wait_for(lambda: term.said.count("\n42") == 2, "the line runs again")
        term.type("\x04")
        assert term.wait_until_ended() == 0
        assert "Traceback" not in term.said


def test_who_goes_away_takes_what_runs_along(daemon: Daemon) -> None:
    with terminal("repl", "--attach", "--admin", daemon.admin_address) as term:
        term.wait_for(">>>")
        term.type("try: print('begun'); await trio.sleep(3600)\nfinally: server.gone = True\n\n")
        term.wait_for("\nbegun")
    daemon.wait_for_event("operator detached")
    assert "True" in attached(daemon, "server.gone")


def test_an_operator_who_is_attached_does_not_hold_the_daemons_end_up(daemon: Daemon) -> None:
    with terminal("repl", "--attach", "--admin", daemon.admin_address) as term:
        term.wait_for(">>>")
        term.type("print('begun'); await trio.sleep(3600)\n")
        term.wait_for("\nbegun")
        daemon.process.send(signal.SIGTERM)
        assert daemon.process.wait_until_ended() == 0
        term.wait_for("trio-cpvm: the daemon has ended the connection")
        assert term.wait_until_ended() == 1


def test_nobody_attaches_to_a_daemon_that_does_not_let_them(start_daemon: StartDaemon, tmp_path: Path) -> None:
    off = start_daemon(admin={"listen": f"unix:{tmp_path / 'off.sock'}"})
    over_tcp = start_daemon()
    for address, why in (
        (off.admin_address, "answered 404; it has admin.repl = false"),
        (over_tcp.admin_address, "attaching needs a unix socket"),
        (f"unix:{tmp_path / 'none.sock'}", "no daemon answers at "),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "trio_cpvm", "repl", "--attach", "--admin", address],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env=program_environment(),
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert why in done.stderr
        assert "Traceback" not in done.stderr
