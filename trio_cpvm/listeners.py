"""Sockets to listen on: opened as the configuration names them, TCP or unix, and given back.

Knows addresses and sockets, nothing of who answers there.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import trio

from .config_values import ListenAddress, TcpAddress, UnixAddress
from .errors import BadConfiguration
from .models import format_address

LISTEN_BACKLOG = 1024


@contextlib.asynccontextmanager
async def open_listeners(address: ListenAddress) -> AsyncIterator[list[trio.SocketListener]]:
    """Listen within the block.

    Raises:
        BadConfiguration: naming the address and why not.
    """
    try:
        if isinstance(address, TcpAddress):
            listeners = await trio.open_tcp_listeners(address.port, host=address.host or None, backlog=LISTEN_BACKLOG)
        else:
            listeners = [await _listen_unix(address.path)]
    except OSError as exc:
        raise BadConfiguration(f"cannot listen on {address}: {exc.strerror or exc}") from exc
    ours = os.lstat(address.path) if isinstance(address, UnixAddress) else None
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
