"""The handshake between host and browser, with every security type: VncAuth, VeNCrypt, Tight.

An input is one byte of policy (see ``settings``), then records: a byte that says whose turn it is and how much
follows, then the bytes. Bit 7 is the side (set: the browser), the other bits the length; length 0 is a close, 127 is
everything that is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fuzz.checks import must
from trio_cpvm.errors import REASONS
from trio_cpvm.models import Secret
from trio_cpvm.rfb.commands import Command, Established, Failed, Reconnect, SendToClient, SendToServer, StartTls
from trio_cpvm.rfb.handshake import MAX_AHEAD_BYTES, MAX_NAME_CHARS, Handshake, HandshakeSettings
from trio_cpvm.rfb.security import SecurityPolicy

PASSWORD = "s3cret-fuzz"  # noqa: S105 -- of nobody
BROWSER, ALL_THE_REST = 0x80, 0x7F


def settings(flags: int) -> HandshakeSettings:
    """The policy that an input's first byte stands for."""
    policy = SecurityPolicy(
        password=Secret(PASSWORD) if flags & 1 else None,
        username="bob" if flags & 2 else "",
        allow_no_authentication=bool(flags & 4),
        allow_plaintext=not flags & 8,
        allow_anonymous_tls=bool(flags & 16),
        secured=bool(flags & 32),
    )
    return HandshakeSettings(policy=policy, name="Web 1" if flags & 64 else "")


def records(data: bytes) -> Iterator[tuple[bool, bytes]]:
    """Whether it is the browser's, and the bytes; none of them is a close."""
    at = 0
    while at < len(data):
        browser, size = bool(data[at] & BROWSER), data[at] & 0x7F
        end = len(data) if size == ALL_THE_REST else min(at + 1 + size, len(data))
        yield browser, data[at + 1 : end]
        at = end


def check(data: bytes) -> None:
    """Run one handshake to wherever the input leads."""
    watch = _Watch(settings(data[0] if data else 0))
    watch.see(watch.shake.start())
    for browser, chunk in records(data[1:]):
        shake = watch.shake
        if not browser:
            watch.host_said += chunk
        if browser:
            watch.see(shake.receive_from_client(chunk) if chunk else shake.client_closed())
        else:
            watch.see(shake.receive_from_server(chunk) if chunk else shake.server_closed())
    if not watch.shake.done:
        watch.see(watch.shake.client_closed())
        watch.see(watch.shake.server_closed())
        must(watch.shake.done, "both are gone, and it still goes on")


class _Watch:
    """One handshake, and what may never be seen in its commands."""

    def __init__(self, wanted: HandshakeSettings) -> None:
        self.shake = Handshake(wanted)
        self.host_said = b""
        self._policy = wanted.policy
        self._private = wanted.policy.secured
        self._over = False
        self._connections = 1

    def see(self, commands: Sequence[Command]) -> None:
        for command in commands:
            must(not self._over, "a command behind the last one")
            self._see(command)
        must(self._over is self.shake.done, "done without saying so")
        if not self.shake.done:
            unread = [self.shake._server.unread, self.shake._client.unread]  # noqa: SLF001 -- memory is what it is about
            must(max(unread) <= MAX_AHEAD_BYTES, "more is kept than may be")

    def _see(self, command: Command) -> None:
        if isinstance(command, StartTls):
            must(not command.anonymous or self._policy.allow_anonymous_tls, "TLS without certificates")
            self._private = True
        elif isinstance(command, Reconnect):
            self._connections += 1
            self._private = self._policy.secured
            must(self._connections == 2, "connected more than twice")
        elif isinstance(command, SendToServer):
            must(self._private or PASSWORD.encode() not in command.data, "the password in the clear")
            must(self._private or self._policy.allow_plaintext or not command.secret, "an answer in the clear")
            must(len(command.data) <= 64, "a long message to the host")
        elif isinstance(command, SendToClient):
            must(len(command.data) <= 24 + 4 * MAX_NAME_CHARS, "a long message to the browser")
            must(PASSWORD.encode() not in command.data or PASSWORD.encode() in self.host_said, "the password told")
        elif isinstance(command, Established | Failed):
            self._over = True
            if isinstance(command, Failed):
                must(command.error.reason.slug in REASONS, "an unknown reason")
            else:
                must(self._private or self._policy.allow_plaintext, "open in the clear")
