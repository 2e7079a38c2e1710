"""What an operator sees from inside: sessions, one session's state, the task tree; and nothing secret."""

from __future__ import annotations

import attrs
import trio
import trio.testing
from trio.testing import MockClock

from tests.consoles import PASSWORD, TARGET, console
from tests.helpers import make_registry, within
from trio_cpvm import inspection
from trio_cpvm.config import Config, SessionConfig
from trio_cpvm.inspection import HELP, names_in_reach, session_report, sessions_table
from trio_cpvm.metrics import Metrics
from trio_cpvm.models import Clipboard, Secret
from trio_cpvm.registry import SessionRegistry
from trio_cpvm.session import Session, session_at_work
from trio_cpvm.streams import socket_state, stream_layers
from trio_cpvm.task_tree import task_tree
from trio_cpvm.testing import RfbClient, ScriptedVncServer

timely = within(60)


@attrs.define
class Daemon:
    registry: SessionRegistry[Session] = attrs.field(factory=lambda: make_registry(SessionConfig()))
    config: Config = attrs.field(factory=Config)
    metrics: Metrics = attrs.field(factory=Metrics)


async def test_the_help_names_all_that_is_in_reach() -> None:
    names = names_in_reach(Daemon())
    assert all(name in HELP for name in names if name != "help")
    assert repr(names["help"]) == HELP.rstrip("\n")


async def test_sessions_are_a_table() -> None:
    registry = make_registry(SessionConfig())
    assert sessions_table(registry).split() == list(inspection._COLUMNS)
    session = Session(target=attrs.evolve(TARGET, user="alice", name="a longer name"), client="192.0.2.9")
    with registry.running(session):
        head, row = repr(sessions_table(registry)).splitlines()
    assert row.startswith(session.id)
    assert row.index("a longer name") == head.index("name")


async def test_a_session_that_is_not_there() -> None:
    assert repr(session_report(make_registry(SessionConfig()), "x")) == "no session 'x'"


@timely
async def test_a_sessions_whole_state(autojump_clock: MockClock) -> None:
    secret = Secret("S3CRET")
    target = attrs.evolve(TARGET, view_only=True, clipboard=Clipboard.NONE, ticket=secret, session_uuid="S3CRET")
    registry = make_registry(SessionConfig())
    async with console(ScriptedVncServer(password=PASSWORD), target=target) as c:
        with registry.running(c.session):
            early = session_report(registry, c.session.id)
            assert "waits for  the RFB version" in early or "waits for" in early
            assert "relay\n" not in early
            await RfbClient(c.browser).handshake()
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(3)
            report = session_report(registry, c.session.id)
    titles = [line for line in report.splitlines() if not line.startswith(" ")]
    assert titles == [
        *("session", "handshake", "browser", "host", "relay"),
        *("filter of what the browser says", "filter of what the host says"),
    ]
    values = {line.strip().partition("  ")[0]: line.rpartition("  ")[2].strip() for line in report.splitlines()}
    assert (values["idle_left_s"], values["reads"], values["view only"]) == ("297.0", "2", "True")
    assert (values["being sent up"], values["kept bytes"], values["reading"]) == ("0", "0", "True")
    assert values["streams"]
    assert "S3CRET" not in report
    assert PASSWORD not in report


@timely
async def test_the_tree_shows_whom_each_task_works_for(autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer(password=PASSWORD)) as c:
        await RfbClient(c.browser).handshake()
        await trio.testing.wait_all_tasks_blocked()
        tree = task_tree()
        assert session_at_work.get() is None
    lines = tree.splitlines()
    assert lines[0].startswith("<init>")
    # the host double is marked as well: it was started by the session's task
    (marked,) = [
        at for at, line in enumerate(lines) if "serve_websocket" in line and f"session {c.session.id} (r" in line
    ]
    below = [line for line in lines[marked + 1 :] if line.startswith("  " + " " * _indent(lines[marked]))]
    assert any("_copy_up  at ready_stream.py:" in line and line.endswith(".borrow_some") for line in below)
    assert any("_copy_down  at ready_stream.py:" in line and line.endswith(".borrow_some") for line in below)
    assert all(_indent(line) % 2 == 0 for line in lines)
    assert any(line.strip().startswith("nursery, 2 tasks") for line in below)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


@timely
async def test_the_tree_says_what_is_being_cancelled(autojump_clock: MockClock) -> None:
    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stubborn)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
            assert "nursery, 1 task, cancelled" in task_tree()


async def test_what_the_kernel_knows_of_a_socket() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, await trio.testing.open_stream_to_socket_listener(listener) as client:
        served = await listener.accept()
        async with served:
            await client.send_all(b"12345")
            await served.wait_send_all_might_not_block()
            state = socket_state(served)
            assert state["unread in the kernel"] == 5
            assert state["unsent in the kernel"] == 0
            assert stream_layers(served) == ["SocketStream"]
        assert socket_state(served) == {}
    assert socket_state(trio.testing.memory_stream_pair()[0]) == {}
