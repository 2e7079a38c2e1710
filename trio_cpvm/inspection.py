"""What an operator sees from inside the daemon: what is in reach at the attached REPL's prompt.

Reads the daemon's objects and changes none of them. Nothing that it shows is secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import trio

from . import errors
from .admin import describe
from .config import Config
from .metrics import Counts
from .registry import Sessions
from .session import Session
from .shown import Shown, ShownSessions
from .streams import socket_state, stream_layers
from .task_tree import task_tree

HELP = """\
sessions()     the running sessions           tasks()    the task tree, with the sessions' tasks
session(id)    one of them, as an object      state(id)  all that there is to know of one
server, registry, config, metrics             the daemon's own objects
trio, errors                                  modules
"""
SUPERVISORS_HELP = """\
This is the supervisor; ``trio-cpvm repl --attach --worker 1`` is where sessions are.
sessions()     the running sessions           tasks()    this process's task tree
session(id)    what is known of one here
server, registry, config                      the daemon's own objects
trio, errors                                  modules
"""
_COLUMNS = (
    "id",
    "user",
    "client",
    "vm",
    "name",
    "host",
    "phase",
    "security",
    "age_s",
    "idle_s",
    "bytes_up",
    "bytes_down",
)


class Report(str):
    """A text that the prompt shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Daemon(Protocol):
    """What is looked at."""

    @property
    def registry(self) -> Sessions[Session]:
        """The running sessions."""
        ...

    @property
    def config(self) -> Config:
        """The configuration that is in force."""
        ...

    @property
    def metrics(self) -> Counts:
        """What was counted."""
        ...


def names_in_reach(daemon: Daemon) -> Mapping[str, object]:
    """What the prompt begins with, as of now."""
    return {
        "server": daemon,
        "registry": daemon.registry,
        "config": daemon.config,
        "metrics": daemon.metrics,
        "sessions": lambda: sessions_table(daemon.registry),
        "session": daemon.registry.get,
        "state": lambda session_id: session_report(daemon.registry, session_id),
        "tasks": lambda: Report(task_tree()),
        "help": Report(HELP.rstrip("\n")),
        "trio": trio,
        "errors": errors,
    }


def names_in_supervisor(supervisor: object, registry: ShownSessions, config: Config) -> Mapping[str, object]:
    """Likewise, in a process that knows of sessions, and has none."""
    return {
        "server": supervisor,
        "registry": registry,
        "config": config,
        "sessions": lambda: sessions_table(registry),
        "session": registry.get,
        "tasks": lambda: Report(task_tree()),
        "help": Report(SUPERVISORS_HELP.rstrip("\n")),
        "trio": trio,
        "errors": errors,
    }


def sessions_table(registry: Iterable[Shown]) -> Report:
    """The running sessions, a line each."""
    described = [describe(session) for session in registry]
    return Report(_table(_COLUMNS, [[str(one[column]) for column in _COLUMNS] for one in described]))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows))
    return "\n".join(line.rstrip() for line in lines)


def session_report(registry: Sessions[Session], session_id: str) -> Report:
    """Everything about one session; says so where there is none of that id."""
    session = registry.get(session_id)
    if session is None:
        return Report(f"no session {session_id!r}")
    return Report("\n".join(_sections(session)))


def _sections(session: Session) -> Iterable[str]:
    yield from _section("session", describe(session))
    inside = session.inside
    yield from _section("handshake", {"waits for": inside.waiting_for})
    if inside.browser is not None:
        yield from _section("browser", {**_stream(inside.browser), **inside.browser.state})
    if inside.host is not None:
        yield from _section("host", _stream(inside.host))
    if inside.relay is not None:
        yield from _section("relay", inside.relay.state)
    if inside.up is not None:
        up = {"view only": inside.up.looks_only, "kept bytes": inside.up.kept_bytes}
        yield from _section("filter of what the browser says", up)
    if inside.down is not None:
        yield from _section("filter of what the host says", {"kept bytes": inside.down.kept_bytes})


def _stream(stream: trio.abc.Stream) -> dict[str, object]:
    return {"streams": " > ".join(stream_layers(stream)), **socket_state(stream)}


def _section(title: str, values: Mapping[str, object]) -> Iterable[str]:
    yield title
    width = max(map(len, values), default=0)
    for name, value in values.items():
        yield f"  {name.ljust(width)}  {round(value, 4) if isinstance(value, float) else value}"
