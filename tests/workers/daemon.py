"""A daemon of several processes, as its operator starts it, and consoles through it.

Hosts are the package's own doubles, in the test's process; browsers are, too. A daemon is started once for many tests:
it takes a second of the processor.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias, TypeVar
from urllib.parse import quote, urlsplit

import attrs
import trio

from tests.helpers import KEY, PASSWORD
from trio_cpvm.models import ConsoleTarget, Secret
from trio_cpvm.testing import RfbClient, UpgradeRefused, WebSocketDouble, open_websocket
from trio_cpvm.token import mint_token, write_key_file

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 20.0

T = TypeVar("T")
Record: TypeAlias = Mapping[str, object]

CONFIG = """
[server]
listen = ["127.0.0.1:0"{also}]
workers = {workers}
drain_timeout_s = 1
{server}
[admin]
{admin}
[token]
key_files = ["{key}"]
{token}
[session]
second_viewer = "{second_viewer}"
max_sessions_per_machine = 0
{session}
[log]
format = "json"
{log}
{more}
"""


def config_with(*, key: str, workers: str = "2", **settings: str) -> str:
    """A configuration; ``settings`` are more for its tables, by name."""
    usual = {
        "second_viewer": "share",
        "admin": 'listen = "127.0.0.1:0"',
        **dict.fromkeys(("also", "server", "token", "session", "log", "more"), ""),
    }
    return CONFIG.format(workers=workers, key=key, **{**usual, **settings})


def wait_for(probe: Callable[[], T | None], what: str) -> T:
    """Call ``probe`` until it gives something true, and return that. Blocks."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.01)


async def until(probe: Callable[[], T | None], what: str) -> T:
    """Likewise, while the hosts and browsers of this process go on."""
    return await trio.to_thread.run_sync(wait_for, probe, what)


def runs(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Daemon:
    """A running ``trio-cpvm serve``.

    Args:
        folder: where its files go.
        workers: how many processes.
        settings: more for the tables of its configuration, by name.
        key: its token key file.
        opened: a descriptor that it inherits.
    """

    def __init__(
        self,
        folder: Path,
        workers: int = 2,
        settings: Mapping[str, str] | None = None,
        *,
        key: str = "key.json",
        opened: int | None = None,
    ) -> None:
        self.folder = folder
        self._workers = workers
        self._key = key
        if not (folder / "key.json").exists():
            write_key_file(folder / "key.json", KEY)
        self.write(**(settings or {}))
        self._log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trio_cpvm", "serve", "--config", str(folder / "c.toml")],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[opened] if opened is not None else [],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def write(self, **settings: str) -> None:
        self.settings = settings
        text = config_with(workers=str(self._workers), key=self._key, **settings)
        (self.folder / "c.toml").write_text(text)

    async def reload(self, **settings: str) -> None:
        """Take other settings."""
        before = len(self.log("configuration reloaded"))
        self.write(**settings)
        self.process.send_signal(signal.SIGHUP)
        await self.event("configuration reloaded", before + 1)

    def wait_up(self) -> None:
        """Wait until it serves."""
        self.public = urlsplit(str(self.wait_event("listening")["url"]))
        self.admin = urlsplit(str(self.wait_event("listening for operators")["url"]))

    def stop(self) -> None:
        """End it at once."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log.close()

    # -- what it says

    def said(self) -> str:
        return (self.folder / "log").read_text()

    def log(self, event: str = "") -> list[Record]:
        """Its log, or the lines of one event."""
        lines = [json.loads(line) for line in self.said().split("\n")[:-1] if line.startswith("{")]
        return [line for line in lines if not event or line.get("event") == event]

    def wait_event(self, event: str, number: int = 1, **fields: object) -> Record:
        """Wait until an event with these fields has been logged so often; its last line then."""

        def found() -> Record | None:
            assert self.process.poll() is None or self.log(event), f"ended: {self.said()}"
            lines = [line for line in self.log(event) if line.items() >= fields.items()]
            return lines[number - 1] if len(lines) >= number else None

        try:
            return wait_for(found, f"{event} {fields} {number} times")
        except AssertionError as late:
            late.add_note(self.said()[-4000:])
            raise

    async def event(self, event: str, number: int = 1, **fields: object) -> Record:
        return await trio.to_thread.run_sync(lambda: self.wait_event(event, number, **fields))

    def ask(self, path: str, method: str = "GET") -> bytes:
        """What its admin listener answers."""
        connection = http.client.HTTPConnection(self.admin.netloc, timeout=PATIENCE_S)
        try:
            connection.request(method, path, headers={"Connection": "close"})
            return connection.getresponse().read()
        finally:
            connection.close()

    def sessions(self) -> list[dict[str, object]]:
        listed = json.loads(self.ask("/sessions"))["sessions"]
        assert isinstance(listed, list)
        return listed

    def spread(self) -> list[int]:
        """How many sessions each worker has."""
        held = [session["worker"] for session in self.sessions()]
        return [held.count(number) for number in range(1, self._workers + 1)]

    def counted(self, name: str) -> float:
        """A sample of its metrics, by its name with labels."""
        for line in self.ask("/metrics").decode().splitlines():
            if line.rpartition(" ")[0] == name:
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no {name}")

    def worker_pids(self) -> dict[int, int]:
        """The process of each worker, by its last start."""
        return {int(str(line["number"])): int(str(line["pid"])) for line in self.log("worker ready")}

    def kill_worker(self, number: int, how: int = signal.SIGKILL) -> int:
        """Send a worker's process a signal; its id."""
        pid = self.worker_pids()[number]
        os.kill(pid, how)
        return pid

    # -- consoles

    def path(self, port: int, uuid: str = "", *, vm_id: str = "", user: str = "") -> str:
        """The WebSocket's, with a fresh token."""
        target = ConsoleTarget(
            host="127.0.0.1",
            port=port,
            password=Secret(PASSWORD),
            session_uuid=uuid,
            vm_id=vm_id,
            user=user,
            not_after=time.time() + 600,
        )
        return f"/websockify?token={quote(mint_token(target, KEY), safe='')}"

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[trio.SocketStream]:
        async with await trio.open_tcp_stream(str(self.public.hostname), self.public.port or 0) as stream:
            yield stream

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(str(self.public.hostname), self.public.port or 0)

    async def open(self, path: str) -> Browser:
        """An open console.

        Raises:
            UpgradeRefused: it was refused.
        """
        stream = await self.connect()
        try:
            websocket = await open_websocket(stream, path, host="localhost")
            await RfbClient(websocket).handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return Browser(stream, websocket)

    async def refusal(self, path: str) -> tuple[int, str]:
        """The status and slug that a console is refused with."""
        try:
            browser = await self.open(path)
        except UpgradeRefused as refused:
            return refused.answer.status, refused.answer.text.partition(":")[0]
        await browser.aclose()
        raise AssertionError("it was opened")

    async def wait_idle(self) -> None:
        """Wait until it has no sessions and no connections."""
        await until(lambda: not self.sessions(), "no sessions")
        await until(lambda: json.loads(self.ask("/sessions"))["connections"]["public"] == 0, "no connections")


@attrs.frozen
class Browser:
    """A browser with an open console, whose host echoes."""

    stream: trio.SocketStream
    websocket: WebSocketDouble

    async def works(self) -> bool:
        """Whether the console still relays."""
        await self.websocket.send_all(b"\4\1\0\0\0\0\0a")
        data = b""
        while len(data) < 8:
            chunk = await self.websocket.receive_some()
            if not chunk:
                return False
            data += chunk
        return True

    async def end(self) -> str:
        """The slug that the console ends with; empty if the connection was cut."""
        with contextlib.suppress(trio.BrokenResourceError):
            while await self.websocket.receive_some():
                pass
        return (self.websocket.close_reason or "").partition(":")[0]

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self.stream)


@contextlib.contextmanager
def running(folder: Path, workers: int = 2, **settings: str) -> Iterator[Daemon]:
    """A daemon for the length of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    daemon = Daemon(folder, workers, settings)
    try:
        daemon.wait_up()
        yield daemon
    finally:
        daemon.stop()
