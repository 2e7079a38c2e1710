"""A network that can be lost: a namespace of its own on a cable to this machine, whose packets are dropped at a word.

Nobody is told when that happens: no FIN, no reset, no ICMP; that is what a pulled plug or a dead laptop looks like. It
takes root (CAP_NET_ADMIN and CAP_SYS_ADMIN), as ``ip netns`` does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .processes import PATIENCE_S, program

PACKAGES = {"ip": "iproute2", "nft": "nftables"}
_CLONE_NEWNET = 0x40000000


class LostNetwork:
    """A namespace and its cable.

    Attributes:
        here: this machine's address on the cable.
        there: the namespace's.
    """

    def __init__(self) -> None:
        if os.geteuid() != 0:
            pytest.fail(
                "network namespaces need root (CAP_NET_ADMIN, CAP_SYS_ADMIN): run this test as root, in a container "
                "with --cap-add NET_ADMIN --cap-add SYS_ADMIN",
                pytrace=False,
            )
        number = os.getpid() & 0x3FFF  # one network for each test process: 198.18.0.0/15 is for tests, RFC 2544
        self._name = f"cpvm-{number}"
        self._cable = f"cpvm{number}"
        base = f"198.{18 + (number >> 13)}.{(number >> 6) & 0x7F}"
        self.here, self.there = (f"{base}.{(number & 0x3F) * 4 + end}" for end in (1, 2))

    def _ip(self, *arguments: str) -> None:
        _run("ip", *arguments)

    def up(self) -> None:
        self._ip("netns", "add", self._name)
        self._ip("link", "add", self._cable, "type", "veth", "peer", "name", "cable", "netns", self._name)
        self._ip("addr", "add", f"{self.here}/30", "dev", self._cable)
        self._ip("link", "set", self._cable, "up")
        self._ip("-n", self._name, "addr", "add", f"{self.there}/30", "dev", "cable")
        self._ip("-n", self._name, "link", "set", "cable", "up")

    def down(self) -> None:
        for arguments in (("link", "del", self._cable), ("netns", "del", self._name)):
            with contextlib.suppress(AssertionError):
                self._ip(*arguments)

    @property
    def inside(self) -> tuple[str, ...]:
        """In front of a command line: it runs in the namespace."""
        return (program("ip", PACKAGES["ip"]), "netns", "exec", self._name)

    def lose(self) -> None:
        """From now on every packet is dropped, in both directions."""
        _run(
            "ip", "netns", "exec", self._name, program("nft", PACKAGES["nft"]),
            "add table inet lost; "
            "add chain inet lost arriving { type filter hook prerouting priority -300; policy drop; }; "
            "add chain inet lost leaving { type filter hook output priority -300; policy drop; }",
        )  # fmt: skip

    def connect(self, address: tuple[str, int]) -> socket.socket:
        """A TCP connection from within: a socket belongs to the namespace that its thread was in."""
        found: list[socket.socket | OSError] = []

        def enter_and_connect() -> None:
            try:
                descriptor = os.open(Path("/run/netns") / self._name, os.O_RDONLY)
                try:
                    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                finally:
                    os.close(descriptor)
                found.append(socket.create_connection(address, PATIENCE_S))
            except OSError as exc:
                found.append(exc)

        thread = threading.Thread(target=enter_and_connect)  # it never comes back out, so it ends here
        thread.start()
        thread.join()
        (result,) = found
        if isinstance(result, OSError):
            raise result
        result.setblocking(False)
        return result


def _run(name: str, *arguments: str) -> None:
    done = subprocess.run(
        [program(name, PACKAGES[name]), *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, f"{name} {' '.join(arguments)}: {done.stderr}"


@contextlib.contextmanager
def lost_network() -> Iterator[LostNetwork]:
    """A network for as long as the block lasts."""
    network = LostNetwork()
    network.down()  # of a test process that was killed
    try:
        network.up()
        yield network
    finally:
        network.down()
