"""File descriptors run out: what runs goes on, operators are answered, and all is as before once there are more."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import pytest

from .conftest import StartDaemon, StartQemu
from .daemon import Daemon
from .processes import open_files, wait_for
from .recorder import Recorder
from .rfb_client import Refused, RfbClient, rfb_client
from .test_metrics import counted

pytestmark = pytest.mark.real

REACHED = "trio_cpvm_limit_reached_total open-files"


@contextmanager
def files_limited(daemon: Daemon, number: int) -> Iterator[None]:
    """The daemon may open so many files within the block."""
    before = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (number, before[1]))
    try:
        yield
    finally:
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, before)


def dial(daemon: Daemon) -> socket.socket:
    """A connection that says nothing; the kernel takes it whether or not the daemon does."""
    parts = urlsplit(daemon.url)
    return socket.create_connection((parts.hostname, parts.port), 5)


def assert_answers(client: RfbClient) -> None:
    """Its host still tells what it shows."""
    client.ask_for_corner()
    client.read_corner()


def events(daemon: Daemon, *names: str) -> list[object]:
    return [record["event"] for record in daemon.log() if record.get("event") in names]


def test_as_many_connections_as_there_is_room_for(
    start_qemu: StartQemu, start_daemon: StartDaemon, password: str
) -> None:
    """Of 128 descriptors half are for connections: a console here, another one that waits, and 60 who say nothing."""
    qemu = start_qemu(password=password)
    daemon = start_daemon(session={"second_viewer": "share"}, server={"head_timeout_s": 4})
    first = daemon.mint(qemu.host, qemu.port, password=password)
    second = daemon.mint(qemu.host, qemu.port, password=password)
    with files_limited(daemon, 128), rfb_client(first.websocket_url) as console:
        console.handshake()
        with ExitStack() as crowd:
            for _ in range(60):
                crowd.enter_context(dial(daemon))
            wait_for(lambda: counted(daemon)["trio_cpvm_connections public"] == 32, "32 connections are accepted")
            daemon.wait_for_event("accepting paused")
            assert_answers(console)
            assert daemon.get("/healthz", admin=True).status == 200
            assert len(daemon.sessions()) == 1
            assert counted(daemon)[REACHED] == 1
            assert len(open_files(daemon.process.pid)) < 128 - 32
            # those who say nothing go after their time, and whoever has waited gets in
            with rfb_client(second.websocket_url) as late:
                late.handshake()
                assert_answers(late)
        assert_answers(console)
        daemon.wait_for_event("accepting again")
    assert events(daemon, "accepting paused", "accepting again") == ["accepting paused", "accepting again"]


def test_the_system_refuses(start_daemon: StartDaemon, recorder: Recorder) -> None:
    """Fewer descriptors than are open already: not even ``accept`` works."""
    daemon = start_daemon()
    console = daemon.mint(recorder.host, recorder.port)
    another = daemon.mint(recorder.host, recorder.port, options=["--vm-id", "another"])
    with rfb_client(console.websocket_url) as running:
        running.handshake()
        with files_limited(daemon, len(open_files(daemon.process.pid))):
            with dial(daemon) as waiting:
                daemon.wait_for_event("accepting paused")
                assert_answers(running)
            waiting.close()
        with rfb_client(another.websocket_url) as again:
            again.handshake()
        daemon.wait_for_event("accepting again")
        assert_answers(running)
    assert events(daemon, "accepting paused", "accepting again") == ["accepting paused", "accepting again"]
    assert counted(daemon)[REACHED] == 1


def test_a_host_for_whom_no_descriptor_is_left(start_daemon: StartDaemon, recorder: Recorder) -> None:
    """It is this proxy's fault, not the host's, and the log says so."""
    daemon = start_daemon()
    console = daemon.mint(recorder.host, recorder.port)
    with (
        files_limited(daemon, len(open_files(daemon.process.pid)) + 1),
        rfb_client(console.websocket_url) as client,
        pytest.raises(Refused),
    ):
        client.handshake()
    line = daemon.wait_for_event("session ended")
    assert (line["reason"], line["side"]) == ("internal-error", "internal")
    assert "Too many open files" in str(line["detail"])
    wait_for(lambda: not daemon.sessions(), "the session is over")
    assert counted(daemon)[REACHED] >= 1
