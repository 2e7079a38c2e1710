"""The RFB handshake of a proxy: one state machine between a VNC server and a browser.

All state of the handshake lives here. The machine is fed bytes and answers with commands (``commands``); it does not
know what carries them, what time it is, or which console this is. It authenticates to the server itself and offers the
browser security type None only, so that the password never goes further than here.

Sources: RFC 6143 sections 7.1 to 7.3, rfbproto "Handshaking Messages"; where the two differ from what servers do, what
QEMU and TigerVNC do.
"""

from __future__ import annotations

import struct

import attrs

from .. import errors
from ..errors import ConsoleError, Side, sanitise_text
from . import security
from .commands import Command, Established, Failed, Reconnect, SendToClient, SendToServer
from .host_auth import HostAgreement, Steps, agree_on_version, authenticate, read_tight_init
from .pixelformat import PixelFormat
from .reader import ByteReader, EndOfData, Read, TooMuchData
from .security import SecurityPolicy
from .versions import VERSION_BYTES, Version, understood_as

#: A desktop name longer than this is no desktop name.
MAX_NAME_BYTES = 4096
#: Unread bytes of one peer during the handshake; a browser may send ahead, within reason.
MAX_AHEAD_BYTES = 65536
#: What the browser is shown as the console's name at most.
MAX_NAME_CHARS = 255

_PIXEL_FORMAT = slice(4, 20)


@attrs.frozen(kw_only=True)
class HandshakeSettings:
    """What the handshake has to know of the console.

    Attributes:
        policy: what the server is given, and what may be chosen of what it offers.
        name: what the browser is told the console is called; empty: what the server says.
        shared: the browser cannot ask for the console to itself, which would end others' connections to the server.
    """

    policy: SecurityPolicy = attrs.field(factory=SecurityPolicy)
    name: str = ""
    shared: bool = False


class Handshake:
    """One handshake. Call ``start``, then feed what arrives and obey the commands, until it is ``done``.

    Every method returns the commands that follow, in order; the last one of all is ``Established`` or ``Failed``.

    Attributes:
        policy: what may be chosen of what the server offers.
        done: whether it is over.
    """

    def __init__(self, settings: HandshakeSettings | None = None) -> None:
        self._settings = settings or HandshakeSettings()
        self.policy = self._settings.policy
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

    def connected_securely(self) -> None:
        """The connection to the server is verified TLS from its first byte on. Say so before feeding any."""
        self.policy = attrs.evolve(self.policy, secured=True)

    def receive_from_server(self, data: bytes | bytearray) -> list[Command]:
        """Take bytes of the server, however they were cut."""
        try:
            return self._receive(self._server, data)
        except TooMuchData as exc:
            return self.server_failed(ConsoleError(errors.UPSTREAM_PROTOCOL, str(exc)))

    def receive_from_client(self, data: bytes | bytearray) -> list[Command]:
        """Take bytes of the browser, however they were cut."""
        try:
            return self._receive(self._client, data)
        except TooMuchData as exc:
            return self.abort(ConsoleError(errors.CLIENT_PROTOCOL, str(exc)))

    def server_closed(self) -> list[Command]:
        """The server will send nothing more."""
        self._server.feed_eof()
        if self._waiting is self._server:
            return self._advance()
        return self.server_failed(_closed_by_server(self.waiting_for_what))

    def server_failed(self, error: ConsoleError) -> list[Command]:
        """Give up because of the server, unless it has been given up already: the first reason is the one to tell."""
        return [] if self._refusing else self.abort(error)

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

    def _receive(self, reader: ByteReader, data: bytes | bytearray) -> list[Command]:
        reader.feed(data, limited=not self.done)
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
            if isinstance(step, Reconnect):
                self._server.reset()
            self.done = isinstance(step, Established | Failed)
        if self.done:
            self._waiting = None
            self._steps.close()
        return commands

    # -- the protocol, straight down the page ------------------------------------------------------------------------

    def _run(self) -> Steps[None]:
        try:
            yield SendToClient(Version.V3_8.wire, "version")
            try:
                version = yield from agree_on_version(self._server)
                agreed = yield from authenticate(self._server, version, self.policy)
            except ConsoleError as error:
                yield Failed(error, (yield from self._refusal(error)))
                return
            except EndOfData as exc:
                closed = _closed_by_server(str(exc))
                yield Failed(closed, (yield from self._refusal(closed)))
                return
            client_version = yield from self._welcome_client()
            shared = yield from self._from_client(1, "ClientInit")
            yield SendToServer(b"\1" if self._settings.shared or shared != b"\0" else b"\0", "ClientInit")
            yield from self._server_init(agreed, client_version)
        except ConsoleError as error:
            yield Failed(error)

    def _client_speaks(self) -> Steps[Version]:
        """The browser's answer to our version."""
        if self._client_version is None:
            raw = yield from self._from_client(VERSION_BYTES, "the browser's version")
            self._client_version = understood_as(raw)
            if self._client_version is None:
                raise ConsoleError(errors.CLIENT_PROTOCOL, f"not RFB: the browser began with {sanitise_text(raw)!r}")
        return self._client_version

    def _welcome_client(self) -> Steps[Version]:
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

    def _refusal(self, error: ConsoleError) -> Steps[bytes]:
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

    def _server_init(self, agreed: HostAgreement, client_version: Version) -> Steps[None]:
        try:
            head = yield from self._server.read(24, "ServerInit")
            (name_size,) = struct.unpack(">I", head[20:])
            if name_size > MAX_NAME_BYTES:
                raise ConsoleError(errors.UPSTREAM_PROTOCOL, f"ServerInit with a name of {name_size} bytes")
            raw_name = yield from self._server.read(name_size, "the desktop name")
            if agreed.tight:
                yield from read_tight_init(self._server)
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
            pixel_format=PixelFormat.parse(head[_PIXEL_FORMAT]),
            server_version=str(agreed.version),
            client_version=str(client_version),
            security=agreed.security,
        )

    def _from_client(self, size: int, what: str) -> Read[bytes]:
        try:
            return (yield from self._client.read(size, what))
        except EndOfData:
            raise ConsoleError(errors.CLOSED_BY_USER, f"instead of {what}") from None


def _closed_by_server(what: str) -> ConsoleError:
    return ConsoleError(errors.UPSTREAM_PROTOCOL, f"the server closed the connection instead of sending {what}")
