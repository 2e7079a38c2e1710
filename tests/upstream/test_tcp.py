"""Dialling over loopback and against a resolver of the test's own: who may be reached, and what is said otherwise."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeAlias

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from tests.upstream.bounds import bounded
from trio_cpvm.addresses import Network
from trio_cpvm.config import UpstreamConfig
from trio_cpvm.errors import ConsoleError
from trio_cpvm.testing import EchoForever, ScriptedVncServer, listening
from trio_cpvm.upstream import dial_tcp, forbidden, tcp
from trio_cpvm.upstream.tcp import STAGGER_S

EVERYWHERE = UpstreamConfig().allowed_networks


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_Answer: TypeAlias = (
    tuple[Literal[socket.AddressFamily.AF_INET], socket.SocketKind, int, str, tuple[str, int]]
    | tuple[
        Literal[socket.AddressFamily.AF_INET6],
        socket.SocketKind,
        int,
        str,
        tuple[str, int, int, int] | tuple[int, bytes],
    ]
)


class Names(trio.abc.HostnameResolver):
    """Answers every name with the same IPv4 addresses, or never."""

    def __init__(self, *addresses: str, hangs: bool = False) -> None:
        self.addresses = addresses
        self.hangs = hangs
        self.asked: list[str] = []

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002 -- trio's name
        proto: int = 0,
        flags: int = 0,
    ) -> list[_Answer]:
        self.asked.append((host or b"").decode())
        if self.hangs:
            await trio.sleep(3600)
        number = int(port or 0)
        return [
            (socket.AddressFamily.AF_INET, socket.SOCK_STREAM, 6, "", (address, number)) for address in self.addresses
        ]

    async def getnameinfo(self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int) -> tuple[str, str]:
        raise NotImplementedError("nobody asks for names")


async def refusal(
    host: str, port: int, allowed: Sequence[Network] = EVERYWHERE, timeout_s: float = 10
) -> tuple[str, str]:
    with pytest.raises(ConsoleError) as caught:
        await dial_tcp(host, port, allowed=allowed, timeout_s=timeout_s)
    return caught.value.reason.slug, caught.value.detail


async def test_it_connects() -> None:
    async with listening(ScriptedVncServer.playing(EchoForever()).serve) as (host, port):
        async with await dial_tcp(host, port, allowed=EVERYWHERE, timeout_s=5) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
            assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_closed_port_is_unreachable() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        slug, detail = await refusal("127.0.0.1", port)
    assert slug == "upstream-unreachable"
    assert detail == f"no TCP connection to 127.0.0.1:{port}: Connection refused"


async def test_a_forbidden_address_is_not_even_tried() -> None:
    touched = trio.Event()

    async def serve(_: trio.abc.Stream) -> None:
        touched.set()

    async with listening(serve) as (host, port):
        slug, detail = await refusal(host, port, networks("10.0.0.0/8", "::/0"))
        assert slug == "upstream-forbidden"
        assert host in detail
        await trio.testing.wait_all_tasks_blocked()
        assert not touched.is_set()


async def test_a_name_is_judged_by_its_addresses() -> None:
    names = Names("127.0.0.1", "10.1.2.3")
    trio.socket.set_custom_hostname_resolver(names)
    slug, detail = await refusal("inside.test", 5900, networks("192.0.2.0/24"))
    assert slug == "upstream-forbidden"
    assert "127.0.0.1, 10.1.2.3" in detail


async def test_a_name_is_resolved_once_and_only_allowed_addresses_are_tried() -> None:
    names = Names("10.255.255.1", "127.0.0.1")
    trio.socket.set_custom_hostname_resolver(names)
    async with listening(ScriptedVncServer.playing(EchoForever()).serve) as (_, port):
        with trio.fail_after(5):
            async with await dial_tcp("vm.test", port, allowed=networks("127.0.0.0/8"), timeout_s=60) as stream:
                assert stream.socket.getpeername() == ("127.0.0.1", port)
    assert names.asked == ["vm.test"]


async def test_the_next_address_is_tried_where_one_refuses() -> None:
    trio.socket.set_custom_hostname_resolver(Names("127.0.0.2", "127.0.0.1"))
    async with listening(ScriptedVncServer.playing(EchoForever()).serve) as (_, port):
        async with await dial_tcp("vm.test", port, allowed=EVERYWHERE, timeout_s=5) as stream:
            assert stream.socket.getpeername()[0] == "127.0.0.1"


async def test_a_resolver_that_hangs_is_a_timeout(autojump_clock: MockClock) -> None:
    trio.socket.set_custom_hostname_resolver(Names(hangs=True))
    slug, detail = await refusal("vm.test", 5900, timeout_s=10)
    assert slug == "upstream-timeout"
    assert detail == "no TCP connection to vm.test:5900 within 10 s"


async def test_a_name_without_addresses_is_forbidden_rather_than_a_crash() -> None:
    trio.socket.set_custom_hostname_resolver(Names())
    assert (await refusal("vm.test", 5900))[0] in ("upstream-forbidden", "upstream-unreachable")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 300, "a..b", "", "bad host", "-", "1.2.3.4.5"])
async def test_names_that_are_none_are_unreachable(host: str) -> None:
    slug, _ = await refusal(host, 9, networks("192.0.2.0/24"))
    assert slug in ("upstream-unreachable", "upstream-forbidden")


@pytest.mark.parametrize(
    ("address", "allowed", "verdict"),
    [
        ("10.0.0.1", ["10.0.0.0/8"], False),
        ("11.0.0.1", ["10.0.0.0/8"], True),
        ("10.0.0.1", ["::/0"], True),
        ("::1", ["0.0.0.0/0"], True),
        ("::ffff:10.0.0.1", ["10.0.0.0/8"], False),
        ("::ffff:11.0.0.1", ["10.0.0.0/8", "::/0"], True),
        ("fd00::1", ["fd00::/8"], False),
        ("10.0.0.1", [], True),
    ],
)
def test_what_is_forbidden(address: str, allowed: list[str], verdict: bool) -> None:
    assert forbidden(ipaddress.ip_address(address), networks(*allowed)) is verdict


Answer: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]


class Addresses:
    """What answers at each address, in place of a network.

    Attributes:
        tried: the addresses connected to, each with the time since the start.
        opened: the streams given out.
        pending: attempts that have neither connected nor failed.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.tried: list[tuple[str, float]] = []
        self.opened: dict[str, trio.abc.Stream] = {}
        self.pending: set[str] = set()
        self._started = trio.current_time()

    def put(self, address: str, answer: Answer) -> None:
        self.answers[address] = answer

    async def open(self, address: str, port: int) -> trio.abc.Stream:
        self.tried.append((address, round(trio.current_time() - self._started, 3)))
        self.pending.add(address)
        try:
            stream = self.opened[address] = await self.answers[address]()
        finally:
            self.pending.discard(address)
        return stream


async def at_once() -> trio.abc.Stream:
    await trio.lowlevel.checkpoint()
    return memory_stream_pair()[0]


async def never() -> trio.abc.Stream:
    await trio.Event().wait()
    raise AssertionError


def fails(number: int, after_s: float = 0) -> Answer:
    async def answer() -> trio.abc.Stream:
        await trio.sleep(after_s)
        raise OSError(number, os.strerror(number))

    return answer


def connects(after_s: float) -> Answer:
    async def answer() -> trio.abc.Stream:
        await trio.sleep(after_s)
        return await at_once()

    return answer


@pytest.fixture
async def addresses(monkeypatch: pytest.MonkeyPatch) -> Addresses:
    found = Addresses()
    monkeypatch.setattr(tcp, "connect_to", found.open)
    return found


async def closed(stream: trio.abc.Stream) -> bool:
    try:
        await stream.send_all(b"x")
    except trio.ClosedResourceError:
        return True
    return False


async def dial(timeout_s: float = 10) -> trio.abc.Stream:
    return await dial_tcp("vm.test", 5900, allowed=EVERYWHERE, timeout_s=timeout_s)


@bounded(60)
async def test_a_black_hole_delays_the_next_address_by_no_more_than_the_stagger(
    addresses: Addresses, autojump_clock: MockClock
) -> None:
    trio.socket.set_custom_hostname_resolver(Names("192.0.2.1", "192.0.2.2", "192.0.2.3"))
    addresses.answers.update({"192.0.2.1": never, "192.0.2.2": never, "192.0.2.3": at_once})
    started = trio.current_time()
    stream = await dial()
    assert stream is addresses.opened["192.0.2.3"]
    assert trio.current_time() - started == pytest.approx(2 * STAGGER_S)
    assert addresses.tried == [("192.0.2.1", 0), ("192.0.2.2", STAGGER_S), ("192.0.2.3", 2 * STAGGER_S)]
    assert not addresses.pending
    assert not await closed(stream)


@bounded(60)
async def test_a_refusal_delays_the_next_address_by_nothing(addresses: Addresses, autojump_clock: MockClock) -> None:
    trio.socket.set_custom_hostname_resolver(Names("192.0.2.1", "192.0.2.2"))
    addresses.answers.update({"192.0.2.1": fails(errno.ECONNREFUSED), "192.0.2.2": at_once})
    await dial()
    assert addresses.tried == [("192.0.2.1", 0), ("192.0.2.2", 0)]


@bounded(60)
async def test_a_slow_first_address_may_still_win(addresses: Addresses, autojump_clock: MockClock) -> None:
    trio.socket.set_custom_hostname_resolver(Names("192.0.2.1", "192.0.2.2"))
    addresses.answers.update({"192.0.2.1": connects(0.5), "192.0.2.2": connects(0.5)})
    assert await dial() is addresses.opened["192.0.2.1"]
    assert "192.0.2.2" not in addresses.opened
    assert not addresses.pending


@bounded(60)
async def test_of_two_that_answer_at_once_the_loser_is_closed(addresses: Addresses, autojump_clock: MockClock) -> None:
    trio.socket.set_custom_hostname_resolver(Names("192.0.2.1", "192.0.2.2"))
    ready = trio.Event()

    async def together() -> trio.abc.Stream:
        await ready.wait()
        return memory_stream_pair()[0]

    addresses.answers.update({"192.0.2.1": together, "192.0.2.2": together})
    async with trio.open_nursery() as nursery:

        async def release() -> None:
            await trio.sleep(1)
            ready.set()

        nursery.start_soon(release)
        stream = await dial()
    assert len(addresses.opened) == 2
    (loser,) = (other for other in addresses.opened.values() if other is not stream)
    assert await closed(loser)
    assert not await closed(stream)


@bounded(60)
async def test_where_all_fail_the_last_says_why(addresses: Addresses, autojump_clock: MockClock) -> None:
    trio.socket.set_custom_hostname_resolver(Names("192.0.2.1", "192.0.2.2"))
    addresses.answers.update({"192.0.2.1": fails(errno.EHOSTUNREACH, 2), "192.0.2.2": fails(errno.ECONNREFUSED)})
    slug, detail = await refusal("vm.test", 5900)
    assert (slug, detail) == ("upstream-unreachable", "no TCP connection to vm.test:5900: No route to host")


@bounded(60)
async def test_time_up_with_several_addresses_leaves_nothing_behind(
    addresses: Addresses, autojump_clock: MockClock
) -> None:
    trio.socket.set_custom_hostname_resolver(Names("192.0.2.1", "192.0.2.2"))
    addresses.answers.update({"192.0.2.1": never, "192.0.2.2": never})
    assert (await refusal("vm.test", 5900, timeout_s=3))[0] == "upstream-timeout"
    assert len(addresses.tried) == 2
    assert not addresses.pending
    assert not addresses.opened


@bounded(60)
async def test_a_connection_that_comes_with_the_cancellation_is_closed(
    addresses: Addresses, autojump_clock: MockClock
) -> None:
    trio.socket.set_custom_hostname_resolver(Names("192.0.2.1", "192.0.2.2"))

    async def last_moment() -> trio.abc.Stream:
        await trio.sleep(0.1)
        scope.cancel()
        return memory_stream_pair()[0]

    addresses.put("192.0.2.1", last_moment)
    with trio.CancelScope() as scope:
        await dial()
    assert scope.cancelled_caught
    assert await closed(addresses.opened["192.0.2.1"])


@bounded(10)
async def test_addresses_spelled_twice_are_tried_once() -> None:
    trio.socket.set_custom_hostname_resolver(Names(*["127.0.0.1"] * 40))
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        slug, _ = await refusal("vm.test", held.getsockname()[1])
    assert slug == "upstream-unreachable"


@bounded(60)
async def test_a_name_with_a_hundred_addresses_is_not_walked_to_the_end(
    addresses: Addresses, autojump_clock: MockClock
) -> None:
    names = [f"192.0.2.{i}" for i in range(1, 101)]
    trio.socket.set_custom_hostname_resolver(Names(*names))
    addresses.answers.update({name: fails(errno.ECONNREFUSED) for name in names})
    assert (await refusal("vm.test", 5900))[0] == "upstream-unreachable"
    assert [address for address, _ in addresses.tried] == names[:16]
