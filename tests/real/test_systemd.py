"""systemd's own tools about the units in ``conf/``, a notification socket, sockets handed over by a real program."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from .conftest import StartQemu
from .daemon import Daemon, program_environment
from .processes import PATIENCE_S, Process, free_port, program, wait_for
from .rfb_client import rfb_client

pytestmark = [pytest.mark.real]

CONF = Path(__file__).parents[2] / "conf"
UNITS = [CONF / "trio-cpvm.service", CONF / "trio-cpvm.socket"]
#: What ``systemd-analyze security`` may say at most, in tenths; below 2.5 it says "OK", the best there is.
EXPOSURE = 20


def run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE_S, check=False
    )
    return done.returncode, done.stdout


@pytest.fixture
def analyze() -> str:
    return program("systemd-analyze", "systemd")


# -- the units ---------------------------------------------------------------------------------------------------------


def test_the_service_is_hardened(analyze: str) -> None:
    code, said = run(analyze, "security", "--no-pager", "--offline=true", f"--threshold={EXPOSURE}", str(UNITS[0]))
    assert code == 0, said
    assert "OK" in said.splitlines()[-1]


def test_the_units_are_faultless(analyze: str, tmp_path: Path) -> None:
    """As they are, but for where the program is: this machine has it elsewhere."""
    folder = tmp_path / "units"
    folder.mkdir()
    for unit in UNITS:
        text = unit.read_text("utf-8").replace("/opt/trio-cpvm/bin/trio-cpvm", shutil.which("true") or "")
        (folder / unit.name).write_text(text, "utf-8")
    assert run(analyze, "verify", "--man=no", *(str(folder / unit.name) for unit in UNITS)) == (0, "")
    (folder / UNITS[0].name).write_text("[Service]\nExecStart=/bin/true\nProtectSytem=strict\n", "utf-8")
    assert "ProtectSytem" in run(analyze, "verify", "--man=no", str(folder / UNITS[0].name))[1]


# -- what the service manager is told ----------------------------------------------------------------------------------


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that ``NOTIFY_SOCKET`` names."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(PATIENCE_S)
        yield sock


def next_news(manager: socket.socket) -> dict[str, str]:
    """The next message that is more than a sign of life or a new status."""
    while True:
        lines = manager.recv(4096).decode().splitlines()
        news = dict(line.split("=", 1) for line in lines)
        if news.keys() - {"WATCHDOG", "STATUS"}:
            return news


def test_the_manager_is_told(manager: socket.socket, tmp_path: Path, key: Path, start_qemu: StartQemu) -> None:
    variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
    qemu = start_qemu(password=None)
    daemon = Daemon(tmp_path / "daemon", key, {"server": {"drain_timeout_s": 30}}, variables=variables)
    try:
        assert next_news(manager) == {"READY": "1", "STATUS": "serving, sessions: 0"}
        with rfb_client(daemon.mint(qemu.host, qemu.port).websocket_url) as client:
            client.handshake()
            while (said := manager.recv(4096).decode()) != "STATUS=serving, sessions: 1\nWATCHDOG=1":
                assert "WATCHDOG=1" in said
            daemon.reconfigure({"session": {"max_sessions": 5}})
            assert next_news(manager)["RELOADING"] == "1"
            assert next_news(manager) == {"READY": "1", "STATUS": "serving, sessions: 1"}
            daemon.process.send(signal.SIGTERM)
            news = next_news(manager)
            assert (news["STOPPING"], news["STATUS"]) == ("1", "draining, sessions: 1")
            assert 30e6 < int(news["EXTEND_TIMEOUT_USEC"]) < 60e6
            assert "WATCHDOG=1" in manager.recv(4096).decode(), "it is watched until the end"
        assert daemon.process.wait_until_ended() == 0
    finally:
        daemon.process.stop()


def test_a_daemon_that_hangs_shows_no_sign_of_life(manager: socket.socket, tmp_path: Path, key: Path) -> None:
    variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
    daemon = Daemon(tmp_path / "daemon", key, {}, variables=variables)
    try:
        next_news(manager)
        assert manager.recv(4096)
        daemon.process.pause()
        manager.settimeout(1)
        with pytest.raises(TimeoutError):
            next_news(manager)
    finally:
        daemon.process.stop()


# -- sockets handed over -----------------------------------------------------------------------------------------------


class Activated:
    """``serve`` behind systemd-socket-activate, which listens and starts it at the first connection."""

    def __init__(self, folder: Path, key: Path, listen: list[str], activate: list[str]) -> None:
        config = folder / "serve.toml"
        config.write_text(
            f"[server]\nlisten = {listen}\n[admin]\nlisten = 'unix:{folder}/admin.sock'\n"
            f"[token]\nkey_files = ['{key}']\n[log]\nformat = 'json'\n"
        )
        self.process = Process(
            "activated",
            [
                *(program("systemd-socket-activate", "systemd"), *(f"--listen={address}" for address in activate)),
                *(f"--setenv={name}" for name in ("PYTHONPATH", "PYTHONUNBUFFERED")),
                *(sys.executable, "-m", "trio_cpvm", "serve", "--config", str(config)),
            ],
            folder,
            env=program_environment(),
        )
        self.process.wait_for(
            lambda: self.process.output().count("Listening on") == len(activate) or None, "the sockets are there"
        )


def get(sock: socket.socket) -> bytes:
    sock.settimeout(PATIENCE_S)
    sock.sendall(b"GET /novnc/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    return sock.recv(4096)


def test_a_connection_starts_the_daemon_and_waits_for_it(tmp_path: Path, key: Path) -> None:
    port, other, path = free_port(), free_port(), tmp_path / "public.sock"
    listen = [f"127.0.0.1:{port}", f"127.0.0.1:{other}", f"unix:{path}"]
    activated = Activated(tmp_path, key, listen, [f"127.0.0.1:{port}", str(path)])
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as first:
            assert get(first).startswith(b"HTTP/1.1 200")
        assert '"signal"' not in activated.process.output()
        for address in ((socket.AF_UNIX, str(path)), (socket.AF_INET, ("127.0.0.1", other))):
            with socket.socket(address[0]) as sock:
                sock.connect(address[1])
                assert get(sock).startswith(b"HTTP/1.1 200")
        activated.process.send(signal.SIGTERM)
        assert activated.process.wait_until_ended() == 0
        assert path.is_socket(), "it belongs to whoever has made it"
        assert not (tmp_path / "admin.sock").exists()
    finally:
        activated.process.stop()


def test_every_address_is_the_wildcard_socket(tmp_path: Path, key: Path) -> None:
    port = free_port()
    activated = Activated(tmp_path, key, [f":{port}"], [str(port)])
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
            assert get(sock).startswith(b"HTTP/1.1 200")
    finally:
        activated.process.stop()


def test_a_socket_that_no_key_names_is_a_bad_configuration(tmp_path: Path, key: Path) -> None:
    port, stray = free_port(), free_port()
    activated = Activated(tmp_path, key, [f"127.0.0.1:{port}"], [f"127.0.0.1:{port}", f"127.0.0.1:{stray}"])
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S):
            assert activated.process.wait_until_ended() == 2
        assert f"admin.listen names: 127.0.0.1:{stray}" in activated.process.output()
    finally:
        activated.process.stop()


HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "trio_cpvm", "serve", "--config", sys.argv[2]])
"""


def test_connections_wait_while_the_daemon_is_exchanged(tmp_path: Path, key: Path) -> None:
    """Whoever holds the socket holds its backlog: between two daemons nobody is refused."""
    config = tmp_path / "serve.toml"
    with socket.create_server(("127.0.0.1", 0), backlog=64) as held:
        port = held.getsockname()[1]
        config.write_text(
            f"[server]\nlisten = ['127.0.0.1:{port}']\n[admin]\nlisten = 'unix:{tmp_path}/admin.sock'\n"
            f"[token]\nkey_files = ['{key}']\n"
        )
        os.set_inheritable(held.fileno(), True)

        def start(name: str) -> Process:
            argv = [sys.executable, "-c", HAND_OVER, str(held.fileno()), str(config)]
            return Process(name, argv, tmp_path, env=program_environment(), pass_fds=[held.fileno()])

        first = start("first")
        try:
            with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
                assert get(sock).startswith(b"HTTP/1.1 200")
            first.send(signal.SIGTERM)
            assert first.wait_until_ended() == 0
            waiting = [socket.create_connection(("127.0.0.1", port), PATIENCE_S) for _ in range(5)]
            second = start("second")
            try:
                for sock in waiting:
                    with sock:
                        assert get(sock).startswith(b"HTTP/1.1 200")
            finally:
                second.stop()
            wait_for(lambda: second.exit_code == 0 or None, "the second one has stopped")
        finally:
            first.stop()
