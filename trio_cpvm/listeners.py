"""Sockets to listen on: opened as the configuration names them, TCP or unix, or inherited; and given back.

Knows addresses and sockets, nothing of who answers there.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import trio

from .config_values import ListenAddress, TcpAddress, UnixAddress
from .errors import BadConfiguration
from .models import format_address
from .streams import keep_alive

#: Everybody's browsers at once, after a network was cut; the system's own limit is the same (``net.core.somaxconn``).
LISTEN_BACKLOG = 4096

_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 -- compared with, not bound to
_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class InheritedSockets:
    """Listening sockets that somebody else (systemd) has opened for this process, until they are taken.

    Args:
        sockets: as they were handed over.

    Raises:
        BadConfiguration: one is no listening stream socket.
    """

    def __init__(self, sockets: Iterable[socket.socket]) -> None:
        self._sockets = list(sockets)
        self._taken: set[ListenAddress] = set()
        for sock in self._sockets:
            if sock.family not in _FAMILIES or sock.type != socket.SOCK_STREAM or not _listens(sock):
                raise BadConfiguration(f"the inherited socket {socket_name(sock)} is no listening stream socket")

    async def take(self, address: ListenAddress) -> list[socket.socket]:
        """Those that are for this address; nobody gets them again. They are non-blocking afterwards.

        An empty host is for every wildcard address of its port; a name is for all of its addresses.

        Raises:
            OSError: a name cannot be resolved.
        """
        wanted = {address.path} if isinstance(address, UnixAddress) else await _names(address)
        found = [sock for sock in self._sockets if _name(sock) in wanted]
        for sock in found:
            self._sockets.remove(sock)
            sock.setblocking(False)
            self._taken.add(address)
        return found

    def were_for(self, address: ListenAddress) -> bool:
        """Whether some were taken for this address: others may have the same ones."""
        return address in self._taken

    def require_all_taken(self) -> None:
        """Insist that each one was for some address.

        Raises:
            BadConfiguration: naming those that were not.
        """
        if self._sockets:
            names = ", ".join(map(socket_name, self._sockets))
            keys = "server.listen, server.listen_tls or admin.listen"
            raise BadConfiguration(f"inherited sockets that none of {keys} names: {names}")


#: What tells a listening socket: host and port, or a path.
_Name: TypeAlias = tuple[str, int] | str


def _name(sock: socket.socket) -> _Name:
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return os.fsdecode(name)
    return _one_spelling(name[0]), name[1]


async def _names(address: TcpAddress) -> set[_Name]:
    if not address.host:
        return {(wildcard, address.port) for wildcard in _WILDCARDS}
    found = await trio.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return {(_one_spelling(str(name[0])), address.port) for _, _, _, _, name in found}


def _one_spelling(host: str) -> str:
    """``[::]`` and ``0.0.0.0`` are not the same to listen on, nor are the scopes of a link-local address."""
    address, _, scope = host.partition("%")
    return f"{ipaddress.ip_address(address)}%{scope}" if scope else str(ipaddress.ip_address(address))


def socket_name(sock: socket.socket) -> str:
    """What an inherited socket is called in a fault."""
    if sock.family not in _FAMILIES:
        return f"of family {sock.family}"
    name = _name(sock)
    return f"unix:{name.replace(chr(0), '@')}" if isinstance(name, str) else format_address(*name)


def _listens(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


@contextlib.asynccontextmanager
async def open_listeners(
    address: ListenAddress, inherited: InheritedSockets | None = None
) -> AsyncIterator[list[trio.SocketListener]]:
    """Listen within the block: on the inherited sockets of that address if there are any, or on new ones.

    A unix socket's file is removed afterwards if it was made here.

    Raises:
        BadConfiguration: naming the address and why not.
    """
    try:
        taken = await inherited.take(address) if inherited is not None else []
        if taken:
            listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in taken]
        elif isinstance(address, TcpAddress):
            listeners = await trio.open_tcp_listeners(address.port, host=address.host or None, backlog=LISTEN_BACKLOG)
        else:
            listeners = [await _listen_unix(address.path)]
        for listener in listeners:
            keep_alive(listener)
    except OSError as exc:
        raise BadConfiguration(f"cannot listen on {address}: {exc.strerror or exc}") from exc
    ours = os.lstat(address.path) if isinstance(address, UnixAddress) and not taken else None
    try:
        yield listeners
    finally:
        if isinstance(address, UnixAddress) and ours is not None:
            _remove(address.path, ours)
        for listener in listeners:
            await trio.aclose_forcefully(listener)


async def _listen_unix(path: str) -> trio.SocketListener:
    """Listen on a unix socket that only its owner and group may use; a dead one in its place is removed."""
    with contextlib.suppress(FileNotFoundError):
        found = os.lstat(path)
        if stat.S_ISSOCK(found.st_mode) and await _is_dead(path):
            _remove(path, found)
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o117)
    try:
        await sock.bind(path)
        sock.listen(LISTEN_BACKLOG)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(mask)
    return trio.SocketListener(sock)


def _remove(path: str, which: os.stat_result) -> None:
    """Remove a file, unless another one has taken its place; inode numbers are used again, times are not."""
    with contextlib.suppress(FileNotFoundError):
        found = os.lstat(path)
        if os.path.samestat(found, which) and found.st_mtime_ns == which.st_mtime_ns:
            Path(path).unlink()


async def _is_dead(path: str) -> bool:
    """Whether nobody listens there; another kind of socket, or one that is not ours to use, is not dead."""
    try:
        with trio.move_on_after(1):
            await trio.aclose_forcefully(await trio.open_unix_socket(path))
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def listener_urls(listeners: Sequence[trio.SocketListener], scheme: str = "http") -> tuple[str, ...]:
    names = []
    for listener in listeners:
        name = listener.socket.getsockname()
        if listener.socket.family == socket.AF_UNIX:
            names.append(f"unix:{name}")
        else:
            names.append(f"{scheme}://{format_address(name[0], name[1])}")
    return tuple(names)
