"""The RFB handshake of a proxy: one state machine between a VNC server and a browser.

All state of the handshake lives here. The machine is fed bytes and answers with commands (``commands``); it does not
know what carries them, what time it is, or which console this is. It authenticates to the server itself and offers the
browser security type None only, so that the password never goes further than here.

Sources: RFC 6143 sections 7.1 to 7.3, rfbproto "Handshaking Messages"; where the two differ from what servers do, what
QEMU and TigerVNC do.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Generator
from typing import TypeAlias, TypeVar

import attrs

from .. import errors
from ..errors import ConsoleError, Side, sanitise_text
from ..models import Secret
from . import security
from .commands import Command, Established, Failed, SendToClient, SendToServer
from .reader import ByteReader, EndOfData, Read, TooMuchData
from .versions import VERSION_BYTES, VERSION_PREFIX, Version, understood_as
from .vncauth import CHALLENGE_BYTES, vnc_auth_response

#: How much of a reason text is read; the rest is not waited for.
MAX_REASON_BYTES = 1024
#: A desktop name longer than this is no desktop name.
MAX_NAME_BYTES = 4096
#: Unread bytes of one peer during the handshake; a browser may send ahead, within reason.
MAX_AHEAD_BYTES = 65536
#: What the browser is shown as the console's name at most.
MAX_NAME_CHARS = 255

_PIXEL_FORMAT = slice(4, 20)
_LOCKED_OUT = re.compile(r"too many|blacklist|blocked|locked", re.IGNORECASE)

_T = TypeVar("_T")
_Steps: TypeAlias = Generator[Command | ByteReader, None, _T]


@attrs.frozen(kw_only=True)
class HandshakeSettings:
    """What the handshake has to know of the console.

    Attributes:
        password: what the server is to be given; ``None`` if it should ask for nothing.
        name: what the browser is told the console is called; empty: what the server says.
        allow_no_authentication: go on where a server asks for nothing although there is a password.
    """

    password: Secret | None = None
    name: str = ""
    allow_no_authentication: bool = False


class Handshake:
    """One handshake. Call ``start``, then feed what arrives and obey the commands, until it is ``done``.

    Every method returns the commands that follow, in order; the last one of all is ``Established`` or ``Failed``.
    """

    def __init__(self, settings: HandshakeSettings | None = None) -> None:
        self._settings = settings or HandshakeSettings()
        self._server = ByteReader(MAX_AHEAD_BYTES)
        self._client = ByteReader(MAX_AHEAD_BYTES)
        self._client_version: Version | None = None
        self._refusing = False
        self._steps = self._run()
        self._waiting: ByteReader | None = None
        self._started = False
        self.done = False

    @property
    def waiting_for(self) -> Side | None:
        """Whose bytes the handshake cannot go on without; ``None`` before the start and after the end."""
        if self._waiting is None:
            return None
        return Side.UPSTREAM if self._waiting is self._server else Side.DOWNSTREAM

    @property
    def waiting_for_what(self) -> str:
        """Which part of the protocol is waited for, in words."""
        return self._waiting.reading if self._waiting is not None else "nothing"

    def start(self) -> list[Command]:
        """Begin: the browser gets its version at once, while the server is still being connected to."""
        self._started = True
        return self._advance()

    def receive_from_server(self, data: bytes | bytearray) -> list[Command]:
        """Take bytes of the server, however they were cut."""
        return self._receive(self._server, data, errors.UPSTREAM_PROTOCOL)

    def receive_from_client(self, data: bytes | bytearray) -> list[Command]:
        """Take bytes of the browser, however they were cut."""
        return self._receive(self._client, data, errors.CLIENT_PROTOCOL)

    def server_closed(self) -> list[Command]:
        """The server will send nothing more."""
        self._server.feed_eof()
        if self._waiting is self._server:
            return self._advance()
        return [] if self._refusing else self.abort(_closed_by_server(self.waiting_for_what))

    def client_closed(self) -> list[Command]:
        """The browser will send nothing more, and there is nobody left to open a console for."""
        self._client.feed_eof()
        if self._waiting is self._client:
            return self._advance()
        return self.abort(ConsoleError(errors.CLOSED_BY_USER, f"while waiting for {self.waiting_for_what}"))

    def abort(self, error: ConsoleError) -> list[Command]:
        """Give up for a reason from outside (no connection, no time); the browser is told if it still can be."""
        commands = [] if self._started else self.start()
        return commands + self._advance(error)

    def take_leftovers(self) -> tuple[bytes, bytes]:
        """What the peers sent behind the handshake: (the server's bytes, the browser's bytes). Empty the next time.

        Bytes fed after the end are among them, so that none is lost between the end and the relay.
        """
        return self._server.take_all(), self._client.take_all()

    def _receive(self, reader: ByteReader, data: bytes | bytearray, on_flood: errors.Reason) -> list[Command]:
        if self.done:
            reader.feed(data, limited=False)
            return []
        try:
            reader.feed(data)
        except TooMuchData as exc:
            return self.abort(ConsoleError(on_flood, str(exc)))
        return self._advance() if reader is self._waiting else []

    def _advance(self, error: ConsoleError | None = None) -> list[Command]:
        """Run the steps until they lack bytes or are done."""
        commands: list[Command] = []
        while not self.done:
            try:
                step = next(self._steps) if error is None else self._steps.throw(error)
            except StopIteration:  # unreachable: _run always ends with Established or Failed
                self.done = True
                break
            error = None
            if isinstance(step, ByteReader):
                self._waiting = step
                break
            commands.append(step)
            self.done = isinstance(step, Established | Failed)
        if self.done:
            self._waiting = None
            self._steps.close()
        return commands

    # -- the protocol, straight down the page ------------------------------------------------------------------------

    def _run(self) -> _Steps[None]:
        try:
            yield SendToClient(Version.V3_8.wire, "version")
            try:
                server_version, chosen = yield from self._authenticate()
            except ConsoleError as error:
                yield Failed(error, (yield from self._refusal(error)))
                return
            except EndOfData as exc:
                closed = _closed_by_server(str(exc))
                yield Failed(closed, (yield from self._refusal(closed)))
                return
            client_version = yield from self._welcome_client()
            shared = yield from self._from_client(1, "ClientInit")
            yield SendToServer(b"\1" if shared != b"\0" else b"\0", "ClientInit")
            yield from self._server_init(server_version, client_version, chosen)
        except ConsoleError as error:
            yield Failed(error)

    def _authenticate(self) -> _Steps[tuple[Version, int]]:
        """The server's side up to its SecurityResult. May raise ``EndOfData``."""
        version = yield from self._server_version()
        yield SendToServer(version.wire, "version")
        acceptable = security.acceptable_types(
            has_password=bool(self._settings.password),
            allow_no_authentication=self._settings.allow_no_authentication,
        )
        offered = yield from self._offered_types(version)
        chosen = security.choose_type(offered, acceptable)
        if chosen is None:
            raise _nothing_in_common(offered, acceptable)
        if version is not Version.V3_3:
            yield SendToServer(bytes([chosen]), "security type")
        if chosen == security.VNC_AUTH and self._settings.password is not None:
            challenge = yield from self._server.read(CHALLENGE_BYTES, "the VNC authentication challenge")
            password = self._settings.password.reveal().encode("utf-8")
            yield SendToServer(vnc_auth_response(password, challenge), "VNC authentication response", secret=True)
        if chosen == security.VNC_AUTH or version is Version.V3_8:
            yield from self._security_result(version)
        return version, chosen

    def _server_version(self) -> Read[Version]:
        what = "the server's version"
        raw = yield from self._server.read(len(VERSION_PREFIX), what)
        if raw == VERSION_PREFIX:  # otherwise do not wait for more: a greeting of another protocol may be short
            raw += yield from self._server.read(VERSION_BYTES - len(raw), what)
        version = understood_as(raw)
        if version is None:
            raise ConsoleError(errors.UPSTREAM_PROTOCOL, f"not RFB: the server began with {sanitise_text(raw)!r}")
        return version

    def _offered_types(self, version: Version) -> Read[list[int]]:
        """All of the security types the server offers; an error where it refuses instead."""
        what = "the server's security types"
        if version is Version.V3_3:
            offered = [(yield from self._server.read_u32(what))]
            refused = offered == [security.INVALID]
        else:
            count = yield from self._server.read_u8(what)
            offered = list((yield from self._server.read(count, what)))
            refused = count == 0
        if refused:
            text = yield from self._reason_text()
            reason = errors.UPSTREAM_AUTH_BLOCKED if _LOCKED_OUT.search(text) else errors.UPSTREAM_PROTOCOL
            raise ConsoleError(reason, f"the server offers no security type: {text!r}", server_text=text)
        return offered

    def _security_result(self, version: Version) -> Read[None]:
        result = yield from self._server.read_u32("the security result")
        if result == 0:
            return
        text = (yield from self._reason_text()) if version is Version.V3_8 else ""
        if result == 2 or _LOCKED_OUT.search(text):
            reason = errors.UPSTREAM_AUTH_BLOCKED
        else:
            reason = errors.UPSTREAM_AUTH_FAILED if result == 1 else errors.UPSTREAM_PROTOCOL
        raise ConsoleError(reason, f"security result {result}: {text!r}", server_text=text)

    def _reason_text(self) -> Read[str]:
        """What the server says about a refusal. It has refused already, so a text that never comes is no new fault."""
        try:
            size = yield from self._server.read_u32("the length of the reason")
            return sanitise_text((yield from self._server.read(min(size, MAX_REASON_BYTES), "the reason")))
        except (EndOfData, ConsoleError):
            return ""

    def _client_speaks(self) -> _Steps[Version]:
        """The browser's answer to our version."""
        if self._client_version is None:
            raw = yield from self._from_client(VERSION_BYTES, "the browser's version")
            self._client_version = understood_as(raw)
            if self._client_version is None:
                raise ConsoleError(errors.CLIENT_PROTOCOL, f"not RFB: the browser began with {sanitise_text(raw)!r}")
        return self._client_version

    def _welcome_client(self) -> _Steps[Version]:
        """The browser's side up to its SecurityResult: security type None and nothing else."""
        version = yield from self._client_speaks()
        if version is Version.V3_3:
            yield SendToClient(struct.pack(">I", security.NONE), "security type None")
            return version
        yield SendToClient(bytes([1, security.NONE]), "security types: None")
        choice = (yield from self._from_client(1, "the browser's security type"))[0]
        if choice != security.NONE:
            detail = f"the browser chose {security.type_name(choice)}, which was not offered"
            if version is Version.V3_8:
                text = b"Only security type None is offered."
                yield SendToClient(struct.pack(">II", 1, len(text)) + text, "security result: failed")
            raise ConsoleError(errors.CLIENT_PROTOCOL, detail)
        if version is Version.V3_8:
            yield SendToClient(struct.pack(">I", 0), "security result: ok")
        return version

    def _refusal(self, error: ConsoleError) -> _Steps[bytes]:
        """What tells the browser why, in RFB's own words, so that any client shows it (rfbproto: no security types)."""
        self._refusing = True
        if error.reason is errors.CLOSED_BY_USER:
            return b""
        try:
            version = yield from self._client_speaks()
        except ConsoleError:  # gone, or not RFB: the first error is still the one that counts
            return b""
        text = error.public_text.encode("utf-8")
        none_offered = struct.pack(">I", 0) if version is Version.V3_3 else b"\0"
        return none_offered + struct.pack(">I", len(text)) + text

    def _server_init(self, server_version: Version, client_version: Version, chosen: int) -> _Steps[None]:
        try:
            head = yield from self._server.read(24, "ServerInit")
            (name_size,) = struct.unpack(">I", head[20:])
            if name_size > MAX_NAME_BYTES:
                raise ConsoleError(errors.UPSTREAM_PROTOCOL, f"ServerInit with a name of {name_size} bytes")
            raw_name = yield from self._server.read(name_size, "the desktop name")
        except EndOfData as exc:
            raise _closed_by_server(str(exc)) from None
        name = sanitise_text(self._settings.name or raw_name, MAX_NAME_CHARS)
        wire_name = name.encode("utf-8")
        yield SendToClient(head[:20] + struct.pack(">I", len(wire_name)) + wire_name, "ServerInit")
        width, height = struct.unpack(">HH", head[:4])
        yield Established(
            name=name,
            width=width,
            height=height,
            bits_per_pixel=head[_PIXEL_FORMAT][0],
            server_version=str(server_version),
            client_version=str(client_version),
            security=security.type_name(chosen),
        )

    def _from_client(self, size: int, what: str) -> Read[bytes]:
        try:
            return (yield from self._client.read(size, what))
        except EndOfData:
            raise ConsoleError(errors.CLOSED_BY_USER, f"instead of {what}") from None


def _closed_by_server(what: str) -> ConsoleError:
    return ConsoleError(errors.UPSTREAM_PROTOCOL, f"the server closed the connection instead of sending {what}")


def _nothing_in_common(offered: list[int], acceptable: tuple[int, ...]) -> ConsoleError:
    names = security.type_names(offered)
    if security.NONE in offered and security.NONE not in acceptable:
        return ConsoleError(
            errors.UPSTREAM_PROTOCOL,
            f"the server offers {names}, but the token carries a password: refused, since "
            "upstream.allow_no_authentication is off",
        )
    if security.VNC_AUTH in offered:
        return ConsoleError(errors.UPSTREAM_AUTH_FAILED, f"the server offers {names}, and the token has no password")
    return ConsoleError(errors.UPSTREAM_PROTOCOL, f"the server offers {names}, none of which this proxy speaks")
