"""The daemon under test, as its operator runs it: configuration file, key file, ``serve``, ``mint``."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qs, quote, unquote, urlsplit

import attrs

from trio_cpvm.admin_client import _UnixConnection

from .processes import PATIENCE_S, Process, open_files, wait_for

Tables: TypeAlias = Mapping[str, Mapping[str, object]]
Record: TypeAlias = Mapping[str, object]

#: How long the daemon waits for slow peers in these tests, in seconds.
CONNECT_TIMEOUT_S = 2.0
HANDSHAKE_TIMEOUT_S = 2.0
HEAD_TIMEOUT_S = 2.0
DRAIN_TIMEOUT_S = 1.0

#: How much later than configured something may happen on a loaded machine, in seconds.
SLACK_S = 3.0

#: ``TRIO_CPVM_WORKERS=2 pytest tests/real`` has every daemon be several processes. What limits or looks into the one
#: process of a daemon (its descriptors, a prompt inside) then meets the supervisor, and fails.
WORKERS = int(os.environ.get("TRIO_CPVM_WORKERS", "1"))

_DEFAULTS: Tables = {
    "server": {
        "listen": ["127.0.0.1:0"],
        "workers": WORKERS,
        "head_timeout_s": HEAD_TIMEOUT_S,
        "drain_timeout_s": DRAIN_TIMEOUT_S,
    },
    "token": {"clock_skew_s": 0},
    "session": {"connect_timeout_s": CONNECT_TIMEOUT_S, "handshake_timeout_s": HANDSHAKE_TIMEOUT_S},
    "admin": {"listen": "127.0.0.1:0"},
    "log": {"level": "debug", "format": "json"},
}


def merged(base: Tables, changes: Tables) -> dict[str, dict[str, object]]:
    """``base`` with the keys of ``changes`` in place of its own."""
    return {name: {**base.get(name, {}), **changes.get(name, {})} for name in [*base, *(set(changes) - set(base))]}


def as_toml(tables: Tables) -> str:
    """Texts, numbers, flags and lists of them are written the same way in JSON and TOML."""
    lines = []
    for name, table in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def command(*arguments: str, secret: str = "") -> str:
    """Run ``trio-cpvm`` to its end, with ``secret`` as its input; what it printed.

    Raises:
        AssertionError: it failed.
    """
    return run_command(*arguments, secret=secret).stdout


def run_command(*arguments: str, secret: str = "") -> subprocess.CompletedProcess[str]:
    """As ``command``, with what it said on standard error as well."""
    done = subprocess.run(
        [sys.executable, "-m", "trio_cpvm", *arguments],
        input=secret,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=program_environment(),
        check=False,
    )
    assert done.returncode == 0, f"trio-cpvm {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def program_environment() -> dict[str, str]:
    """This process's own, in which the same package is found whatever the working directory is."""
    spec = importlib.util.find_spec("trio_cpvm")
    assert spec is not None
    assert spec.origin is not None
    return {**os.environ, "PYTHONPATH": str(Path(spec.origin).parent.parent), "PYTHONUNBUFFERED": "1"}


def make_key(path: Path) -> Path:
    """A new token key file."""
    command("keygen", "--output", str(path))
    return path


@attrs.frozen
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Mapping[str, object]:
        found: dict[str, object] = json.loads(self.body)
        return found


@attrs.frozen
class Console:
    """A minted console: the URL for the browser, and what can be made of it."""

    url: str

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.url).query.replace("+", "%2B"))["token"][0]

    def with_token(self, token: str) -> Console:
        return Console(f"{self.url.partition('?')[0]}?token={quote(token, safe='')}")

    @property
    def websocket_url(self) -> str:
        parts = urlsplit(self.url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        return f"{scheme}://{parts.netloc}/websockify?token={quote(self.token, safe='')}"

    @property
    def origin(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


class Daemon:
    """A running ``trio-cpvm serve``.

    Args:
        folder: where its files go.
        key: its token key file.
        settings: what differs from the tests' own configuration.
        variables: of its environment, its own.
    """

    def __init__(
        self, folder: Path, key: Path, settings: Tables, *, variables: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        #: What must not be in the log.
        self._secrets: set[str] = set()
        self._keep_key_secret(key)
        self._tables = merged(merged(_DEFAULTS, {"token": {"key_files": [str(key)]}}), settings)
        self.config = folder / "trio-cpvm.toml"
        self.config.write_text(as_toml(self._tables), "utf-8")
        self.process = Process(
            "trio-cpvm",
            [sys.executable, "-m", "trio_cpvm", "serve", "--config", str(self.config)],
            folder,
            env={**program_environment(), **(variables or {})},
        )
        try:
            public, admin = self.process.wait_for(self._listeners, "the daemon listens")
        except BaseException:
            self.process.stop()
            raise
        self.url = public
        self.admin_address = urlsplit(admin).netloc or admin
        #: The URL is known only now, so ``mint`` gets a configuration of its own.
        self._mint_config = folder / "mint.toml"
        self._mint_config.write_text(as_toml(merged(self._tables, {"server": {"public_url": self.url}})), "utf-8")
        self._files_at_start = self.process.wait_for(self._files_without_modules, "no module is being loaded")

    def _files_without_modules(self) -> list[str] | None:
        """Its open files, unless it is just loading a module: it does so for a moment after it has begun to listen."""
        files = open_files(self.process.pid)
        loading = any("/lib/python3" in name or name.endswith((".py", ".pyc")) for name in files)
        return None if loading else files

    def _listeners(self) -> tuple[str, str] | None:
        """The URLs of the public and of the admin listener, once both are bound."""
        found = {record.get("event"): str(record.get("url")) for record in self.log()}
        public, admin = found.get("listening"), found.get("listening for operators")
        return (public, admin) if public and admin else None

    def reconfigure(self, settings: Tables) -> None:
        """Write another configuration, and tell the daemon; what differs from the one it was started with."""
        self.write_config(as_toml(merged(self._tables, settings)))
        changes: Tables = {"server": {"public_url": self.url}, "token": settings.get("token", {})}
        self._mint_config.write_text(as_toml(merged(self._tables, changes)), "utf-8")

    def write_config(self, text: str) -> None:
        """Likewise, word for word; it may be nonsense."""
        self.config.write_text(text, "utf-8")
        self.process.send(signal.SIGHUP)

    # -- tokens

    def mint(
        self,
        host: str = "",
        port: int = 0,
        *,
        password: str | None = None,
        key: Path | None = None,
        options: Sequence[str] = (),
    ) -> Console:
        """A console of the VNC server at ``host:port``, or wherever ``options`` say.

        Args:
            password: the VNC server's.
            key: make the token with this key instead of the daemon's.
            options: more for the command line.
        """
        config = self._mint_config
        if key is not None:
            self._keep_key_secret(key)
            config = self._folder / "foreign.toml"
            changes: Tables = {"server": {"public_url": self.url}, "token": {"key_files": [str(key)]}}
            config.write_text(as_toml(merged(self._tables, changes)), "utf-8")
        arguments = ["mint", "--config", str(config), *options]
        if host:
            arguments += ["--host", host, "--port", str(port)]
        if password is not None:
            self._secrets.add(password)
            arguments += ["--password-file", "-"]
        console = Console(command(*arguments, secret=password or "").strip())
        self.keep_secret(console)
        return console

    def keep_out_of_log(self, secret: str) -> None:
        """A text of the test's own that must not be in the log."""
        self._secrets.add(secret)

    def keep_secret(self, console: Console) -> None:
        """The token of ``console`` must not be in the log from now on."""
        token = console.token
        spelled = {token, quote(token, safe=""), quote(token), token.rstrip("="), token.replace("+", " ")}
        url_safe = token.replace("+", "-").replace("/", "_")
        self._secrets |= spelled | {url_safe, url_safe.rstrip("=")}

    def _keep_key_secret(self, key: Path) -> None:
        values: dict[str, str] = json.loads(key.read_text("utf-8"))
        self._secrets |= set(values.values()) | {value.rstrip("=") for value in values.values()}

    # -- log

    def log(self) -> list[Record]:
        """What it has logged so far; a line that is not whole yet is left out."""
        lines = self.process.output().split("\n")[:-1]
        found: list[Record] = []
        for line in lines:
            record = json.loads(line)
            assert isinstance(record, dict), line
            found.append(record)
        return found

    def wait_for_reason(self, slug: str) -> Record:
        """Wait until a line of the log gives ``slug`` as the reason; that line."""

        def logged() -> Record | None:
            return next((record for record in self.log() if slug in record.values()), None)

        return self.process.wait_for(logged, f"the log names {slug}")

    def wait_for_event(self, event: str, number: int = 1) -> Record:
        """Wait until an event has been logged ``number`` times; its last line then."""

        def logged() -> Record | None:
            found = [record for record in self.log() if record.get("event") == event]
            return found[number - 1] if len(found) >= number else None

        return self.process.wait_for(logged, f"the log has {event!r}")

    def assert_no_secret_was_logged(self) -> None:
        said = self.process.output()
        told = [secret for secret in self._secrets if secret in said or secret in unquote(said)]
        assert not told, f"in the daemon's log: {told}"

    # -- state

    def get(self, path: str, *, admin: bool = False, headers: Mapping[str, str] | None = None) -> Answer:
        """One HTTP request on a connection of its own."""
        address = self.admin_address if admin else urlsplit(self.url).netloc
        if address.startswith("unix:"):
            connection: http.client.HTTPConnection = _UnixConnection(address.removeprefix("unix:"))
        else:
            connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
        try:
            connection.request("GET", path, headers={"Connection": "close", **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def sessions(self) -> list[Mapping[str, object]]:
        """The running sessions, as the operator is shown them."""
        found = self.get("/sessions", admin=True).json()["sessions"]
        assert isinstance(found, list)
        return found

    def keeps_sockets(self, number: int) -> None:
        """So many sockets more than at the start stay open until the end, such as a connection to libvirt."""
        wanted = self._files_at_start.count("socket") + number
        wait_for(lambda: open_files(self.process.pid).count("socket") == wanted, f"{wanted} sockets are open")
        self._files_at_start = open_files(self.process.pid)

    def wait_until_idle(self) -> None:
        """Wait until no session runs and all that was opened since the start is closed; its own limits bound that."""
        within_s = max(HEAD_TIMEOUT_S, HANDSHAKE_TIMEOUT_S) + SLACK_S
        wait_for(lambda: not self.sessions(), "the daemon has no session any more", within_s=within_s)

        def settled() -> bool:  # asking over HTTP would open another socket each time
            return open_files(self.process.pid) == self._files_at_start

        try:
            wait_for(settled, "the daemon gave back all it opened", within_s=within_s)
        except AssertionError as late:
            late.add_note(f"at start: {self._files_at_start}\nnow:      {open_files(self.process.pid)}")
            raise

    def finish(self) -> None:
        """What has to hold at the end of each test, whatever it was about; then end the daemon."""
        try:
            if self.process.exit_code is None:
                self.wait_until_idle()
        finally:
            self.process.stop()
        self.assert_no_secret_was_logged()
        assert self.process.exit_code == 0, self.process.output()[-4000:]
        assert "Traceback" not in self.process.output(), self.process.output()[-4000:]
