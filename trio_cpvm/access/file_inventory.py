"""An inventory in a file, TOML or JSON, that is read again once it has changed.

One table ``machines.ID`` a machine. A file that holds passwords or tunnel sessions has to be private.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from ..config_reader import read_table
from ..errors import BadConfiguration
from ..models import ConsoleTarget, Secret
from .changing_file import ChangingFile
from .machines import MAX_ID_CHARS, Found, Machine, MachineState
from .private_file import FileText, parse_toml

#: A token holds less.
MAX_TEXT_CHARS = 2048
_NONE = Secret("")


def _port(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    if not 0 <= value <= 65535:
        raise ValueError("expected a TCP port")


def _text(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not value.isprintable() or len(value) > MAX_TEXT_CHARS:
        raise ValueError(f"expected at most {MAX_TEXT_CHARS} characters that can be printed")


def _secret(_: object, attribute: attrs.Attribute[Secret], value: Secret) -> None:
    try:
        value.reveal().encode()
    except UnicodeEncodeError:
        raise ValueError("not Unicode") from None


def _state(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    if value not in tuple(MachineState):
        raise ValueError("expected one of " + ", ".join(MachineState))


@attrs.frozen(kw_only=True)
class _Entry:
    """One machine as it is written down; the fields are those of ``ConsoleTarget``."""

    name: str = attrs.field(default="", validator=_text)
    host: str = attrs.field(default="", validator=_text)
    port: int = attrs.field(default=0, validator=_port)
    username: str = attrs.field(default="", validator=_text)
    password: Secret = attrs.field(default=_NONE, validator=_secret)
    locale: str = attrs.field(default="", validator=_text)
    tunnel_url: str = attrs.field(default="", validator=_text)
    tunnel_session: Secret = attrs.field(default=_NONE, validator=_secret)
    websocket_url: str = attrs.field(default="", validator=_text)
    state: str = attrs.field(default=MachineState.RUNNING.value, validator=_state)

    @property
    def is_secret(self) -> bool:
        """Whether somebody who reads this could open a console with it. A WebSocket's path may be a ticket."""
        return bool(self.password or self.tunnel_session or self.websocket_url)

    def found(self, machine_id: str) -> Found:
        machine = Machine(id=machine_id, name=self.name or machine_id, state=MachineState(self.state))
        if machine.state is MachineState.STOPPED:
            return Found(machine=machine, target=None, lack="the file says it is stopped")
        target = ConsoleTarget(
            host=self.host,
            port=self.port,
            username=self.username,
            password=self.password or None,
            vm_id=machine_id,
            name=machine.name,
            locale=self.locale,
            tunnel_url=self.tunnel_url,
            tunnel_session=self.tunnel_session or None,
            websocket_url=self.websocket_url,
        )
        return Found(machine=machine, target=target)


class FileInventory:
    """The machines that stand in a file.

    Args:
        path: the file; JSON if its name ends so, TOML otherwise.

    Raises:
        BadConfiguration: it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._file = ChangingFile(path, _parse)

    async def machines(self) -> Sequence[Machine]:
        """See ``Inventory``."""
        return [found.machine for found in (await self._file.current()).values()]

    async def find(self, machine_id: str) -> Found | None:
        """See ``Inventory``."""
        return (await self._file.current()).get(machine_id)


def _parse(file: FileText) -> Mapping[str, Found]:
    raw = _parse_json(file) if file.path.suffix == ".json" else parse_toml(file.text, str(file.path))
    faults = [f"{name}: unknown key" for name in raw if name != "machines"]
    tables = raw.get("machines", {})
    if not isinstance(tables, Mapping):
        raise BadConfiguration(f"{file.path}: machines: expected tables, one a machine")
    found: dict[str, Found] = {}
    private = False
    for machine_id, table in tables.items():
        where = f"machines.{machine_id[:80]}"
        if not machine_id.isprintable() or not 0 < len(machine_id) <= MAX_ID_CHARS:
            faults.append(f"{where!r}: an id has up to {MAX_ID_CHARS} characters that can be printed")
        elif not isinstance(table, Mapping):
            faults.append(f"{where}: expected a table")
        else:
            entry = read_table(_Entry, table, where, faults, show_values=False)
            if entry is not None:
                private |= entry.is_secret
                found[machine_id] = entry.found(machine_id)
                elsewhere = entry.websocket_url or entry.tunnel_url or entry.host.startswith("unix:/")
                if not elsewhere and not (entry.host and entry.port):
                    faults.append(f"{where}: host and port are needed, or websocket_url, or tunnel_url")
    if faults:
        raise BadConfiguration.with_faults(file.path, faults)
    if private:
        file.require_private()
    return found


def _parse_json(file: FileText) -> Mapping[str, object]:
    try:
        raw = json.loads(file.text)
    except (ValueError, RecursionError) as exc:
        words = exc.msg if isinstance(exc, json.JSONDecodeError) else "cannot be decoded"
        raise BadConfiguration(f"{file.path}: not JSON: {words}") from None
    if not isinstance(raw, dict):
        raise BadConfiguration(f"{file.path}: not a JSON object")
    return raw
