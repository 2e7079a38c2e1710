"""The steps of an RFB handshake from the server's side: version, security, authentication, result, initialisation.

Put together in order they are an ordinary VNC server; each follows the client's reply as real servers do, in RFB 3.3,
3.7 and 3.8. Left out, repeated or mixed with the plain steps of ``steps.py`` they are a server that misbehaves.

Sources: RFC 6143 section 7.1, rfbproto "VeNCrypt". This file must not know about screens or scripts as a whole.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable

import attrs

from ..rfb.pixelformat import USUAL_PIXEL_FORMAT, PixelFormat
from ..rfb.vncauth import CHALLENGE_BYTES, vnc_auth_response
from .steps import Conversation, Event, StartTls

NONE = 1
VNC_AUTH = 2
VENCRYPT = 19

#: The VeNCrypt sub-types, by what happens in them.
_TLS_SUBTYPES = range(257, 263)
_SUBTYPES_NONE = (257, 260)
_SUBTYPES_VNC = (258, 261)
_SUBTYPES_PLAIN = (256, 259, 262)

#: What the doubles challenge with unless told otherwise: always the same, so that a test can be repeated.
CHALLENGE = bytes(range(CHALLENGE_BYTES))

_VERSION_BYTES = 12
_VERSION = re.compile(rb"RFB (\d{3})\.(\d{3})\n")
_VENCRYPT_VERSION = b"\x00\x02"
_MAX_PLAIN_BYTES = 1024
_AUTHENTICATION_FAILED = b"Authentication failed"


def as_bytes(text: str | bytes) -> bytes:
    """UTF-8 where it is text; bytes as they are."""
    return text.encode("utf-8") if isinstance(text, str) else text


def _numbers(numbers: Iterable[int]) -> tuple[int, ...]:
    return tuple(numbers)


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _reason(text: bytes) -> bytes:
    return _u32(len(text)) + text


@attrs.frozen
class Version:
    """Offer a version, read the client's, and go on in that one.

    A client that answers 3.7 gets 3.7; below that is 3.3, above it 3.8, whatever the numbers are.
    """

    offer: bytes = b"RFB 003.008\n"

    async def run(self, conversation: Conversation) -> None:
        await conversation.send(self.offer)
        conversation.client_version = await conversation.read(_VERSION_BYTES)
        match = _VERSION.fullmatch(conversation.client_version)
        if match is None:
            conversation.note(Event.BAD_VERSION)
            conversation.over = True
            return
        version = (int(match[1]), int(match[2]))
        conversation.minor = 3 if version < (3, 7) else 7 if version == (3, 7) else 8
        conversation.note(Event.VERSION)


@attrs.frozen
class Security:
    """Offer security types and read the client's choice; in RFB 3.3 the first of them is decreed.

    Args:
        types: any numbers of 0 to 255, in this order. None at all is a refusal.
        refuse_with: refuse with this text, whatever ``types`` says.
    """

    types: tuple[int, ...] = attrs.field(default=(NONE,), converter=_numbers)
    refuse_with: bytes | None = None

    async def run(self, conversation: Conversation) -> None:
        if self.refuse_with is not None or not self.types:
            zero = _u32(0) if conversation.minor == 3 else b"\0"
            await conversation.send(zero + _reason(self.refuse_with or b""))
            conversation.note(Event.REFUSED)
            conversation.over = True
        elif conversation.minor == 3:
            conversation.security_type = self.types[0]
            await conversation.send(_u32(self.types[0]))
        else:
            await conversation.send(bytes((len(self.types), *self.types)))
            (conversation.security_type,) = await conversation.read(1)
            conversation.note(Event.SECURITY)
            if conversation.security_type not in self.types:
                conversation.note(Event.BAD_SECURITY)
                await Result(1).run(conversation)
                conversation.over = True


@attrs.frozen
class Authenticate:
    """Authenticate the client in the way that was agreed on: None, VNC authentication or VeNCrypt.

    Any other security type has no authentication here: the script ends. Put steps of your own in its place.

    Args:
        password: what the client has to know; with ``None``, every answer is wrong.
        challenge: 16 bytes.
        subtypes: the VeNCrypt sub-types offered; 256 to 262 are understood.
        tls: the server's certificate for the sub-types that need one.
        vencrypt_version: two bytes; what comes before the version is agreed on.
    """

    password: bytes | None = attrs.field(default=None, repr=False)
    challenge: bytes = CHALLENGE
    subtypes: tuple[int, ...] = attrs.field(default=(261,), converter=_numbers)
    tls: ssl.SSLContext | None = None
    vencrypt_version: bytes = _VENCRYPT_VERSION

    async def run(self, conversation: Conversation) -> None:
        if conversation.security_type == NONE:
            conversation.accepted = True
        elif conversation.security_type == VNC_AUTH:
            await self._challenge(conversation)
        elif conversation.security_type == VENCRYPT:
            await self._vencrypt(conversation)
        else:
            conversation.over = True

    async def _challenge(self, conversation: Conversation) -> None:
        await conversation.send(self.challenge)
        answer = await conversation.read(CHALLENGE_BYTES)
        conversation.accepted = self.password is not None and answer == vnc_auth_response(self.password, self.challenge)
        conversation.note(Event.CHALLENGE_OK if conversation.accepted else Event.CHALLENGE_FAILED)

    async def _vencrypt(self, conversation: Conversation) -> None:
        await conversation.send(self.vencrypt_version)
        if await conversation.read(2) != _VENCRYPT_VERSION:
            await conversation.send(b"\xff")
            conversation.over = True
            return
        conversation.note(Event.VENCRYPT)
        await conversation.send(b"\0" + bytes((len(self.subtypes),)) + b"".join(map(_u32, self.subtypes)))
        conversation.subtype = int.from_bytes(await conversation.read(4), "big")
        if conversation.subtype not in self.subtypes:
            conversation.note(Event.BAD_SECURITY)
            conversation.over = True
            return
        if conversation.subtype in _TLS_SUBTYPES:
            if self.tls is None:
                raise ValueError(f"sub-type {conversation.subtype} needs a certificate: pass tls=")
            await conversation.send(b"\x01")
            await StartTls(self.tls).run(conversation)
            if conversation.over:
                return
        if conversation.subtype in _SUBTYPES_NONE:
            conversation.accepted = True
        elif conversation.subtype in _SUBTYPES_VNC:
            await self._challenge(conversation)
        elif conversation.subtype in _SUBTYPES_PLAIN:
            await self._plain(conversation)
        else:
            conversation.over = True

    async def _plain(self, conversation: Conversation) -> None:
        user_length = int.from_bytes(await conversation.read(4), "big")
        password_length = int.from_bytes(await conversation.read(4), "big")
        if max(user_length, password_length) > _MAX_PLAIN_BYTES:
            conversation.over = True
            return
        await conversation.read(user_length)
        conversation.accepted = await conversation.read(password_length) == self.password
        conversation.note(Event.PLAIN_OK if conversation.accepted else Event.PLAIN_FAILED)


@attrs.frozen
class Result:
    """Say how the authentication went, in the versions that do so; a failure ends the script.

    Args:
        code: ``None`` tells the truth: 0 after a right password, 1 otherwise. Any other number is sent as it is.
        reason: what a failure comes with in RFB 3.8.
    """

    code: int | None = None
    reason: bytes = _AUTHENTICATION_FAILED

    async def run(self, conversation: Conversation) -> None:
        code = self.code if self.code is not None else int(not conversation.accepted)
        # Before 3.8, None is followed by no result, so there is nothing to lie about either.
        if conversation.security_type == NONE and conversation.minor < 8:
            return
        if code == 0:
            await conversation.send(_u32(0))
            return
        conversation.note(Event.RESULT_FAILED)
        conversation.over = True
        await conversation.send(_u32(code) + (_reason(self.reason) if conversation.minor == 8 else b""))


@attrs.frozen
class Initialise:
    """Read ClientInit and answer with ServerInit."""

    name: bytes = b""
    width: int = 64
    height: int = 48
    pixel_format: PixelFormat = USUAL_PIXEL_FORMAT

    async def run(self, conversation: Conversation) -> None:
        conversation.shared = await conversation.read(1) != b"\0"
        conversation.note(Event.CLIENT_INIT)
        await conversation.send(self.encode())

    def encode(self) -> bytes:
        """The bytes of ServerInit."""
        size = self.width.to_bytes(2, "big") + self.height.to_bytes(2, "big")
        return size + self.pixel_format.encode() + _reason(self.name)
