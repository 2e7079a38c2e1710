"""The daemon's tasks as text: who was started by whom, where each one waits, and which session it works for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import trio

from .session import Session, session_at_work

#: What the names of this package's files begin with.
_PACKAGE = f"{Path(__file__).parent}/"
#: Modules inside other packages, which tell nobody much.
_PRIVATE = re.compile(r"\._\w+(?=\.)")


def task_tree(root: trio.lowlevel.Task | None = None) -> str:
    """One line for each task and nursery, from ``root`` downwards; by default from trio's own root task."""
    root = root or trio.lowlevel.current_root_task()
    return "\n".join(_lines(root, "", None)) if root is not None else ""


def _lines(task: trio.lowlevel.Task, indent: str, parents: Session | None) -> Iterator[str]:
    session = task.context.get(session_at_work)
    told = f"  session {session.id} ({session.phase})" if session is not None and session is not parents else ""
    place = _place(task)
    name = _PRIVATE.sub("", task.name.removeprefix("trio_cpvm."))
    yield f"{indent}{name}{told}{f'  at {place}' if place else ''}"
    for nursery in task.child_nurseries:
        yield f"{indent}  nursery, {_state(nursery)}"
        for child in sorted(nursery.child_tasks, key=lambda child: child.name):
            yield from _lines(child, f"{indent}    ", session)


def _state(nursery: trio.Nursery) -> str:
    """How many tasks it has, and whether they are told to end."""
    count = len(nursery.child_tasks)
    return f"{count} task{'' if count == 1 else 's'}{', cancelled' if nursery.cancel_scope.cancel_called else ''}"


def _place(task: trio.lowlevel.Task) -> str:
    """The innermost line of this package that a task is at; empty where it is in others' code only."""
    place = ""
    try:
        for frame, line in task.iter_await_frames():
            file = frame.f_code.co_filename  # thousands of frames are looked at while all consoles wait
            if file.startswith(_PACKAGE):
                place = f"{file.removeprefix(_PACKAGE)}:{line} {frame.f_code.co_qualname}"
    except TypeError:  # it waits for something that is no coroutine
        pass
    return place
