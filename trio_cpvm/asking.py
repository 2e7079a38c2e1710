"""What is asked for when somebody would like a console, in plain values: nothing secret, nothing bound to a process.

The rules about consoles (``authority``, ``registry``) go by these values and by no others, so that another process can
ask about them.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import attrs

from .models import ConsoleTarget


class Viewed(Protocol):
    """What the rules know of a console's target. A ``ConsoleTarget`` is one."""

    @property
    def viewer_key(self) -> str:
        """What makes two sessions viewers of the same machine."""
        ...

    @property
    def session_uuid(self) -> str:
        """What tells a single-use token; empty: none."""
        ...

    @property
    def needs_new_viewer(self) -> bool:
        """Viewers of one machine do not replace each other."""
        ...

    @property
    def view_only(self) -> bool:
        """The user may look, and no more."""
        ...

    @property
    def user(self) -> str:
        """Who was given the token."""
        ...


@attrs.frozen(kw_only=True)
class PlainTarget:
    """A console's target without what is secret: for the rules, and to be shown to operators. As ``ConsoleTarget``."""

    viewer_key: str
    session_uuid: str
    needs_new_viewer: bool
    view_only: bool
    user: str
    vm_id: str
    name: str
    host: str
    port: int
    address: str


def plain_target(target: ConsoleTarget) -> PlainTarget:
    """What may leave the process of a target. A URL may hold a ticket, so no URL does."""
    key = target.viewer_key
    return PlainTarget(
        viewer_key=key if key == target.vm_id else hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest(),
        session_uuid=target.session_uuid,
        needs_new_viewer=target.needs_new_viewer,
        view_only=target.view_only,
        user=target.user,
        vm_id=target.vm_id,
        name=target.name,
        host=target.host,
        port=target.port,
        address=target.address,
    )


@attrs.frozen(kw_only=True)
class Asking:
    """One request for a console whose token was opened. Times are seconds from now on: no two processes share a clock.

    Attributes:
        client: the browser's address.
        target: what it would open.
        guesser: whom its bad tokens count for; empty: nobody, since it may be many people.
        single_use: the token opens one console.
        late_s: for so long the token's life has been over; 0: it is not.
        lives_s: for so long the token can still be good; ``None``: it has no end.
        window_s: for so long a console that broke may be had again; 0: not at all.
    """

    client: str
    target: Viewed
    guesser: str
    single_use: bool
    late_s: float
    lives_s: float | None
    window_s: float
