"""The scripted VNC server: any version, any security list, any misbehaviour, on any stream.

``ScriptedVncServer(password="secret")`` is an ordinary host; ``ScriptedVncServer.playing(...)`` does exactly the steps
it is given. Either records what its clients did.

This file must not know how a step works, nor what is on the other end of a stream.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Sequence

import attrs
import trio

from ..rfb.pixelformat import USUAL_PIXEL_FORMAT, PixelFormat
from .handshake_steps import (
    CHALLENGE,
    NONE,
    VNC_AUTH,
    Authenticate,
    Initialise,
    Result,
    Security,
    Version,
    as_bytes,
)
from .steps import Conversation, ReadForever, Send, Step, perform
from .streams import MemoryDialer, connected


def _maybe_bytes(text: str | bytes | None) -> bytes | None:
    return None if text is None else as_bytes(text)


def _maybe_tuple(steps: Sequence[Step] | None) -> tuple[Step, ...] | None:
    return None if steps is None else tuple(steps)


@attrs.define(eq=False, kw_only=True)
class ScriptedVncServer:
    """A VNC server that follows a script; one ``serve`` per connection, any number of them.

    Text arguments may be ``bytes``, for what is no UTF-8.

    Args:
        version: the version string offered, 12 bytes in a good server.
        security_types: any numbers; by default VNC authentication with a password, None without.
        password: what clients have to know.
        challenge: the 16 bytes of VNC authentication.
        vencrypt_subtypes: what security type 19 offers.
        tls: the certificate for VeNCrypt.
        refuse_with: refuse every client at the security step, with this text.
        result: the SecurityResult sent, if not the true one.
        result_reason: the text of a failed authentication.
        name, width, height, pixel_format: what ServerInit says.
        after_init: bytes sent right after ServerInit.
        then: the steps after that; by default, everything is read until the client closes.

    Attributes:
        conversations: one per connection, in the order in which they came.
    """

    version: bytes = b"RFB 003.008\n"
    security_types: tuple[int, ...] | None = None
    password: bytes | None = attrs.field(default=None, converter=_maybe_bytes, repr=False)
    challenge: bytes = CHALLENGE
    vencrypt_subtypes: tuple[int, ...] = (261,)
    tls: ssl.SSLContext | None = None
    refuse_with: bytes | None = attrs.field(default=None, converter=_maybe_bytes)
    result: int | None = None
    result_reason: bytes = attrs.field(default=b"Authentication failed", converter=as_bytes)
    name: bytes = attrs.field(default=b"scripted", converter=as_bytes)
    width: int = 64
    height: int = 48
    pixel_format: PixelFormat = USUAL_PIXEL_FORMAT
    after_init: bytes = b""
    then: Sequence[Step] = (ReadForever(),)
    _steps: tuple[Step, ...] | None = attrs.field(default=None, converter=_maybe_tuple, alias="script")
    conversations: list[Conversation] = attrs.field(factory=list, init=False)

    @classmethod
    def playing(cls, *steps: Step) -> ScriptedVncServer:
        """A server that does these steps and nothing else, then closes."""
        return cls(script=steps)

    @property
    def script(self) -> tuple[Step, ...]:
        """The steps done on every connection: yours, or those of the ordinary host that the arguments describe."""
        if self._steps is not None:
            return self._steps
        types = self.security_types
        if types is None:
            types = (NONE,) if self.password is None else (VNC_AUTH,)
        return (
            Version(self.version),
            Security(types, self.refuse_with),
            Authenticate(self.password, self.challenge, self.vencrypt_subtypes, self.tls),
            Result(self.result, self.result_reason),
            Initialise(self.name, self.width, self.height, self.pixel_format),
            Send(self.after_init),
            *self.then,
        )

    @property
    def received(self) -> bytes:
        """All that clients have sent, over all connections."""
        return b"".join(bytes(conversation.received) for conversation in self.conversations)

    @property
    def events(self) -> list[str]:
        """All that has happened (``Event``), over all connections."""
        return [event for conversation in self.conversations for event in conversation.events]

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Follow the script on one connection, and close it; it is closed in any case, also when cancelled.

        Raises:
            ScriptMismatch: an ``Expect`` of the script was not met.
        """
        conversation = Conversation(stream)
        self.conversations.append(conversation)
        await perform(self.script, conversation)

    def start(self, nursery: trio.Nursery) -> MemoryDialer:
        """A dialer whose connections are served in ``nursery``."""
        return MemoryDialer(self.serve, nursery)

    def connect(self) -> contextlib.AbstractAsyncContextManager[trio.abc.Stream]:
        """One connection, as a context manager: the client's end of it."""
        return connected(self.serve)
