"""The attached REPL's end in the daemon: who is let in, what a statement may do, and what becomes of its output."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import make_front, make_registry, within
from trio_cpvm import attached_repl, errors
from trio_cpvm.admin import AdminSite
from trio_cpvm.attached_repl import MAX_LINE_BYTES, MAX_WAITING_CHARS, AttachedRepl, compile_statement
from trio_cpvm.config import SessionConfig
from trio_cpvm.errors import ConsoleError
from trio_cpvm.http import Request
from trio_cpvm.models import Secret
from trio_cpvm.streams import PeerProcess, peer_process
from trio_cpvm.testing import HttpAnswer, connected, http_get

timely = within(600)

UPGRADE = b"GET /repl HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: trio-cpvm-repl\r\n\r\n"
ROOT = PeerProcess(pid=4711, uid=0)


def make_repl(names: Mapping[str, object] | None = None, peer: PeerProcess | None = ROOT) -> AttachedRepl:
    given = names if names is not None else {"trio": trio, "secret": Secret("s3cret")}
    return AttachedRepl(names=lambda: given, peer=lambda _: peer)


def site(repl: AttachedRepl) -> AdminSite:
    registry = make_registry(SessionConfig())
    return AdminSite(registry=registry, start_drain=lambda: None, attach=repl.attach)


@attrs.define
class Operator:
    """The other end of a connection, after the 101."""

    stream: trio.abc.Stream
    unread: bytes = b""

    async def message(self) -> dict[str, object]:
        while b"\n" not in self.unread:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError
            self.unread += data
        line, self.unread = self.unread.split(b"\n", 1)
        found: dict[str, object] = json.loads(line)
        return found

    async def send(self, message: object) -> None:
        await self.stream.send_all(json.dumps(message).encode() + b"\n")

    async def until_done(self) -> str:
        text = ""
        while "done" not in (message := await self.message()):
            text += str(message["out"])
        return text

    async def run(self, source: str) -> str:
        await self.send({"run": source})
        return await self.until_done()

    async def at_end(self) -> bool:
        try:
            await self.message()
        except EOFError:
            return True
        return False


@contextlib.asynccontextmanager
async def attached(repl: AttachedRepl | None = None) -> AsyncIterator[Operator]:
    async with connected(make_front(site(repl or make_repl())).handle) as stream:
        await stream.send_all(UPGRADE)
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive_some()
        head, _, rest = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        operator = Operator(stream, rest)
        assert f"process {os.getpid()}" in await operator.until_done()
        yield operator


# -- who ---------------------------------------------------------------------------------------------------------------


async def asked(repl: AttachedRepl) -> HttpAnswer:
    async with connected(make_front(site(repl)).handle) as stream:
        return await http_get(
            stream, "/repl", host="localhost", headers=[("Connection", "Upgrade"), ("Upgrade", "trio-cpvm-repl")]
        )


@timely
@pytest.mark.parametrize("peer", [None, PeerProcess(pid=1, uid=os.geteuid() + 1)])
async def test_only_root_and_the_daemons_user_are_let_in(
    peer: PeerProcess | None, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    repl = make_repl(peer=peer)
    answer = await asked(repl)
    assert (answer.status, answer.text) == (403, "only root and the daemon's own user may attach, by the unix socket\n")
    assert repl.attached == 0
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "attaching refused" in str(record.msg)


@timely
async def test_the_daemons_own_user_is_let_in(autojump_clock: MockClock) -> None:
    async with attached(make_repl(peer=PeerProcess(pid=1, uid=os.geteuid()))) as operator:
        assert await operator.run("1") == "1\n"


@timely
async def test_at_most_two_at_once(caplog: pytest.LogCaptureFixture, autojump_clock: MockClock) -> None:
    repl = make_repl()
    async with attached(repl), attached(repl):
        assert (await asked(repl)).status == 503
    await trio.testing.wait_all_tasks_blocked()
    assert repl.attached == 0
    async with attached(repl):
        pass
    said = [str(record.msg) for record in caplog.records if record.levelname == "WARNING"]
    assert sum("operator attached" in line and "4711" in line for line in said) == 3


@pytest.mark.parametrize("headers", [(), (("upgrade", "websocket"),)])
def test_who_asks_for_something_else_is_refused(headers: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(ConsoleError) as refused:
        make_repl().attach(Request(method="GET", path="/repl", headers=headers))
    assert refused.value.reason is errors.BAD_REQUEST


@timely
async def test_no_web_page_attaches(autojump_clock: MockClock) -> None:
    async with connected(make_front(site(make_repl())).handle) as stream:
        await stream.send_all(UPGRADE.replace(b"\r\n\r\n", b"\r\nOrigin: http://evil.test\r\n\r\n"))
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 403 ")


async def test_a_unix_sockets_peer_is_known_and_no_others(tmp_path: Path) -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    async with trio.SocketStream(trio.socket.from_stdlib_socket(one)) as stream:
        assert peer_process(stream) == PeerProcess(os.getpid(), os.getuid())
    other.close()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, await trio.testing.open_stream_to_socket_listener(listener) as tcp:
        assert peer_process(tcp) is None
    assert peer_process(trio.testing.memory_stream_pair()[0]) is None


# -- statements --------------------------------------------------------------------------------------------------------


@timely
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1 + 1", "2\n"),
        ("None", ""),
        ("x = 3", ""),
        ("1; 'two'", "1\n'two'\n"),
        ("'''no docstring'''", "'no docstring'\n"),
        ("await trio.sleep(5)", ""),
        ("print('a', 1, sep='|', end='!')", "a|1!"),
        ("print()", "\n"),
        ("for i in range(2):\n    print(i)\n", "0\n1\n"),
        ("secret", "Secret('***')\n"),
        ("print(secret, [secret], f'{secret}')", "*** [Secret('***')] ***\n"),
        ("'\\ud800'", "'\\ud800'\n"),
        ("print('ä\\x1b\\ud800')", "ä\x1b\ud800\n"),
    ],
)
async def test_what_a_statement_says(source: str, said: str, autojump_clock: MockClock) -> None:
    async with attached() as operator:
        assert await operator.run(source) == said


@timely
async def test_a_thread_may_print() -> None:
    async with attached() as operator:
        with trio.fail_after(10):
            said = await operator.run("await trio.to_thread.run_sync(print, 'in a thread')\nprint('after it')")
        assert said == "in a thread\nafter it\n"


@timely
async def test_names_last_as_long_as_the_operator_and_are_nobody_elses(autojump_clock: MockClock) -> None:
    repl = make_repl()
    async with attached(repl) as one, attached(repl) as other:
        assert await one.run("async def double(x):\n    await trio.sleep(1)\n    return 2 * x\n") == ""
        assert await one.run("await double(21)") == "42\n"
        assert await one.run("_") == "42\n"
        assert "NameError" in await other.run("double")


@timely
async def test_what_is_in_reach_is_as_of_now_unless_it_was_renamed(autojump_clock: MockClock) -> None:
    names: dict[str, object] = {"config": 1, "server": "s"}
    async with attached(make_repl(names)) as operator:
        assert await operator.run("config") == "1\n"
        assert await operator.run("server = 'mine'") == ""
        names |= {"config": 2, "server": "new"}
        assert await operator.run("config, server") == "(2, 'mine')\n"


@timely
async def test_nothing_goes_to_the_daemons_own_output(
    capsys: pytest.CaptureFixture[str], autojump_clock: MockClock
) -> None:
    async with attached() as operator:
        await operator.run("print('p'); 'q'; 1/0")
    assert capsys.readouterr() == ("", "")


@timely
@pytest.mark.parametrize(
    ("source", "last"),
    [
        ("password = 'hunter2'; 1/0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(2)", "SystemExit: 2"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("1 +", "SyntaxError: invalid syntax"),
        ("'\\0'\0", "SyntaxError: source code string cannot contain null bytes"),
        ("input()", "RuntimeError: the daemon has no terminal"),
        ("breakpoint()", "RuntimeError: the daemon has no terminal"),
        ("class B:\n    def __repr__(self): raise OSError('in repr')\nB()", "OSError: in repr"),
        ("raise BaseExceptionGroup('g', [SystemExit(1)])", "    +------------------------------------"),
        ("await 5", "TypeError: object int can't be used in 'await' expression"),
    ],
)
async def test_a_fault_is_the_operators_and_the_daemon_goes_on(
    source: str, last: str, autojump_clock: MockClock
) -> None:
    async with attached() as operator:
        said = await operator.run(source)
        assert said.splitlines()[-1] == last or (last.startswith("SyntaxError: source") and "null bytes" in said)
        assert "hunter2" not in said
        assert "_execute" not in said
        assert await operator.run("1") == "1\n"


# -- interrupting ------------------------------------------------------------------------------------------------------

FOREVER = "print('begun')\ntry:\n    await trio.sleep_forever()\nfinally:\n    print('cleaned up')\n"


@timely
@pytest.mark.parametrize(
    "source",
    [
        FOREVER,
        "async with trio.open_nursery() as n:\n    n.start_soon(trio.sleep_forever)\n    print('begun')\n",
    ],
)
async def test_what_waits_can_be_interrupted(source: str, autojump_clock: MockClock) -> None:
    async with attached() as operator:
        await operator.send({"run": source})
        assert await operator.message() == {"out": "begun\n"}
        await operator.send({"interrupt": True})
        assert (await operator.until_done()).endswith("interrupted\n")
        await operator.send({"interrupt": True})  # nothing runs: it is late, and means nothing for what comes
        assert await operator.run("1") == "1\n"


@timely
async def test_a_fault_on_the_way_out_is_shown(autojump_clock: MockClock) -> None:
    source = (
        "async def failing():\n"
        "    try:\n        await trio.sleep_forever()\n    finally:\n        raise OSError('at the end')\n"
        "async with trio.open_nursery() as n:\n    n.start_soon(failing)\n    n.start_soon(trio.sleep_forever)\n"
        "    print('begun')\n"
    )
    async with attached() as operator:
        await operator.send({"run": source})
        assert await operator.message() == {"out": "begun\n"}
        await operator.send({"interrupt": True})
        assert "OSError: at the end" in await operator.until_done()
        assert await operator.run("1") == "1\n"


@timely
async def test_whoever_leaves_cancels_what_runs(autojump_clock: MockClock) -> None:
    ended: list[str] = []
    repl = make_repl({"trio": trio, "ended": ended})
    async with attached(repl) as operator:
        await operator.send({"run": "try:\n    await trio.sleep_forever()\nfinally:\n    ended.append('yes')\n"})
        await trio.testing.wait_all_tasks_blocked()
    await trio.testing.wait_all_tasks_blocked()
    assert ended == ["yes"]
    assert repl.attached == 0


# -- bounds ------------------------------------------------------------------------------------------------------------


@timely
@pytest.mark.parametrize(
    "line",
    [b"nonsense\n", b"[]\n", b'{"run": 5}\n', b"[" * 20000 + b"\n", b'{"else": 1}\n', b"x" * (MAX_LINE_BYTES + 20000)],
)
async def test_what_is_no_message_ends_the_conversation(line: bytes, autojump_clock: MockClock) -> None:
    async with attached() as operator:
        await operator.stream.send_all(line)
        assert await operator.at_end()


@timely
async def test_one_statement_at_a_time(autojump_clock: MockClock) -> None:
    async with attached() as operator:
        await operator.send({"run": "await trio.sleep_forever()"})
        await operator.send({"run": "1"})
        assert await operator.at_end()


@timely
async def test_a_flood_of_output_is_cut_and_the_next_statement_is_not(autojump_clock: MockClock) -> None:
    async with attached() as operator:
        said = await operator.run("for i in range(3000): print('x' * 1000)\nprint('last')")
        few = await operator.run("for i in range(100_000): print()")
        assert len(few) < MAX_WAITING_CHARS / 64 + 100
        assert len(said) < MAX_WAITING_CHARS + 100
        assert said.endswith("[the rest was cut off]\n")
        assert await operator.run("'fine'") == "'fine'\n"
        assert len(await operator.run("'y' * 5_000_000")) < MAX_WAITING_CHARS + 100


@timely
async def test_who_takes_nothing_is_let_go(autojump_clock: MockClock) -> None:
    repl = make_repl()
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(make_front(site(repl)).handle, theirs)
        await ours.send_all(UPGRADE)
        assert await ours.receive_some()
        assert repl.attached == 1
        await trio.sleep(attached_repl.SEND_TIMEOUT_S + 1)
        assert repl.attached == 0
    await ours.aclose()


def test_statements_take_nothing_over_from_this_code() -> None:
    code = compile_statement("def f(x: undefined): pass")  # this file postpones annotations
    with pytest.raises(NameError, match="undefined"):
        eval(code, {})
