"""A VNC server over plain TCP: resolve, check every address against the allowed networks, connect to one of them.

Names are resolved once: what is connected to is an address that was checked, so that a name server cannot lead the
proxy elsewhere in between.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Sequence
from typing import TypeAlias

import trio

from .. import errors
from ..addresses import Network
from ..errors import ConsoleError
from ..limits import Limit
from ..models import format_address
from ..streams import keep_alive

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

#: A name with more addresses than this is no console host.
MAX_ADDRESSES = 16
#: How long one address may take before the next is tried beside it, in seconds (RFC 8305 section 5).
STAGGER_S = 0.25


async def dial_tcp(host: str, port: int, *, allowed: Sequence[Network], timeout_s: float) -> trio.SocketStream:
    """Connect to ``host:port``.

    Args:
        host: a name or an address.
        port: TCP port.
        allowed: the networks that may be connected to; IPv4-mapped IPv6 addresses count as IPv4.
        timeout_s: seconds for resolving and connecting together.

    Raises:
        ConsoleError: ``upstream-unreachable``, ``upstream-timeout`` or ``upstream-forbidden``. Nothing is left open,
            also when cancelled.
    """
    where = format_address(host, port)
    try:
        with trio.fail_after(timeout_s):
            candidates = _literal(host) or await _resolve(host, port)
            usable = [address for address in candidates if not forbidden(address, allowed)]
            if not usable:
                names = ", ".join(map(str, candidates))
                raise ConsoleError(errors.UPSTREAM_FORBIDDEN, f"{where} ({names}) is outside upstream.allowed_networks")
            if len(usable) == 1:
                stream = await connect_to(str(usable[0]), port)
            else:
                stream = await _first_that_answers(usable, port)
            keep_alive(stream)
            return stream
    except trio.TooSlowError:
        detail = f"no TCP connection to {where} within {timeout_s:g} s"
        raise ConsoleError(errors.UPSTREAM_TIMEOUT, detail, limit=Limit.CONNECT_TIME) from None
    except OSError as exc:
        if (ours := out_of_resources(exc)) is not None:
            raise ours from exc
        raise ConsoleError(errors.UPSTREAM_UNREACHABLE, f"no TCP connection to {where}: {_words(exc)}") from exc


def out_of_resources(exc: OSError) -> ConsoleError | None:
    """What a failed connection means where it is this proxy that has no room for it; ``None`` where it is the host."""
    numbers = _numbers(exc)
    if not numbers & {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
        return None
    limit = Limit.OPEN_FILES if numbers & {errno.EMFILE, errno.ENFILE} else None
    return ConsoleError(errors.INTERNAL_ERROR, f"this proxy has no resources left: {_words(exc)}", limit=limit)


def forbidden(address: _Address, allowed: Sequence[Network]) -> bool:
    """Whether an address lies outside all of the allowed networks."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    return not any(address.version == network.version and address in network for network in allowed)


async def connect_to(address: str, port: int) -> trio.SocketStream:
    """Connect to one address.

    ``trio.open_tcp_stream`` could do it, in two nurseries, as if it were a name with many addresses.

    Raises:
        OSError: what the system says.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        number = sock.connect_ex((address, port))
        if number == errno.EINPROGRESS:
            await trio.lowlevel.wait_writable(sock)
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        return trio.SocketStream(trio.socket.from_stdlib_socket(sock))
    except BaseException:
        sock.close()
        raise


def _literal(host: str) -> list[_Address]:
    """The address, where the host is one: there is nothing to resolve. Those with a zone are left to the resolver."""
    try:
        return [] if "%" in host else [ipaddress.ip_address(host)]
    except ValueError:
        return []


async def _resolve(host: str, port: int) -> list[_Address]:
    """Every address of a host, in the resolver's order, without doubles."""
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except ValueError as exc:  # a label too long for DNS, a NUL
        raise OSError(f"not a host name: {exc}") from exc
    return list(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))[:MAX_ADDRESSES]


async def _first_that_answers(addresses: Sequence[_Address], port: int) -> trio.SocketStream:
    """Happy eyeballs (RFC 8305) over addresses that have been checked: the next one starts when one has failed or is
    slow, and the first connection wins. Raises the ``OSError`` of the last to fail.
    """
    winner: trio.SocketStream | None = None
    last: OSError | None = None

    async def attempt(address: _Address, failed: trio.Event, scope: trio.CancelScope) -> None:
        nonlocal winner, last
        try:
            stream = await connect_to(str(address), port)
        except OSError as exc:
            last = exc
            failed.set()
            return
        if winner is None:
            winner = stream
            scope.cancel()
        else:  # two at once
            await trio.aclose_forcefully(stream)

    try:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(attempt, address, failed, nursery.cancel_scope)
                with trio.move_on_after(STAGGER_S):
                    await failed.wait()
    except BaseException:
        if winner is not None:  # it came in the same moment as the cancellation
            await trio.aclose_forcefully(winner)
        raise
    if winner is not None:
        return winner
    raise last or OSError("no address")


def _numbers(exc: OSError) -> set[int]:
    """The error numbers; trio wraps the errors of its attempts into one group."""
    causes = exc.__cause__.exceptions if isinstance(exc.__cause__, BaseExceptionGroup) else (exc,)
    return {cause.errno for cause in causes if isinstance(cause, OSError) and cause.errno}


def _words(exc: OSError) -> str:
    """What the system said."""
    return exc.strerror or ", ".join(os.strerror(number) for number in sorted(_numbers(exc))) or str(exc)
