"""What supervisor and workers say to each other, and its bytes. Sans-I/O.

A message is four bytes with the length of what follows, in network order, and a JSON array::

    ["Admit", 7, "5f1c0a", ...]

its name, a number, and its values. The number is that of a question, its negative in the answer, and 0 where no answer
is wanted. Nothing secret is ever in a message; times are seconds from now on, since no two processes share a clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

import attrs

from ..asking import Asking, PlainTarget

#: The longest message, in bytes: the details of as many sessions as one process can have.
MAX_MESSAGE_BYTES = 32 << 20
LENGTH_BYTES = 4

_decode = json.JSONDecoder().decode
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class NotAMessage(Exception):
    """The peer says what no worker or supervisor says."""


class Message:
    """One message. Its values are those of its class, in their order."""

    __slots__: ClassVar[tuple[str, ...]] = ()
    by_name: ClassVar[dict[str, type[Message]]] = {}

    def __init_subclass__(cls) -> None:
        cls.by_name[cls.__name__] = cls

    def values(self) -> Sequence[object]:
        """What goes out."""
        return [getattr(self, name) for name in self.__slots__ if name != "__weakref__"]

    @classmethod
    def of(cls, values: Sequence[object]) -> Self:
        """What came in.

        Raises:
            TypeError: they are not this message's.
        """
        return cls(*values)


# -- at the start


@attrs.frozen
class Start(Message):
    """To a worker, at first.

    Attributes:
        number: which one it is, from 1 on.
        first: the text of the configuration file that the daemon was started with: some keys are fixed from then on.
        config: the text of the one in force.
        path: where that is, for the files it names.
        listeners: file descriptors, each with whether TLS is spoken there.
        connections: file descriptor of the memory in which all workers' connections are counted.
        operators: file descriptor at which connections of operators are handed over who want to attach.
        waiting: as in ``Waits``, one each.
    """

    number: int
    first: str
    config: str
    path: str
    waiting: Sequence[tuple[str, str, int]]
    listeners: Sequence[tuple[int, bool]] = ()
    connections: int = -1
    operators: int = -1


@attrs.frozen
class Ready(Message):
    """From a worker: it serves browsers."""


@attrs.frozen
class Failed(Message):
    """From a worker that cannot start.

    Attributes:
        detail: why not.
        bad_configuration: whether it is the configuration's fault.
    """

    detail: str
    bad_configuration: bool


# -- answers


@attrs.frozen
class Done(Message):
    """It is done; or there is nothing against it."""


@attrs.frozen
class Refused(Message):
    """Why not: a ``ConsoleError`` in plain values. ``limit`` is empty where it was none."""

    slug: str
    detail: str
    limit: str
    retry_after_s: int


@attrs.frozen
class Truth(Message):
    """Whether it is so; ``None``: that cannot be known."""

    value: bool | None


# -- consoles


def _asking_values(asking: Asking) -> list[object]:
    target = asking.target
    if not isinstance(target, PlainTarget):
        raise TypeError("a target that may hold secrets")
    return [
        asking.client,
        asking.guesser,
        asking.single_use,
        asking.late_s,
        asking.lives_s,
        asking.window_s,
        *attrs.astuple(target, recurse=False),
    ]


_TARGET_FIELDS = tuple(field.name for field in attrs.fields(PlainTarget))


def _asking_of(values: Sequence[object]) -> Asking:
    client, guesser, single_use, late_s, lives_s, window_s, *target = values
    return Asking(
        client=client,  # type: ignore[arg-type]
        target=PlainTarget(**dict(zip(_TARGET_FIELDS, target, strict=True))),  # type: ignore[arg-type]
        guesser=guesser,  # type: ignore[arg-type]
        single_use=single_use,  # type: ignore[arg-type]
        late_s=late_s,  # type: ignore[arg-type]
        lives_s=lives_s,  # type: ignore[arg-type]
        window_s=window_s,  # type: ignore[arg-type]
    )


@attrs.frozen
class Look(Message):
    """From a worker: would that console be opened? ``Done`` or ``Refused``."""

    asking: Asking

    def values(self) -> Sequence[object]:
        """As ``Message.values``."""
        return _asking_values(self.asking)

    @classmethod
    def of(cls, values: Sequence[object]) -> Self:
        """As ``Message.of``."""
        return cls(_asking_of(values))


@attrs.frozen
class MayResume(Look):
    """From a worker: may its console be had again? ``Truth``."""


@attrs.frozen
class Admit(Message):
    """From a worker: let that session in. ``Admitted`` or ``Refused``."""

    session_id: str
    asking: Asking

    def values(self) -> Sequence[object]:
        """As ``Message.values``."""
        return [self.session_id, *_asking_values(self.asking)]

    @classmethod
    def of(cls, values: Sequence[object]) -> Self:
        """As ``Message.of``."""
        return cls(str(values[0]), _asking_of(values[1:]))


@attrs.frozen
class Admitted(Message):
    """The session counts from now on.

    Attributes:
        resumes: it goes on with an earlier one's console.
        looks_on: somebody else has keyboard and pointer.
    """

    resumes: bool
    looks_on: bool


@attrs.frozen
class Withdrawn(Message):
    """From a worker: that session was let in too late, and never began."""

    session_id: str


@attrs.frozen
class End(Message):
    """To a worker: end that session."""

    session_id: str
    slug: str
    detail: str
    by: str


@attrs.frozen
class LookOn(Message):
    """To a worker: that session's user may look only, or type as well."""

    session_id: str
    on: bool


@attrs.frozen
class Recorded(Message):
    """From a worker: that session's record has been written."""

    session_id: str


@attrs.frozen
class Ended(Message):
    """From a worker: that session is over. A ``SessionEnd`` in plain values; ``limit`` is empty where it was none."""

    session_id: str
    slug: str
    detail: str
    bytes_up: int
    bytes_down: int
    duration_s: float
    broken: bool
    limit: str
    opened_after_s: float | None


# -- who has to wait


@attrs.frozen
class Guess(Message):
    """From a worker: an address has shown something wrong. ``Done``, after ``Waits`` where it was one too many.

    Attributes:
        kind: what: ``token`` or ``access``.
        key: the address.
    """

    kind: str
    key: str


@attrs.frozen
class Waits(Message):
    """To all workers: that address has to wait for so many seconds."""

    kind: str
    key: str
    wait_s: int


@attrs.frozen
class UseSignature(Message):
    """From a worker: use a caller's signature up. ``Truth``: whether it was new; unknown if there are too many."""

    caller: str
    mark: str
    lives_s: float


# -- events, to be counted


@attrs.frozen
class RequestRefused(Message):
    """From a worker: as ``Metrics.refused``."""

    kind: str
    slug: str


@attrs.frozen
class AccessAnswered(Message):
    """From a worker: as ``Metrics.access_answered``."""

    status: int


@attrs.frozen
class LimitReached(Message):
    """From a worker: as ``Metrics.limit_reached``."""

    limit: str


# -- the daemon


@attrs.frozen
class Ping(Message):
    """To a worker: is it there? ``Done``."""


@attrs.frozen
class TellDetails(Message):
    """To a worker: what does it have? ``Details``."""


@attrs.frozen
class TellBytes(Message):
    """To a worker: what has it relayed? ``Bytes``, which costs a tenth."""


@attrs.frozen
class Bytes(Message):
    """What a worker has relayed so far.

    Attributes:
        tasks: how many it has.
        sessions: of each that runs its id, and the bytes to its host and to its browser.
    """

    tasks: int
    sessions: Sequence[tuple[str, int, int]]


@attrs.frozen
class Details(Message):
    """What a worker has at this moment.

    Attributes:
        tasks: how many.
        sessions: the values of a ``SessionDetails`` each.
    """

    tasks: int
    sessions: Sequence[Sequence[object]]


@attrs.frozen(kw_only=True)
class SessionDetails:
    """A running session as its worker knows it; what the supervisor knows better is left out."""

    id: str
    phase: str
    name: str
    security: str | None
    transport: str
    looks_on: bool
    idle_s: float
    idle_left_s: float | None
    lifetime_left_s: float | None
    host_rtt_s: float | None
    opened_after_s: float | None
    bytes_up: int
    bytes_down: int


_DETAILS = tuple(field.name for field in attrs.fields(SessionDetails))


def session_details(values: Sequence[object]) -> SessionDetails:
    """What a worker says of a session.

    Raises:
        NotAMessage: it says something else.
    """
    try:
        return SessionDetails(**dict(zip(_DETAILS, values, strict=True)))  # type: ignore[arg-type]
    except (ValueError, TypeError) as exc:
        raise NotAMessage(f"details: {exc}") from exc


@attrs.frozen
class Prepare(Message):
    """To a worker: make everything that this configuration says, and wait. ``Prepared``."""

    config: str


@attrs.frozen
class Prepared(Message):
    """Whether it could; empty: it could."""

    faults: str


@attrs.frozen
class Take(Message):
    """To a worker: work with what was prepared. ``Done``.

    Attributes:
        waiting: who has to wait by the new limits, as in ``Waits``.
    """

    waiting: Sequence[tuple[str, str, int]]


@attrs.frozen
class Settle(Message):
    """To a worker: has it done all that it was told before? ``Done``."""


@attrs.frozen
class Discard(Message):
    """To a worker: forget what was prepared."""


@attrs.frozen
class Drain(Message):
    """To a worker: take no new connections; running sessions will be ended in so many seconds."""

    left_s: float


@attrs.frozen
class Finish(Message):
    """To a worker: it is over; close what is open, and end."""


# -- bytes


def encode(message: Message, number: int = 0) -> bytes:
    """The bytes of a message.

    Args:
        message: the message.
        number: of a question; its negative of an answer.
    """
    body = _encode([type(message).__name__, number, *message.values()]).encode()
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def decode(body: bytes | bytearray | memoryview) -> tuple[int, Message]:
    """A message without its length, and its number.

    Raises:
        NotAMessage: it is none.
    """
    try:
        name, number, *values = _decode(str(body, "ascii"))
        if not isinstance(number, int):
            raise NotAMessage("its number is none")
        return number, Message.by_name[name].of(values)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as exc:
        raise NotAMessage(f"{type(exc).__name__}: {exc}") from exc


class Reader:
    """Cuts what arrives into messages; at most one message's length is kept."""

    def __init__(self) -> None:
        self._data = bytearray()

    def receive(self, data: bytes | bytearray) -> Iterator[tuple[int, Message]]:
        """The messages that are whole now, with their numbers.

        Raises:
            NotAMessage: one is none, or too long.
        """
        self._data += data
        start = 0
        while len(self._data) - start >= LENGTH_BYTES:
            length = int.from_bytes(self._data[start : start + LENGTH_BYTES], "big")
            if length > MAX_MESSAGE_BYTES:
                raise NotAMessage(f"{length} bytes")
            end = start + LENGTH_BYTES + length
            if len(self._data) < end:
                break
            yield decode(self._data[start + LENGTH_BYTES : end])
            start = end
        del self._data[:start]
