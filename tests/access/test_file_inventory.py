"""Machines in a file: TOML and JSON, what may be said, and when the file has to be private."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from trio_cpvm.access.file_inventory import FileInventory
from trio_cpvm.access.machines import Machine, MachineState
from trio_cpvm.errors import BadConfiguration
from trio_cpvm.models import ConsoleTarget, Secret

MACHINES: Mapping[str, Mapping[str, object]] = {
    "vm-1": {"name": "Web 1", "host": "192.0.2.5", "port": 5901, "password": "pa55word", "locale": "de"},
    "vm-2": {"host": "unix:/run/x", "state": "paused"},
    "vm-3": {"host": "192.0.2.6", "port": 5901, "state": "stopped"},
    "vm-4": {"websocket_url": "ws://192.0.2.7/x", "username": "u"},
    "vm-5": {"tunnel_url": "https://192.0.2.8/console?uuid=x", "tunnel_session": "geheim"},
}


def as_toml(machines: Mapping[str, Mapping[str, object]]) -> str:
    lines = []
    for name, table in machines.items():
        lines.append(f"[machines.{json.dumps(name)}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(lines)


def inventory(folder: Path, text: str, name: str = "machines.toml", mode: int = 0o600) -> FileInventory:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return FileInventory(path)


@pytest.mark.parametrize("name", ["machines.toml", "machines.json"])
async def test_machines_stand_in_toml_or_json(tmp_path: Path, name: str) -> None:
    text = json.dumps({"machines": MACHINES}) if name.endswith("json") else as_toml(MACHINES)
    machines = inventory(tmp_path, text, name)
    assert [(m.id, m.name, m.state.value) for m in await machines.machines()] == [
        ("vm-1", "Web 1", "running"),
        ("vm-2", "vm-2", "paused"),
        ("vm-3", "vm-3", "stopped"),
        ("vm-4", "vm-4", "running"),
        ("vm-5", "vm-5", "running"),
    ]
    found = await machines.find("vm-1")
    assert found is not None
    assert found.machine == Machine(id="vm-1", name="Web 1", state=MachineState.RUNNING)
    assert found.target == ConsoleTarget(
        host="192.0.2.5", port=5901, password=Secret("pa55word"), vm_id="vm-1", name="Web 1", locale="de"
    )
    stopped = await machines.find("vm-3")
    assert stopped is not None
    assert (stopped.target, stopped.lack) == (None, "the file says it is stopped")
    tunnel = await machines.find("vm-5")
    assert tunnel is not None
    assert tunnel.target is not None
    assert tunnel.target.tunnel_session == Secret("geheim")
    assert await machines.find("vm-6") is None


async def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    machines = inventory(tmp_path, "")
    assert await machines.machines() == []
    inventory(tmp_path, as_toml(MACHINES))
    assert len(await machines.machines()) == 5
    (tmp_path / "machines.toml").write_text("rubbish")
    assert len(await machines.machines()) == 5


@pytest.mark.parametrize("key", ["password", "tunnel_session", "websocket_url"])
def test_a_file_with_secrets_has_to_be_private(tmp_path: Path, key: str) -> None:
    table: dict[str, object] = {"host": "h", "port": 1}
    inventory(tmp_path, as_toml({"a": table}), mode=0o644)
    with pytest.raises(BadConfiguration, match="mode 0644"):
        inventory(tmp_path, as_toml({"a": {**table, key: "x"}}), mode=0o644)
    inventory(tmp_path, as_toml({"a": {**table, key: "x"}}), mode=0o600)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("x = 'hush'", "x: unknown key"),
        ("machines = 'hush'", "machines: expected tables, one a machine"),
        ("[machines]\na = 'hush'", "machines.a: expected a table"),
        ("[machines.a]", "machines.a: host and port are needed, or websocket_url, or tunnel_url"),
        ("[machines.a]\nhost = 'hush'", "machines.a: host and port are needed, or websocket_url, or tunnel_url"),
        ("[machines.a]\npasword = 'hush'", "machines.a.pasword: unknown key"),
        ("[machines.a]\npassword = 12345", "machines.a.password: expected a text"),
        ("[machines.a]\nport = 65536", "machines.a.port: expected a TCP port"),
        ("[machines.a]\nport = '5900'", "machines.a.port: expected a whole number"),
        ("[machines.a]\nstate = 'hush'", "machines.a.state: expected one of running, paused, stopped"),
        ("[machines.'']", "'machines.': an id has up to 256 characters that can be printed"),
        ('[machines."a\\n"]', "'machines.a\\n': an id has up to 256 characters that can be printed"),
        ("password = 'hush", "not TOML: Expected "),
    ],
)
def test_faults_name_the_key_and_never_the_value(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        inventory(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/machines.toml: {fault}")
    assert "hush" not in str(caught.value)
    assert "12345" not in str(caught.value)


@pytest.mark.parametrize(("text", "fault"), [("[]", "not a JSON object"), ('{"a": hush', "not JSON: Expecting value")])
def test_json_that_is_none(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        inventory(tmp_path, text, "m.json")
    assert str(caught.value) == f"{tmp_path}/m.json: {fault}"


@pytest.mark.parametrize("key", ["name", "host", "username", "locale", "tunnel_url", "websocket_url"])
@pytest.mark.parametrize("value", ["hush\n", "\ud800", "x" * 2049])
def test_texts_are_short_and_can_be_printed(tmp_path: Path, key: str, value: str) -> None:
    text = json.dumps({"machines": {"a": {"host": "h", "port": 1, key: value}}})
    with pytest.raises(BadConfiguration) as caught:
        inventory(tmp_path, text, "m.json")
    assert str(caught.value) == (
        f"{tmp_path}/m.json: machines.a.{key}: expected at most 2048 characters that can be printed"
    )


@pytest.mark.parametrize("key", ["password", "tunnel_session"])
def test_secrets_are_unicode(tmp_path: Path, key: str) -> None:
    text = json.dumps({"machines": {"a": {"host": "h", "port": 1, key: "\ud800"}}})
    with pytest.raises(BadConfiguration, match=rf"machines\.a\.{key}: not Unicode$"):
        inventory(tmp_path, text, "m.json")


def test_very_many_faults_are_counted(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration) as caught:
        inventory(tmp_path, "".join(f"[machines.m{i}]\nx = 1\n" for i in range(100)))
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{tmp_path}/machines.toml: machines.m0.x: unknown key"
    assert (len(lines), lines[-1]) == (21, f"{tmp_path}/machines.toml: 80 more faults")
