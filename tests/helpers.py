"""What the tests of the HTTP half share: a key and tokens, a site on a fixed date, a whole front door in memory."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import ParamSpec, TypeVar
from urllib.parse import quote

import h11
import trio

from trio_cpvm import errors
from trio_cpvm.authority import Authority, InThisProcess
from trio_cpvm.config import Config, SessionConfig
from trio_cpvm.errors import ConsoleError
from trio_cpvm.front import AnswersClients, Front
from trio_cpvm.gate import Gate
from trio_cpvm.metrics import Metrics
from trio_cpvm.models import ConsoleTarget, Secret
from trio_cpvm.registry import SessionRegistry
from trio_cpvm.session import Session
from trio_cpvm.site import Dial, PublicSite
from trio_cpvm.static import PageFiles
from trio_cpvm.testing import HttpAnswer
from trio_cpvm.token import TokenKey, TokenReader, mint_token

P = ParamSpec("P")
T = TypeVar("T")

KEY = TokenKey(bytes(range(16)), bytes(range(16, 32)))
#: The time of day at every gate made here.
NOW = 1_800_000_000.0
PASSWORD = "pa55word"
TARGET = ConsoleTarget(
    host="192.0.2.5",
    port=5901,
    password=Secret(PASSWORD),
    vm_id="vm-1",
    name="Web 1",
    session_uuid="uuid-1",
    not_after=NOW + 60,
)
HEAD_TIMEOUT_S = 10.0


def within(seconds: float) -> Callable[[Callable[P, Awaitable[None]]], Callable[P, Awaitable[None]]]:
    """Put a limit around an async test, so that a deadlock fails instead of hanging."""

    def decorate(test: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
        @functools.wraps(test)
        async def limited(*args: P.args, **kwargs: P.kwargs) -> None:
            with trio.fail_after(seconds):
                await test(*args, **kwargs)

        return limited

    return decorate


def url(path: str, target: ConsoleTarget = TARGET, *, key: TokenKey = KEY) -> str:
    """A path with a fresh token for that target."""
    return f"{path}?token={quote(mint_token(target, key), safe='')}"


@functools.cache
def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback address."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections and is nobody else's for the length of the block."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def no_host(target: ConsoleTarget, _: trio.Nursery) -> trio.abc.Stream:
    """The way to a host that is not there."""
    raise ConsoleError(errors.UPSTREAM_UNREACHABLE, f"no host at {target.address} in this test")


@functools.cache
def built_pages() -> PageFiles:
    """The page as it is built into the package."""
    return PageFiles()


def make_gate(*, check_source_ip: bool = False) -> Gate:
    """A gate that opens tokens of ``KEY`` and thinks it is ``NOW``."""
    return Gate(tokens=TokenReader(keys=(KEY,)), check_source_ip=check_source_ip, now=lambda: NOW)


def make_site(config: Config | None = None, *, dial: Dial = no_host) -> PublicSite:
    """A public site behind such a gate."""
    config = config or Config()
    gate = make_gate(check_source_ip=config.session.check_source_ip)
    metrics = Metrics()
    admission = make_admission(config, metrics=metrics)
    return PublicSite(config=config, gate=gate, admission=admission, pages=built_pages(), dial=dial, metrics=metrics)


def make_admission(config: Config, *, metrics: Metrics | None = None) -> InThisProcess:
    """Who decides about a site's consoles."""
    authority: Authority[Session] = Authority(config, metrics=metrics)
    return InThisProcess(authority)


def authority_of(site: PublicSite) -> Authority[Session]:
    """Who decides about its consoles, in this process."""
    assert isinstance(site.admission, InThisProcess)
    return site.admission.authority


def registry_of(site: PublicSite) -> SessionRegistry[Session]:
    """Its running sessions."""
    return authority_of(site).registry


def make_registry(config: SessionConfig | None = None) -> SessionRegistry[Session]:
    """A registry of sessions of this process."""
    return SessionRegistry(config or SessionConfig())


def at_once(coroutine: Coroutine[object, object, T]) -> T:
    """What a coroutine returns or raises, which must not wait for anything."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waits for something")


def make_front(site: AnswersClients | None = None, *, max_connections: int = 100) -> Front:
    """A front door; ``connected(front.handle)`` is a connection to it."""
    return Front(site=site or make_site(), head_timeout_s=HEAD_TIMEOUT_S, max_connections=max_connections)


def parse_answers(raw: bytes, *methods: str) -> list[HttpAnswer]:
    """The answers to requests of these methods (one GET, by default), and not a byte more or less."""
    answers = []
    for method in methods or ("GET",):
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(raw)
        head = client.next_event()
        assert isinstance(head, h11.Response), head
        body = b""
        while isinstance(event := client.next_event(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage), event
        headers = tuple((name.decode("ascii"), value.decode("ascii")) for name, value in head.headers)
        answers.append(HttpAnswer(head.status_code, headers, body))
        raw = client.trailing_data[0]
    assert raw == b""
    return answers


async def read_to_end(stream: trio.abc.ReceiveStream) -> bytes:
    """Everything until the peer closes its side."""
    data = b""
    while chunk := await stream.receive_some():
        data += chunk
    return data
