"""What systemd and its daemons say to each other: readiness, watchdog, sockets that are handed over.

Sources: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3), systemd.service(5). It is a few lines of environment
variables and datagrams, so there is no library for it. Without systemd nothing here does anything. The variables are
removed once they are read, so that no other program takes them for its own.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Self

import attrs
import trio

from .errors import BadConfiguration
from .logger import get_logger

log = get_logger("trio_cpvm.systemd")

#: How long one message may take, in seconds; only a service manager that hangs does not take it at once.
SEND_S = 5.0
#: How often the status line is looked at, in seconds.
STATUS_S = 5.0
#: sd_listen_fds(3), ``SD_LISTEN_FDS_START``.
FIRST_SOCKET = 3
#: More are not handed over in earnest.
MAX_SOCKETS = 64


@attrs.frozen
class ServiceManager:
    """Tells systemd how the daemon is doing.

    Attributes:
        address: the notification socket; a path, or ``@`` and an abstract name; empty: there is nobody to tell.
        watchdog_s: so many seconds without a sign of life, and systemd ends the daemon; ``None``: never.
    """

    address: str = ""
    watchdog_s: float | None = None

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Self:
        """Whom the environment names, if it means this process."""
        address = environment.pop("NOTIFY_SOCKET", "")
        watchdog_us = _number(environment.pop("WATCHDOG_USEC", ""))
        watched = environment.pop("WATCHDOG_PID", "")
        if not watchdog_us or watched not in ("", str(os.getpid())):
            watchdog_us = None
        if not address.startswith(("/", "@")):  # AF_VSOCK is for whole virtual machines
            address = ""
        return cls(address, watchdog_us / 1e6 if watchdog_us else None)

    async def ready(self, status: str) -> None:
        """The start or a reload is over."""
        await self._tell("READY=1", f"STATUS={status}")

    async def reloading(self) -> None:
        """A reload begins; ``ready`` ends it."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        await self._tell("RELOADING=1", f"MONOTONIC_USEC={now_us}", "STATUS=reloading")

    async def stopping(self, status: str, *, within_s: float) -> None:
        """The orderly end begins, and takes up to so many seconds, whatever ``TimeoutStopSec`` is."""
        await self._tell("STOPPING=1", f"STATUS={status}", f"EXTEND_TIMEOUT_USEC={int(within_s * 1e6)}")

    async def keep_informed(self, status: Callable[[], str]) -> None:
        """Show signs of life at twice the rate that is asked for, and the status where it changes, until cancelled.

        An event loop that hangs shows none, whatever its other threads do.
        """
        if not self.address:
            return
        told = None
        period_s = STATUS_S if self.watchdog_s is None else min(STATUS_S, self.watchdog_s / 2)
        while True:
            now = status()
            news = [f"STATUS={now}"] if now != told else []
            if self.watchdog_s is not None:
                news.append("WATCHDOG=1")
            if news:
                await self._tell(*news)
            told = now
            await trio.sleep(period_s)

    async def _tell(self, *lines: str) -> None:
        if not self.address:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with trio.fail_after(SEND_S), trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                await sock.connect(address)  # else a full queue would not be waited for, but asked again and again
                await sock.send("\n".join(lines).encode())
        except (OSError, trio.TooSlowError) as exc:
            log.warning("systemd cannot be told", message=lines[0], detail=str(exc) or "it does not listen")


def inherited_sockets(environment: MutableMapping[str, str]) -> list[socket.socket]:
    """The sockets that systemd has opened for this process, not inherited any further.

    Raises:
        BadConfiguration: a descriptor is no socket.
    """
    pid, count = environment.pop("LISTEN_PID", ""), _number(environment.pop("LISTEN_FDS", ""))
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count:
        return []
    if count > MAX_SOCKETS:
        raise BadConfiguration(f"LISTEN_FDS = {count}: more than {MAX_SOCKETS} sockets")
    found = []
    for descriptor in range(FIRST_SOCKET, FIRST_SOCKET + count):
        try:
            os.set_inheritable(descriptor, False)
            found.append(socket.socket(fileno=descriptor))
        except OSError as exc:
            for sock in found:
                sock.close()
            words = exc.strerror or exc
            raise BadConfiguration(f"LISTEN_FDS = {count}: file descriptor {descriptor} is no socket: {words}") from exc
    return found


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
