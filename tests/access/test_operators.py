"""What operators meet of the access endpoint: new callers, checked configurations, warnings."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.helpers import KEY
from trio_cpvm.access.callers import parse_callers
from trio_cpvm.cli import main
from trio_cpvm.config import AccessConfig, Config, ServerConfig
from trio_cpvm.config_values import ListenAddress, TcpAddress, UnixAddress
from trio_cpvm.server import insecure_settings
from trio_cpvm.token import write_key_file


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_key_file(tmp_path / "key.json", KEY)
    path = tmp_path / "c.toml"
    path.write_text("[token]\nkey_files = ['key.json']\n[access]\nenabled = true\n")
    (tmp_path / "callers.toml").touch(mode=0o600)
    (tmp_path / "machines.toml").touch(mode=0o600)
    return path


# -- access new-caller -------------------------------------------------------------------------------------------------


def test_a_new_caller_is_entered_by_appending_what_is_printed() -> None:
    first = run("access", "new-caller", "alice", "--machines", "vm-*", "--machines", "name:Web*")
    second = run("access", "new-caller", "bob@example.com", "--signed")
    assert (first.exit_code, second.exit_code) == (0, 0)
    callers = parse_callers(first.stdout + second.stdout, "x")
    alice, bob = callers.named("alice"), callers.named("bob@example.com")
    assert alice is not None
    assert bob is not None
    assert (alice.machines, bob.machines) == (("vm-*", "name:Web*"), ())
    key = first.stderr.split()[-1]
    assert callers.with_bearer_key(key) is alice
    assert key not in first.stdout
    assert second.stderr.splitlines()[1:] == [f"  apiKey     {bob.api_key}", f"  secretKey  {bob.secret_key.reveal()}"]
    assert not bob.bearer_sha256


def test_both_kinds_of_keys_at_once() -> None:
    result = run("access", "new-caller", "alice", "--signed", "--bearer")
    assert [line.split()[0] for line in result.stderr.splitlines()[1:]] == ["key", "apiKey", "secretKey"]


@pytest.mark.parametrize("name", ["a:b", "a b"])
def test_a_name_that_cannot_be_is_bad_usage(name: str) -> None:
    result = run("access", "new-caller", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "a name has up to 64 letters" in result.stderr


# -- check-config ------------------------------------------------------------------------------------------------------


def test_a_good_configuration(config: Path) -> None:
    (config.parent / "callers.toml").write_text("[callers.a]\n[callers.b]\n")
    result = run("check-config", config)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[1:] == [f"{config.parent}/callers.toml: callers: 2", f"{config}: ok"]


@pytest.mark.parametrize(
    ("name", "text", "mode", "words"),
    [
        ("callers.toml", "", 0o644, "callers.toml: mode 0644"),
        ("callers.toml", "[callers.a]\nx = 'hush'", 0o600, "callers.toml: callers.a.x: unknown key"),
        ("machines.toml", "[machines.a]\npassword = 'hush'\nhost = 'h'\nport = 1", 0o640, "machines.toml: mode 0640"),
        ("machines.toml", "[machines.a]\nx = 'hush'", 0o600, "machines.toml: machines.a.x: unknown key"),
    ],
)
@pytest.mark.parametrize("command", [("check-config",), ("serve", "--config")])
def test_a_bad_file_ends_with_2(
    config: Path, command: tuple[str, ...], name: str, text: str, mode: int, words: str
) -> None:
    (config.parent / name).write_text(text)
    (config.parent / name).chmod(mode)
    result = run(*command, config)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "hush" not in result.stderr


# -- warnings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "warned"),
    [
        (TcpAddress("127.0.0.1", 80), False),
        (TcpAddress("127.1.2.3", 80), False),
        (TcpAddress("::1", 80), False),
        (TcpAddress("localhost", 80), False),
        (UnixAddress("/run/x"), False),
        (TcpAddress("", 80), True),
        (TcpAddress("0.0.0.0", 80), True),
        (TcpAddress("192.0.2.1", 80), True),
        (TcpAddress("console.example.com", 80), True),
    ],
)
def test_keys_in_the_clear_are_warned_of(listen: ListenAddress, warned: bool) -> None:
    server = ServerConfig(listen=(TcpAddress("127.0.0.1", 1), listen))
    warnings = insecure_settings(Config(server=server, access=AccessConfig(enabled=True)))
    assert [f"server.listen = {listen}:" in warning for warning in warnings] == [True] * warned
    assert insecure_settings(Config(server=server)) == []
    tls = ServerConfig(listen=(), listen_tls=(listen,))
    assert insecure_settings(Config(server=tls, access=AccessConfig(enabled=True))) == []
