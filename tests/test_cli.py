"""The command line: what goes to stdout, what to stderr, exit codes; the daemon under signals."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import attrs
import pytest
import trio
from click.testing import CliRunner, Result

from tests.helpers import KEY, PASSWORD, TARGET, url, within
from trio_cpvm import __version__
from trio_cpvm.admin_client import AdminClient
from trio_cpvm.cli import main
from trio_cpvm.models import Clipboard, ConsoleTarget, Secret
from trio_cpvm.testing import RfbClient, ScriptedVncServer, WebSocketDouble, http_get, listening, open_websocket
from trio_cpvm.token import TokenKey, mint_token, open_token, read_key_file, write_key_file

timely = within(30)


def run(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    """One command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)


def assert_fails(result: Result, code: int, *words: str) -> None:
    """It ended with that code, nothing on stdout, and on stderr these words instead of a traceback."""
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.exception is None or isinstance(result.exception, SystemExit)
    for word in words:
        assert word in result.stderr


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration file with its key file."""
    write_key_file(tmp_path / "key.json", KEY)
    path = tmp_path / "trio-cpvm.toml"
    path.write_text("[server]\npublic_url = 'https://console.test'\n[token]\nkey_files = ['key.json']\n")
    return path


# -- keygen, check-config ----------------------------------------------------------------------------------------------


def test_keygen_makes_a_key_file_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.json"
    result = run("keygen", "--output", path)
    key = read_key_file(path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{path}: token key {key.fingerprint}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keygen_has_a_name_for_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("keygen").exit_code == 0
    assert read_key_file(tmp_path / "token-key.json") != KEY


def test_keygen_never_overwrites(tmp_path: Path) -> None:
    write_key_file(tmp_path / "key.json", KEY)
    assert_fails(run("keygen", "--output", tmp_path / "key.json"), 2, "trio-cpvm: ", "key.json: File exists")
    assert read_key_file(tmp_path / "key.json") == KEY


def test_check_config_names_the_keys_by_fingerprint(config: Path) -> None:
    result = run("check-config", config)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{config.parent / 'key.json'}: token key {KEY.fingerprint}\n{config}: ok\n"


def test_check_config_names_every_fault(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("[server]\nfoo = 1\nlisten = 'x'\n")
    result = run("check-config", path)
    assert_fails(result, 2, f"{path}: server.foo: unknown key (value 1)", f"{path}: server.listen = 'x': expected")


# -- every command's faults --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("check-config", "CONFIG"),
        ("mint", "--config", "CONFIG", "--host", "h", "--port", "1"),
        ("token", "decode", "--config", "CONFIG", "x"),
        ("sessions", "--config", "CONFIG", "list"),
        ("serve", "--config", "CONFIG"),
    ],
)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        (b"x", "not TOML"),
        (b"\xff", "utf-8"),
        (b"[admin]\nlisten = 'x'", "admin.listen = 'x': expected host:port"),
    ],
)
def test_a_bad_configuration_is_named_and_ends_with_2(
    arguments: tuple[str, ...], content: bytes | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.toml"
    if content is not None:
        path.write_bytes(content)
    result = run(*(str(path) if argument == "CONFIG" else argument for argument in arguments))
    assert_fails(result, 2, f"trio-cpvm: {path}: ", words)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check-config", "CONFIG"),
        ("mint", "--config", "CONFIG", "--host", "h", "--port", "1"),
        ("token", "decode", "--config", "CONFIG", "x"),
        ("serve", "--config", "CONFIG"),
    ],
)
def test_a_missing_key_file_is_named_and_ends_with_2(arguments: tuple[str, ...], config: Path) -> None:
    (config.parent / "key.json").unlink()
    result = spawn(*(str(config) if argument == "CONFIG" else argument for argument in arguments))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"trio-cpvm: {config.parent / 'key.json'}: No such file or directory\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("serve",),
        ("mint",),
        ("keygen", "--nonsense"),
        ("sessions", "kill"),
        ("sessions", "--admin", "nonsense", "list"),
        ("demo", "--listen", "nonsense"),
        ("demo", "--listen", "unix:/x"),
        ("demo", "--vnc", "nonsense"),
        ("demo", "--vnc", "unix:/x"),
        ("demo", "--password-file", "x"),
        ("demo", "--vnc", "127.0.0.1:1", "--password-file", "/nowhere/x"),
    ],
)
def test_bad_usage_ends_with_2(arguments: tuple[str, ...]) -> None:
    assert_fails(run(*arguments), 2)


def test_help_and_version() -> None:
    assert run("--version").stdout == f"trio-cpvm, version {__version__}\n"
    assert "check-config" in run("-h").stdout
    assert "--password-file" in run("mint", "--help").stdout


# -- mint --------------------------------------------------------------------------------------------------------------


def minted(config: Path, *options: str | Path, stdin: str | None = None) -> ConsoleTarget:
    """What ``mint`` puts into the token; it prints one URL and nothing else."""
    result = run("mint", "--config", config, "--host", "10.0.0.5", "--port", "5901", *options, stdin=stdin)
    assert (result.exit_code, result.stderr) == (0, "")
    assert re.fullmatch(r"https://console\.test/novnc\?token=[A-Za-z0-9%]+(&extra=\S+)?\n", result.stdout)
    return open_token(parse_qs(urlsplit(result.stdout.strip()).query)["token"][0], [KEY])


def test_mint_prints_one_url_with_a_token_for_one_use(config: Path) -> None:
    before = time.time()
    target = minted(config)
    assert target.not_after is not None
    assert before + 119 < target.not_after < time.time() + 121
    assert len(target.session_uuid) == 36
    assert minted(config).session_uuid != target.session_uuid
    bare = attrs.evolve(target, not_after=None, session_uuid="")
    assert bare == ConsoleTarget(host="10.0.0.5", port=5901)


def test_minted_urls_carry_what_the_options_say(config: Path, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text(PASSWORD + "\nmore\n")
    options = [
        "--password-file",
        str(tmp_path / "pw"),
        "--vm-id",
        "i-1",
        "--name",
        "Web ☃",
        "--ttl-s",
        "0",
        "--reusable",
    ]
    options += ["--source-ip", "192.0.2.1", "--extra", "e&=", "--tunnel-url", "https://x", "--tunnel-session", "s"]
    assert minted(config, *options, "--websocket-url", "wss://y") == ConsoleTarget(
        host="10.0.0.5",
        port=5901,
        password=Secret(PASSWORD),
        vm_id="i-1",
        name="Web ☃",
        source_ip="192.0.2.1",
        extra_token=Secret("e&="),
        tunnel_url="https://x",
        tunnel_session=Secret("s"),
        websocket_url="wss://y",
    )


def test_mint_puts_the_extra_token_into_the_url(config: Path) -> None:
    result = run("mint", "--config", config, "--host", "h", "--port", "1", "--extra", "a+b &c")
    assert parse_qs(urlsplit(result.stdout.strip()).query)["extra"] == ["a+b &c"]


@pytest.mark.parametrize("said", [f"{PASSWORD}\n", PASSWORD, f"{PASSWORD}\r\n", f"{PASSWORD}\nmore\n"])
def test_mint_takes_the_password_from_its_input(said: str, config: Path) -> None:
    assert minted(config, "--password-file", "-", stdin=said).password == Secret(PASSWORD)


def test_mint_says_what_the_user_may_not(config: Path) -> None:
    free = minted(config)
    assert (free.view_only, free.clipboard, free.clipboard_max_bytes) == (False, None, 0)
    bound = minted(config, "--view-only", "--clipboard", "from-guest", "--clipboard-max-bytes", "4096")
    assert (bound.view_only, bound.clipboard, bound.clipboard_max_bytes) == (True, Clipboard.FROM_GUEST, 4096)


def test_mint_says_who_it_is_for(config: Path) -> None:
    assert minted(config).user == ""
    assert minted(config, "--user", "alice@example.com").user == "alice@example.com"
    assert minted(config, "--user", "a\x1b[2J\nb").user == "a [2J b"
    assert minted(config, "--user", "x" * 99).user == "x" * 63 + "…"


def test_mint_needs_no_host_where_an_address_says_where_to_go(config: Path) -> None:
    for option in ("--tunnel-url", "--websocket-url"):
        assert run("mint", "--config", config, option, "wss://x/y").exit_code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--host", "h"), "--host and --port are needed"),
        (("--port", "1"), "--host and --port are needed"),
        (("--host", "h", "--port", "65536"), "65536"),
        (("--host", "h", "--port", "1", "--ttl-s", "-1"), "-1"),
        (("--host", "h", "--port", "1", "--clipboard", "some"), "some"),
        (("--host", "h", "--port", "1", "--clipboard-max-bytes", str(2**24 + 1)), str(2**24 + 1)),
        (("--host", "h", "--port", "1", "--password-file", "/nowhere/x"), "/nowhere/x: No such file"),
        (("--host", "h", "--port", "1", "--name", "x" * 3000), "clientDisplayName"),
    ],
)
def test_mint_refuses_what_would_open_no_console(options: tuple[str, ...], words: str, config: Path) -> None:
    assert_fails(run("mint", "--config", config, *options), 2, words)


def test_mint_needs_to_know_its_own_address(config: Path) -> None:
    config.write_text("[server]\nlisten = ['127.0.0.1:0']\n[token]\nkey_files = ['key.json']\n")
    result = run("mint", "--config", config, "--host", "h", "--port", "1")
    assert_fails(result, 2, "server.public_url is needed")


# -- token decode ------------------------------------------------------------------------------------------------------

SECRETS = ("pa55word", "tick3t", "tunn3l", "3xtra")
FULL = attrs.evolve(
    TARGET,
    password=Secret(SECRETS[0]),
    ticket=Secret(SECRETS[1]),
    tunnel_session=Secret(SECRETS[2]),
    extra_token=Secret(SECRETS[3]),
    not_after=4102444800.0,
)


def test_decode_shows_the_fields_and_masks_the_secrets(config: Path) -> None:
    result = run("token", "decode", "--config", config, mint_token(FULL, KEY))
    assert (result.exit_code, result.stderr) == (0, "")
    shown = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert re.fullmatch(r"2100-01-01T00:00:00Z \(\d+ s left\)", shown.pop("not_after"))
    assert shown == {
        "host": "192.0.2.5",
        "port": "5901",
        "password": "***",
        "vm_id": "vm-1",
        "name": "Web 1",
        "ticket": "***",
        "tunnel_session": "***",
        "session_uuid": "uuid-1",
        "extra_token": "***",
    }


def test_decode_shows_secrets_where_that_is_asked_for(config: Path) -> None:
    result = run("token", "decode", "--config", config, "--show-secrets", mint_token(FULL, KEY))
    assert all(secret in result.stdout for secret in SECRETS)


def test_decode_takes_tokens_and_whole_urls_as_argument_and_as_input(config: Path) -> None:
    token = mint_token(FULL, KEY)
    whole = f"https://console.test/novnc?x=1&token={quote(token, safe='')}&extra=3xtra"
    for given in (token, quote(token), whole):
        assert "192.0.2.5" in run("token", "decode", "--config", config, given).stdout
        assert "192.0.2.5" in run("token", "decode", "--config", config, "-", stdin=given + "\n").stdout
        assert "192.0.2.5" in run("token", "decode", "--config", config, stdin=given).stdout


def test_decode_says_how_long_ago_a_token_expired(config: Path) -> None:
    token = mint_token(attrs.evolve(FULL, not_after=time.time() - 100), KEY)
    assert re.search(r"\(expired (99|10\d) s ago\)", run("token", "decode", "--config", config, token).stdout)


@pytest.mark.parametrize("moment", [1e300, 1e18, -1e18, 4102444800000.0])
def test_decode_shows_moments_that_no_calendar_has(moment: float, config: Path) -> None:
    token = mint_token(attrs.evolve(FULL, not_after=moment), KEY)
    result = run("token", "decode", "--config", config, token)
    assert result.exit_code == 0
    assert " not_after " in result.stdout


def test_decode_lets_nothing_through_to_the_terminal(config: Path) -> None:
    token = mint_token(attrs.evolve(FULL, name="a\x1b[31m\nb\x9bc\u202ed"), KEY)
    shown = run("token", "decode", "--config", config, token).stdout
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert len(shown.splitlines()) == 10


@pytest.mark.parametrize(
    "given", ["nonsense", "", mint_token(FULL, TokenKey(b"k" * 16, b"i" * 16)), mint_token(FULL, KEY)[:-5] + "AAAA="]
)
def test_decode_of_no_token_is_a_fault(given: str, config: Path) -> None:
    assert_fails(run("token", "decode", "--config", config, "-", stdin=given), 1, "trio-cpvm: not a valid token: ")


def test_decode_of_bytes_that_are_no_text_is_a_fault(config: Path) -> None:
    result = run("token", "decode", "--config", config, stdin=b"\xff\xfe\n")
    assert_fails(result, 1, "trio-cpvm: not a valid token: ")


# -- sessions ----------------------------------------------------------------------------------------------------------

ROW = {
    "id": "ab12",
    "phase": "relay",
    "user": "alice",
    "client": "192.0.2.9",
    "vm": "vm-1",
    "name": "Web",
    "host": "h:1",
    "age_s": 1.5,
}


def listed(monkeypatch: pytest.MonkeyPatch, *sessions: Mapping[str, object]) -> str:
    monkeypatch.setattr(AdminClient, "sessions", lambda _: list(sessions))
    result = run("sessions", "list")
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_sessions_are_listed_in_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    names = "id phase user client vm name host security age_s bytes_up bytes_down"
    assert " ".join(listed(monkeypatch).split()) == names
    long = {**ROW, "id": "cd34", "name": "a longer name"}
    head, first, second = listed(monkeypatch, ROW, long).splitlines()
    assert first.split() == ["ab12", "relay", "alice", "192.0.2.9", "vm-1", "Web", "h:1", "1.5"]
    assert {line.index("h") for line in (head[30:], first[30:], second[30:])} == {head.index("host") - 30}


def test_a_machines_name_does_nothing_to_the_operators_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = listed(monkeypatch, {**ROW, "name": "a\x1b[2J\nb", "vm": "\u202e\x9b", "host": "\r"})
    assert len(shown.splitlines()) == 2
    assert all(char.isprintable() or char == "\n" for char in shown)


@pytest.mark.parametrize("command", [("list",), ("kill", "x"), ("drain",)])
def test_no_daemon_is_a_fault(command: tuple[str, ...], tmp_path: Path) -> None:
    result = run("sessions", "--admin", f"unix:{tmp_path / 'none'}", *command)
    assert_fails(result, 1, f"trio-cpvm: no daemon answers at unix:{tmp_path / 'none'}: ")


# -- other processes ---------------------------------------------------------------------------------------------------


def spawn(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "trio_cpvm", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


@attrs.define(eq=False)
class Daemon:
    """``trio-cpvm serve`` or ``demo`` in a process of its own."""

    process: trio.Process
    output: trio.abc.ReceiveStream
    said: str = ""

    async def until(self, pattern: str) -> str:
        """Read what it says until the pattern is there; its first group."""
        while (found := re.search(pattern, self.said)) is None:
            chunk = await self.output.receive_some()
            assert chunk, f"it ended without saying {pattern}:\n{self.said}"
            self.said += chunk.decode()
        return found[1]

    async def end(self) -> int:
        """Read to the end; the exit code."""
        while chunk := await self.output.receive_some():
            self.said += chunk.decode()
        return await self.process.wait()


@contextlib.asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[Daemon]:
    """A process that is gone after the block."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "trio_cpvm", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    async with process.stdout:
        try:
            yield Daemon(process, process.stdout)
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


@attrs.define(eq=False)
class Served:
    """A daemon with its addresses."""

    daemon: Daemon
    public: str
    admin: str

    @contextlib.asynccontextmanager
    async def visit(self) -> AsyncIterator[trio.SocketStream]:
        """A connection to it."""
        host, _, port = self.public.rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            yield stream

    @contextlib.asynccontextmanager
    async def console(self) -> AsyncIterator[WebSocketDouble]:
        """An open console of a machine that only listens."""
        async with listening(ScriptedVncServer(password=PASSWORD).serve) as (host, port), self.visit() as stream:
            target = attrs.evolve(TARGET, host=host, port=port, not_after=time.time() + 60)
            websocket = await open_websocket(stream, url("/websockify", target))
            await RfbClient(websocket).handshake()
            yield websocket

    async def sessions(self, *command: str) -> str:
        """What ``trio-cpvm sessions`` prints."""
        result = await trio.to_thread.run_sync(lambda: run("sessions", "--admin", self.admin, *command))
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Served]:
    write_key_file(folder / "key.json", KEY)
    config = folder / "serve.toml"
    config.write_text(
        "[server]\nlisten = ['127.0.0.1:0']\n[admin]\nlisten = '127.0.0.1:0'\n[token]\nkey_files = ['key.json']\n"
    )
    async with started("serve", "--config", str(config)) as daemon:
        public = await daemon.until(r"listening +url=http://(\S+)\n")
        admin = await daemon.until(r"listening for operators +url=http://(\S+)\n")
        yield Served(daemon, public, admin)


@timely
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_an_idle_daemon_with_0(number: signal.Signals, tmp_path: Path) -> None:
    async with serving(tmp_path) as served, served.visit() as stream:
        assert (await http_get(stream, "/novnc/status")).status == 200
        served.daemon.process.send_signal(number)
        assert await served.daemon.end() == 0
    assert f"signal={number.name}" in served.daemon.said
    assert re.search(r"\bstopped\b", served.daemon.said)
    assert "Traceback" not in served.daemon.said


@timely
async def test_sigterm_drains_and_a_second_one_stops(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, served.console() as console:
        served.daemon.process.send_signal(signal.SIGTERM)
        await served.daemon.until(r"(draining +sessions=1)")
        await console.send_all(b"\x05" + bytes(5))  # it is still open
        served.daemon.process.send_signal(signal.SIGTERM)
        assert await console.receive_some() == b""
        assert console.close_code == 4412
        assert await served.daemon.end() == 0
    assert PASSWORD not in served.daemon.said


@timely
async def test_an_operator_lists_kills_and_drains(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        async with served.console() as console:
            row = ""
            while "relay" not in row:  # the daemon learns of the handshake's end a moment after the browser
                _, row = (await served.sessions("list")).splitlines()
            session_id, phase, client, vm, *name = row.split()[:6]
            assert (phase, client, vm, name) == ("relay", "127.0.0.1", "vm-1", ["Web", "1"])
            assert await served.sessions("kill", session_id) == ""
            assert await console.receive_some() == b""
            assert console.close_code == 4411
        unknown = await trio.to_thread.run_sync(lambda: run("sessions", "--admin", served.admin, "kill", "one", "two"))
        assert_fails(unknown, 1, "trio-cpvm: no session one\ntrio-cpvm: no session two\n")
        assert re.fullmatch(r"draining; [01] sessions are running\n", await served.sessions("drain"))
        assert await served.daemon.end() == 0


@timely
async def test_an_address_in_use_ends_with_2(tmp_path: Path) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    write_key_file(tmp_path / "key.json", KEY)
    config = tmp_path / "x.toml"
    async with listener:
        taken = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        config.write_text(f"[server]\nlisten = ['{taken}']\n[token]\nkey_files = ['key.json']\n")
        for command in (("serve", "--config", str(config)), ("demo", "--listen", taken)):
            result = await trio.to_thread.run_sync(partial(spawn, *command))
            assert (result.returncode, result.stdout) == (2, "")
            assert result.stderr == f"trio-cpvm: cannot listen on {taken}: Address already in use\n"


@timely
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_demo_runs_until_a_signal(number: signal.Signals) -> None:
    async with started("demo", "--listen", "127.0.0.1:0") as daemon:
        parts = urlsplit(await daemon.until(r"(http://\S+token=\S+)\n"))
        async with await trio.open_tcp_stream(parts.hostname or "", parts.port or 0) as stream:
            websocket = await open_websocket(stream, f"/websockify?{parts.query}", host=parts.netloc)
            assert (await RfbClient(websocket).handshake()).name == "Demo machine"
            daemon.process.send_signal(number)
            while await websocket.receive_some():
                pass
            assert websocket.close_code == 4412
            assert await daemon.end() == 0
    assert "Traceback" not in daemon.said


def test_errors_have_no_traceback_in_a_real_process(tmp_path: Path) -> None:
    result = spawn("serve", "--config", str(tmp_path / "none.toml"))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"trio-cpvm: {tmp_path / 'none.toml'}: No such file or directory\n"


def test_key_files_are_cloudstacks_own_json(tmp_path: Path) -> None:
    run("keygen", "--output", tmp_path / "k")
    assert json.loads((tmp_path / "k").read_text()).keys() == {"base64EncodedKeyBytes", "base64EncodedIvBytes"}


def test_a_reload_that_is_asked_for_too_early_does_no_harm(tmp_path: Path) -> None:
    """The configuration is a pipe, so that the daemon is still reading it."""
    config = tmp_path / "trio-cpvm.toml"
    os.mkfifo(config)
    command = [sys.executable, "-m", "trio_cpvm", "serve", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        with config.open("w") as pipe:  # which waits for its reader
            process.send_signal(signal.SIGHUP)
            pipe.write("nonsense")
        assert process.stderr is not None
        assert b"not TOML" in process.stderr.read()
        assert process.wait(20) == 2
