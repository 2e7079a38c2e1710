"""Steps of a script: what a scripted server does on one connection, one small value per step.

``perform`` runs steps against a ``Conversation``, which keeps the stream, what the client sent, and what happened.
A step of your own is any object with ``async def run(self, conversation)``.

This file must not know about RFB; the steps that do are in ``handshake_steps.py``.
"""

from __future__ import annotations

import enum
import ssl
from collections.abc import Iterable
from typing import Protocol

import attrs
import trio

from .streams import StreamEnded, abort, close_in_time, read_exactly

#: How much of what a client sent is kept, in bytes; more is counted, not kept.
RECORD_LIMIT_BYTES = 16 * 1024 * 1024

_CHUNK_BYTES = 64 * 1024


class Event(enum.StrEnum):
    """What a double may note; a plain string compares equal."""

    VERSION = "version"
    BAD_VERSION = "version unreadable"
    SECURITY = "security"
    BAD_SECURITY = "security not offered"
    REFUSED = "refused"
    VENCRYPT = "vencrypt"
    TLS = "tls"
    TLS_FAILED = "tls failed"
    CHALLENGE_OK = "challenge ok"
    CHALLENGE_FAILED = "challenge failed"
    PLAIN_OK = "plain ok"
    PLAIN_FAILED = "plain failed"
    RESULT_FAILED = "result failed"
    CLIENT_INIT = "client-init"
    PEER_CLOSED = "peer closed"
    PEER_BROKE = "peer broke"


class ScriptMismatch(AssertionError):
    """The client sent something else than the script expects."""


@attrs.define(eq=False)
class Conversation:
    """One connection as the server's side sees it.

    Attributes:
        stream: the connection; replaced when TLS starts.
        events: what happened, in order.
        received: what the client sent (inside TLS, where there is TLS), up to ``record_limit`` bytes.
        received_count: how many bytes the client sent.
        client_version: the client's version string; empty before it came.
        minor: the RFB version agreed on: 3, 7 or 8.
        security_type: what the client chose, or in RFB 3.3 what the server decided.
        subtype: the VeNCrypt sub-type that the client chose.
        accepted: whether the authentication went well.
        shared: the client's wish in ClientInit.
        over: a step sets it to leave out the rest of the script.
    """

    stream: trio.abc.Stream
    record_limit: int = RECORD_LIMIT_BYTES
    events: list[str] = attrs.field(factory=list, init=False)
    received: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    received_count: int = attrs.field(default=0, init=False)
    client_version: bytes = attrs.field(default=b"", init=False)
    minor: int = attrs.field(default=8, init=False)
    security_type: int | None = attrs.field(default=None, init=False)
    subtype: int | None = attrs.field(default=None, init=False)
    accepted: bool = attrs.field(default=False, init=False)
    shared: bool | None = attrs.field(default=None, init=False)
    over: bool = attrs.field(default=False, init=False)

    async def send(self, data: bytes) -> None:
        """Send to the client."""
        await self.stream.send_all(data)

    async def read(self, count: int) -> bytes:
        """Read exactly ``count`` bytes.

        Raises:
            StreamEnded: the client closed first; what had come is recorded all the same.
        """
        try:
            data = await read_exactly(self.stream, count)
        except StreamEnded as end:
            self._record(end.got)
            raise
        self._record(data)
        return data

    async def read_some(self) -> bytes:
        """Read what is there; ``b""`` once the client has closed."""
        data = bytes(await self.stream.receive_some(_CHUNK_BYTES))
        self._record(data)
        return data

    def note(self, event: str) -> None:
        """Add to ``events``."""
        self.events.append(str(event))

    def _record(self, data: bytes) -> None:
        self.received_count += len(data)
        self.received += data[: max(self.record_limit - len(self.received), 0)]


class Step(Protocol):
    """One step of a script."""

    async def run(self, conversation: Conversation) -> None:
        """Do it, and return when the next step may begin."""


async def perform(script: Iterable[Step], conversation: Conversation) -> None:
    """Run the steps in order, then close the stream; it is closed in any case, also when cancelled.

    That the client closes or breaks the connection is not an error here: it ends the script with an event.

    Raises:
        ScriptMismatch: by ``Expect``.
    """
    try:
        for step in script:
            await step.run(conversation)
            if conversation.over:
                break
        await close_in_time(conversation.stream)
    except StreamEnded:
        conversation.note(Event.PEER_CLOSED)
    except trio.BrokenResourceError:
        conversation.note(Event.PEER_BROKE)
    finally:
        await trio.aclose_forcefully(conversation.stream)


@attrs.frozen
class Send:
    """Send these bytes."""

    data: bytes

    async def run(self, conversation: Conversation) -> None:
        await conversation.send(self.data)


@attrs.frozen
class SendSlowly:
    """Send these bytes ``chunk`` at a time, with a pause of ``pause_s`` seconds before each chunk but the first."""

    data: bytes
    chunk: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    pause_s: float = 1.0

    async def run(self, conversation: Conversation) -> None:
        for start in range(0, len(self.data), self.chunk):
            if start:
                await trio.sleep(self.pause_s)
            await conversation.send(self.data[start : start + self.chunk])


@attrs.frozen
class SendForever:
    """Send these bytes again and again, as fast as the client takes them; reads nothing."""

    data: bytes = attrs.field(validator=attrs.validators.min_len(1))

    async def run(self, conversation: Conversation) -> None:
        while True:
            await conversation.send(self.data)


@attrs.frozen
class Read:
    """Read exactly this many bytes."""

    count: int

    async def run(self, conversation: Conversation) -> None:
        await conversation.read(self.count)


@attrs.frozen
class Expect:
    """Read as many bytes as these are, and fail loudly, with ``ScriptMismatch``, if they are others."""

    data: bytes

    async def run(self, conversation: Conversation) -> None:
        got = await conversation.read(len(self.data))
        if got != self.data:
            raise ScriptMismatch(f"expected {self.data!r}, the client sent {got!r}")


@attrs.frozen
class ReadForever:
    """Read, and record, whatever the client sends until it closes."""

    async def run(self, conversation: Conversation) -> None:
        while await conversation.read_some():
            pass
        conversation.note(Event.PEER_CLOSED)
        conversation.over = True


@attrs.frozen
class EchoForever:
    """Send back whatever the client sends until it closes."""

    async def run(self, conversation: Conversation) -> None:
        while data := await conversation.read_some():
            await conversation.send(data)
        conversation.note(Event.PEER_CLOSED)
        conversation.over = True


@attrs.frozen
class Stall:
    """Never answer: read until the client closes, or with ``reading=False`` do not even read, until cancelled."""

    reading: bool = True

    async def run(self, conversation: Conversation) -> None:
        if self.reading:
            await ReadForever().run(conversation)
        else:
            never = trio.Event()
            await never.wait()


@attrs.frozen
class Pause:
    """Do nothing for this many seconds."""

    seconds: float

    async def run(self, conversation: Conversation) -> None:
        await trio.sleep(self.seconds)


@attrs.frozen
class Close:
    """Close the connection properly, and end the script."""

    async def run(self, conversation: Conversation) -> None:
        conversation.over = True
        await close_in_time(conversation.stream)


@attrs.frozen
class Abort:
    """Drop the connection without any farewell (a reset, on TCP), and end the script."""

    async def run(self, conversation: Conversation) -> None:
        conversation.over = True
        await abort(conversation.stream)


@attrs.frozen
class StartTls:
    """Speak TLS from here on, as the server; the script ends if the client does not agree."""

    context: ssl.SSLContext

    async def run(self, conversation: Conversation) -> None:
        tls = trio.SSLStream(conversation.stream, self.context, server_side=True)
        conversation.stream = tls
        try:
            await tls.do_handshake()
        except trio.BrokenResourceError:
            conversation.note(Event.TLS_FAILED)
            conversation.over = True
        else:
            conversation.note(Event.TLS)
