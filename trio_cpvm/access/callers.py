"""Who may ask for consoles, and of which machines: the callers' file, and making new ones. Sans-I/O; no trio.

Bearer keys are random and 256 bits long. Guessing them from a SHA-256 is as hopeless as guessing them outright, so the
slow, salted hashes that people's passwords need would add nothing but load. Secret keys have to be known to check a
signature, so they are kept as they are: that is why nobody but the daemon may read the file.
"""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import attrs

from ..config_reader import read_table
from ..errors import BadConfiguration
from ..models import Secret
from .machines import Machine
from .private_file import parse_toml

#: A machine pattern that begins so is for the machine's name, not its id.
BY_NAME = "name:"
KEY_BYTES = 32

_NONE = Secret("")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _hashes(_: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    if not all(_SHA256.fullmatch(item) for item in value):
        raise ValueError("expected SHA-256 digests of 64 hexadecimal digits")
    if bearer_digest("") in value:
        raise ValueError("that is the digest of no key at all")


def _patterns(_: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    if not all(value):
        raise ValueError("an empty pattern fits no machine")


@attrs.frozen(kw_only=True)
class Caller:
    """One caller.

    Attributes:
        name: what it is called in the log, and the user name of HTTP Basic.
        bearer_sha256: SHA-256 of its bearer keys, in hexadecimal; several, so that they can be exchanged.
        api_key: names it in signed requests.
        secret_key: what those are signed with.
        machines: ids or glob patterns of the machines it may open; ``name:`` before one makes it fit names.
        view_only: it may look at them, and no more.
    """

    name: str = ""
    bearer_sha256: tuple[str, ...] = attrs.field(default=(), validator=_hashes, repr=False)
    api_key: str = attrs.field(default="", repr=False)
    secret_key: Secret = _NONE
    machines: tuple[str, ...] = attrs.field(default=(), validator=_patterns)
    view_only: bool = False

    def may_open(self, machine: Machine) -> bool:
        """Whether a machine is one of this caller's."""
        return bool(self._ids.match(machine.id) or self._names.match(machine.name))

    @cached_property
    def _ids(self) -> re.Pattern[str]:
        return _any_of(glob for glob in self.machines if not glob.startswith(BY_NAME))

    @cached_property
    def _names(self) -> re.Pattern[str]:
        return _any_of(glob.removeprefix(BY_NAME) for glob in self.machines if glob.startswith(BY_NAME))


def _any_of(globs: Iterable[str]) -> re.Pattern[str]:
    """One pattern for all of them, which is many times faster than one after the other; for none it fits nothing."""
    return re.compile("|".join(map(fnmatch.translate, globs)) or r"(?!)")


class Callers:
    """All callers, found by what they show.

    Args:
        callers: with different names, keys and API keys.
    """

    def __init__(self, callers: Sequence[Caller]) -> None:
        self._by_name = {caller.name: caller for caller in callers}
        self._by_api_key = {caller.api_key: caller for caller in callers if caller.api_key}
        self._by_digest = {digest: caller for caller in callers for digest in caller.bearer_sha256}

    def __len__(self) -> int:
        return len(self._by_name)

    def named(self, name: str) -> Caller | None:
        """The caller of that name."""
        return self._by_name.get(name)

    def with_api_key(self, api_key: str) -> Caller | None:
        """The caller whose signed requests carry that ``apiKey``."""
        return self._by_api_key.get(api_key)

    def with_bearer_key(self, key: str) -> Caller | None:
        """The caller whose bearer key that is.

        What is looked up is the key's digest: however long the look-up takes tells nothing about any key.
        """
        return self._by_digest.get(bearer_digest(key))


def bearer_digest(key: str) -> str:
    """What stands in the callers' file for a bearer key."""
    return hashlib.sha256(key.encode()).hexdigest()


def same_name(one: str, other: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def parse_callers(text: str, source: str) -> Callers:
    """Read the callers' file: a table ``[callers.NAME]`` each.

    Raises:
        BadConfiguration: one line per fault, with file and key path, never with a value.
    """
    raw = parse_toml(text, source)
    faults: list[str] = [f"{name}: unknown key" for name in raw if name != "callers"]
    tables = raw.get("callers", {})
    if not isinstance(tables, Mapping):
        raise BadConfiguration(f"{source}: callers: expected tables [callers.NAME]")
    callers = []
    for name, table in tables.items():
        where = f"callers.{name}"
        if not _NAME.fullmatch(name):
            faults.append(f"{where}: a name has up to 64 letters, digits and . _ @ -, the first a letter or digit")
        elif not isinstance(table, Mapping):
            faults.append(f"{where}: expected a table")
        elif "name" in table:
            faults.append(f"{where}.name: unknown key")
        else:
            found = read_table(Caller, table, where, faults, show_values=False)
            if found is not None:
                callers.append(attrs.evolve(found, name=name))
    faults += _contradictions(callers)
    if faults:
        raise BadConfiguration.with_faults(source, faults)
    return Callers(callers)


def _contradictions(callers: Sequence[Caller]) -> list[str]:
    faults, seen = [], dict[str, str]()
    for caller in callers:
        where = f"callers.{caller.name}"
        if bool(caller.api_key) != bool(caller.secret_key):
            faults.append(f"{where}: api_key and secret_key go together")
        for shown in (*caller.bearer_sha256, *([caller.api_key] if caller.api_key else [])):
            other = seen.setdefault(shown, where)
            if other != where:
                faults.append(f"{where}: has a key of {other}")
    return faults


@attrs.frozen(kw_only=True)
class NewCaller:
    """A caller just made.

    Attributes:
        snippet: what goes into the callers' file, TOML.
        bearer_key: to be handed over and stored nowhere; empty if none was asked for.
        api_key: to be handed over as well.
        secret_key: likewise.
    """

    snippet: str = attrs.field(repr=False)
    bearer_key: Secret
    api_key: str
    secret_key: Secret


def new_caller(name: str, *, bearer: bool, signed: bool, machines: Sequence[str], view_only: bool = False) -> NewCaller:
    """Make a caller with fresh keys.

    Raises:
        ValueError: the name or a pattern cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("a name has up to 64 letters, digits and . _ @ -, the first a letter or digit")
    bearer_key = secrets.token_urlsafe(KEY_BYTES) if bearer else ""
    api_key, secret_key = (secrets.token_urlsafe(KEY_BYTES), secrets.token_urlsafe(KEY_BYTES)) if signed else ("", "")
    lines = [f"[callers.{json.dumps(name)}]"]  # a JSON text of such characters is a TOML one
    if bearer:
        lines.append(f"bearer_sha256 = {json.dumps([bearer_digest(bearer_key)])}")
    if signed:
        lines += [f"api_key = {json.dumps(api_key)}", f"secret_key = {json.dumps(secret_key)}"]
    if not all(machine.isprintable() and machine for machine in machines):
        raise ValueError("a machine pattern is a text that can be printed")
    lines.append(f"machines = {json.dumps(list(machines), ensure_ascii=False)}")
    if view_only:
        lines.append("view_only = true")
    return NewCaller(
        snippet="\n".join(lines) + "\n", bearer_key=Secret(bearer_key), api_key=api_key, secret_key=Secret(secret_key)
    )
