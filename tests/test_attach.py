"""The operator's end of the attached REPL: what it types, what it shows, and how it ends with the daemon."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trio_cpvm.admin_client import AdminUnreachable
from trio_cpvm.attach import MAX_LINE_BYTES, run_attached
from trio_cpvm.config_values import UnixAddress

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: trio-cpvm-repl\r\n\r\n"
GREETING = SWITCHED + b'{"out": "hello\\n"}\n{"done": true}\n'


@contextlib.contextmanager
def daemon(folder: Path, behave: Callable[[socket.socket], None]) -> Iterator[UnixAddress]:
    """Somebody at a unix socket who does as ``behave`` says, to one client."""
    address = UnixAddress(str(folder / "admin.sock"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(address.path)
        listener.listen()

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.settimeout(10)
                head = client.recv(4096)
                assert head.startswith(b"GET /repl HTTP/1.1\r\n")
                behave(client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield address
        finally:
            thread.join(10)
            assert not thread.is_alive()


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def statements(client: socket.socket) -> Iterator[str]:
    with client.makefile("rb") as lines:
        for line in lines:
            yield json.loads(line)["run"]


def test_what_is_typed_goes_out_as_whole_statements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    def behave(client: socket.socket) -> None:
        client.sendall(GREETING)
        for source in statements(client):
            seen.append(source)
            client.sendall(b'{"out": "a\\u001b[2J\\tb\\n"}\n{"done": true}\n')

    typed(
        monkeypatch,
        "await f()",
        "",
        "for i in x:",
        "    g(i)",
        "",
        "1 +",
        "x = '" + "y" * MAX_LINE_BYTES + "'",
        "quit()",
        "never",
    )
    with daemon(tmp_path, behave) as address:
        run_attached(address)
    assert seen == ["await f()", "for i in x:\n    g(i)\n"]
    said = capsys.readouterr()
    assert said.out == "hello\n" + "a\\x1b[2J\\tb\n" * 2
    assert "SyntaxError" in said.err
    assert f"at most {MAX_LINE_BYTES} bytes" in said.err


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\nnot-found: x\n", "answered 404; it has admin.repl = false: not-found: x"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\nonly \x1b[2Jroot\n", r"answered 403: only \x1b[2Jroot"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\ntwo\n", "answered 503: two"),
        (b"SSH-2.0-OpenSSH\r\n", "answered something else: "),
        (b"", "answered something else: "),
        (b"x" * 100_000, "answered something else: "),
        (SWITCHED, "the daemon has ended the connection"),
        (SWITCHED + b"nonsense\n", "the daemon has ended the connection"),
        (SWITCHED + b"[]\n", "the daemon has ended the connection"),
    ],
)
def test_no_attaching(answer: bytes, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "1")
    with daemon(tmp_path, lambda client: client.sendall(answer)) as address:
        with pytest.raises(AdminUnreachable) as refused:
            run_attached(address)
    assert why in str(refused.value)


def test_a_daemon_that_ends_ends_this(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "1", "2")

    def behave(client: socket.socket) -> None:
        client.sendall(GREETING)
        next(statements(client))

    with daemon(tmp_path, behave) as address:
        with pytest.raises(AdminUnreachable, match="ended the connection"):
            run_attached(address)
