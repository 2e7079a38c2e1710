"""The gate: which requests get a console, the order of the checks, and single use that cannot be raced."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast
from urllib.parse import quote

import attrs
import pytest

from tests.helpers import KEY, NOW, TARGET, at_once
from trio_cpvm import errors
from trio_cpvm.addresses import parse_trusted_proxy
from trio_cpvm.authority import Authority, InThisProcess
from trio_cpvm.config import Config, TokenConfig
from trio_cpvm.errors import ConsoleError, Reason
from trio_cpvm.gate import Gate
from trio_cpvm.http import Request
from trio_cpvm.limits import Limit
from trio_cpvm.models import Clipboard, ConsoleTarget, Secret, SessionEnd
from trio_cpvm.session import Session
from trio_cpvm.token import TokenKey, TokenReader, mint_token
from trio_cpvm.token.again import SecondChances

CLIENT = "192.0.2.9"
EXTRA = "a b+c/ä=%41"


def asking(target: ConsoleTarget = TARGET, more: str = "") -> Request:
    return Request(method="GET", path="/novnc", query=f"token={quote(mint_token(target, KEY), safe='')}{more}")


@attrs.define(eq=False)
class Seen:
    """What the authority knows of a session; it runs nowhere."""

    id: str
    client: str
    target: ConsoleTarget
    resumes: bool = False
    ending: bool = False
    looks_on: bool = False
    drains_at: float | None = None
    bytes_up: int = 0
    bytes_down: int = 0

    def look_on(self, on: bool) -> None:
        self.looks_on = on

    def end(self, reason: Reason, detail: str = "", *, by: str = "") -> None:
        self.ending = True


class Door:
    """A gate with the authority behind it, both in this process, so that nothing is ever waited for."""

    def __init__(
        self, gate: Gate, *, clock: Callable[[], float] = time.monotonic, authority: Authority[Seen] | None = None
    ) -> None:
        self.gate = gate
        self.authority: Authority[Seen] = authority or Authority(
            Config(token=TokenConfig(max_failures=0)), now=gate.now, clock=clock
        )
        self.admission = InThisProcess(cast("Authority[Session]", self.authority))

    def reloaded(self, reconnect_window_s: float) -> Door:
        """Another gate before the same authority, as after a reload."""
        return Door(attrs.evolve(self.gate, reconnect_window_s=reconnect_window_s), authority=self.authority)

    def look(self, request: Request, client: str) -> ConsoleTarget:
        return at_once(self.gate.look(request, client, self.admission))

    def enter(self, target: ConsoleTarget, client: str, session_id: str = "s") -> Seen:
        """Open the console, with a token that was just looked at."""
        asking = self.gate._asking(target, client, "")
        session = Seen(session_id, client, target)
        self.authority.admit(asking, session)
        return session

    def use_up(self, target: ConsoleTarget, client: str) -> None:
        """Open the console, and close it."""
        self.leave(self.enter(target, client))

    def leave(self, session: Seen, *, broken: bool = False) -> None:
        self.authority.release(session, SessionEnd(reason=errors.CLOSED_BY_USER, broken=broken), None)

    def may_resume(self, target: ConsoleTarget, client: str) -> bool:
        return self.authority.may_resume(self.gate._asking(target, client, ""))


def gate(*, check_source_ip: bool = False, single_use: bool = True, now: float = NOW) -> Door:
    tokens = TokenReader(keys=(KEY,), clock_skew_s=5)
    return Door(Gate(tokens=tokens, check_source_ip=check_source_ip, single_use=single_use, now=lambda: now))


def refusal(gate: Door, request: Request, client: str = CLIENT) -> Reason:
    with pytest.raises(ConsoleError) as caught:
        gate.look(request, client)
    return caught.value.reason


def test_a_good_token_gives_its_target() -> None:
    assert gate().look(asking(), CLIENT) == TARGET


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", errors.TOKEN_MISSING),
        ("token=", errors.TOKEN_MISSING),
        ("toke=x", errors.TOKEN_MISSING),
        ("token=x", errors.TOKEN_INVALID),
        ("token=%00", errors.TOKEN_INVALID),
        ("token=" + "A" * 9000, errors.TOKEN_INVALID),
        ("token=" + quote(mint_token(TARGET, TokenKey.generate())), errors.TOKEN_INVALID),
        ("token=x&token=" + quote(mint_token(TARGET, KEY)), errors.TOKEN_INVALID),
    ],
)
def test_tokens_that_are_none(query: str, reason: Reason) -> None:
    assert refusal(gate(), Request(method="GET", path="/novnc", query=query)) is reason


@pytest.mark.parametrize(("late_s", "expired"), [(-1, False), (5, False), (5.5, True), (1e6, True)])
def test_a_token_lives_until_its_end_and_the_clocks_difference(late_s: float, expired: bool) -> None:
    assert TARGET.not_after is not None
    late = gate(now=TARGET.not_after + late_s)
    if expired:
        assert refusal(late, asking()) is errors.TOKEN_EXPIRED
    else:
        assert late.look(asking(), CLIENT) == TARGET


def test_what_the_user_may_not_comes_with_the_target() -> None:
    target = attrs.evolve(TARGET, view_only=True, clipboard=Clipboard.NONE, clipboard_max_bytes=10)
    assert gate().look(asking(target), CLIENT) == target


@pytest.mark.parametrize(
    ("source_ip", "client", "right"),
    [
        ("192.0.2.9", "192.0.2.9", True),
        ("192.0.2.9", "192.0.2.10", False),
        ("192.0.2.9", "::ffff:192.0.2.9", True),
        ("::ffff:192.0.2.9", "192.0.2.9", True),
        ("2001:DB8:0::1", "2001:db8::1", True),
        ("2001:db8::1", "2001:db8::2", False),
        ("", "192.0.2.9", False),
        ("192.0.2.9", "local", False),
        ("local", "local", False),
        ("192.0.2.9", "unknown", False),
        ("192.0.2.0/24", "192.0.2.9", False),
    ],
)
def test_the_source_address_counts_where_it_is_asked_for(source_ip: str, client: str, right: bool) -> None:
    request = asking(attrs.evolve(TARGET, source_ip=source_ip))
    assert gate().look(request, client).host == TARGET.host
    if right:
        assert gate(check_source_ip=True).look(request, client).host == TARGET.host
    else:
        assert refusal(gate(check_source_ip=True), request, client) is errors.SOURCE_IP_MISMATCH


@pytest.mark.parametrize(
    ("more", "right"),
    [
        (f"&extra={EXTRA}", True),
        (f"&extra={quote(EXTRA, safe='')}", True),
        (f"&extra={quote(EXTRA)}&x=1", True),
        ("", False),
        ("&extra=", False),
        ("&extra=wrong", False),
        (f"&extra={EXTRA}x", False),
        (f"&EXTRA={EXTRA}", False),
        (f"&extra=wrong&extra={EXTRA}", False),
    ],
)
def test_the_extra_token_has_to_match_raw_or_decoded(more: str, right: bool) -> None:
    request = asking(attrs.evolve(TARGET, extra_token=Secret(EXTRA)), more)
    if right:
        assert gate().look(request, CLIENT).extra_token == Secret(EXTRA)
    else:
        assert refusal(gate(), request) is errors.EXTRA_TOKEN_MISMATCH


def test_an_extra_token_that_nobody_asks_for_does_no_harm() -> None:
    assert gate().look(asking(more="&extra=anything"), CLIENT) == TARGET


def test_looking_uses_nothing_up_and_using_does_it_once() -> None:
    g = gate()
    for _ in range(3):
        target = g.look(asking(), CLIENT)
    g.use_up(target, CLIENT)
    assert refusal(g, asking()) is errors.TOKEN_USED
    with pytest.raises(ConsoleError) as caught:
        g.use_up(target, CLIENT)
    assert caught.value.reason is errors.TOKEN_USED


def test_of_two_that_have_both_looked_one_gets_in() -> None:
    g = gate()
    first, second = g.look(asking(), CLIENT), g.look(asking(), CLIENT)
    g.use_up(first, CLIENT)
    with pytest.raises(ConsoleError) as caught:
        g.use_up(second, CLIENT)
    assert caught.value.reason is errors.TOKEN_USED


def test_tokens_are_used_up_one_by_one() -> None:
    g = gate()
    g.use_up(g.look(asking(), CLIENT), CLIENT)
    other = asking(attrs.evolve(TARGET, session_uuid="uuid-2"))
    g.use_up(g.look(other, CLIENT), CLIENT)
    assert refusal(g, other) is errors.TOKEN_USED


@pytest.mark.parametrize(("single_use", "session_uuid"), [(False, "uuid-1"), (True, ""), (False, "")])
def test_tokens_that_may_be_used_again(single_use: bool, session_uuid: str) -> None:
    g = gate(single_use=single_use)
    for _ in range(3):
        g.use_up(g.look(asking(attrs.evolve(TARGET, session_uuid=session_uuid)), CLIENT), CLIENT)


def test_a_used_token_stays_used_until_it_has_expired() -> None:
    assert TARGET.not_after is not None
    moment = [NOW]
    g = Door(Gate(tokens=TokenReader(keys=(KEY,), clock_skew_s=5), now=lambda: moment[0]), clock=lambda: moment[0])
    g.use_up(g.look(asking(), CLIENT), CLIENT)
    for now, reason in [
        (TARGET.not_after, errors.TOKEN_USED),
        (TARGET.not_after + 5, errors.TOKEN_USED),
        (TARGET.not_after + 6, errors.TOKEN_EXPIRED),
    ]:
        moment[0] = now
        other = attrs.evolve(TARGET, session_uuid=str(now), not_after=now)
        g.use_up(other, CLIENT)  # where used ones are forgotten
        assert refusal(g, asking()) is reason


def test_the_first_fault_counts_in_the_order_of_the_checks() -> None:
    g = gate(check_source_ip=True)
    good = attrs.evolve(TARGET, source_ip=CLIENT, extra_token=Secret("e"))
    g.use_up(good, CLIENT)
    used = asking(good, "&extra=e")
    assert refusal(g, used) is errors.TOKEN_USED
    assert refusal(g, asking(good, "&extra=x")) is errors.EXTRA_TOKEN_MISMATCH
    assert refusal(g, asking(good, "&extra=x"), "192.0.2.1") is errors.SOURCE_IP_MISMATCH
    expired = attrs.evolve(good, not_after=NOW - 60)
    assert refusal(g, asking(expired, "&extra=x"), "192.0.2.1") is errors.TOKEN_EXPIRED


# -- a console whose connection broke ----------------------------------------------------------------------------------


@attrs.define
class Clock:
    """The time of day, as the test wants it."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def opened_gate(clock: Clock, *, window_s: float = 60) -> tuple[Door, Seen]:
    """A gate whose one token has its console open."""
    tokens = TokenReader(keys=(KEY,), clock_skew_s=5)
    g = Door(Gate(tokens=tokens, reconnect_window_s=window_s, now=clock), clock=clock)
    return g, g.enter(g.look(asking(), CLIENT), CLIENT, "one")


def test_a_broken_console_is_there_again_for_a_while_for_its_own_address() -> None:
    clock = Clock()
    g, one = opened_gate(clock)
    g.leave(one, broken=True)
    assert refusal(g, asking(), "192.0.2.10") is errors.TOKEN_USED
    clock.now += 60
    assert g.look(asking(), CLIENT) == TARGET
    assert g.look(asking(), f"::ffff:{CLIENT}") == TARGET
    assert g.may_resume(TARGET, CLIENT)
    clock.now += 0.5
    assert refusal(g, asking()) is errors.TOKEN_USED
    assert not g.may_resume(TARGET, CLIENT)


def test_that_holds_past_the_token_s_end() -> None:
    clock = Clock()
    g, one = opened_gate(clock)
    clock.now += 3600
    g.leave(one, broken=True)
    assert g.look(asking(), CLIENT) == TARGET
    two = g.enter(TARGET, CLIENT, "two")
    assert two.resumes
    assert refusal(g, asking(), "192.0.2.10") is errors.TOKEN_EXPIRED
    g.leave(two, broken=True)
    clock.now += 61
    assert refusal(g, asking()) is errors.TOKEN_EXPIRED


def test_a_late_token_is_judged_once_more_when_its_console_is_opened() -> None:
    """Another request may have taken the chance in between, and used tokens are forgotten at their end."""
    clock = Clock()
    g, one = opened_gate(clock)
    clock.now += 3600
    g.leave(one, broken=True)
    g.look(asking(), CLIENT)
    clock.now += 61
    with pytest.raises(ConsoleError) as caught:
        g.enter(TARGET, CLIENT, "two")
    assert caught.value.reason is errors.TOKEN_EXPIRED


def test_who_may_not_come_back_is_late_whatever_else_is_wrong() -> None:
    clock = Clock()
    g, one = opened_gate(clock)
    g.gate.check_source_ip = True
    clock.now += 3600
    assert refusal(g, asking()) is errors.SOURCE_IP_MISMATCH, "as far as anybody knows it broke just now"
    g.leave(one)
    assert refusal(g, asking()) is errors.TOKEN_EXPIRED


def test_each_break_gives_one_more_chance_and_a_proper_end_none() -> None:
    g, one = opened_gate(Clock())
    two = g.enter(g.look(asking(), CLIENT), CLIENT, "two")  # the browser may know of a break before the proxy does
    assert one.ending
    g.leave(one)  # somebody else's news by now
    assert g.look(asking(), CLIENT) == TARGET
    g.leave(two)
    assert refusal(g, asking()) is errors.TOKEN_USED


def test_the_window_that_counts_is_the_one_in_force() -> None:
    """The gate that let a console in is not the one that its user comes back to, if a reload lies between."""
    clock = Clock()
    old, one = opened_gate(clock, window_s=60)
    shorter, none = (old.reloaded(window_s) for window_s in (10, 0))
    assert refusal(none, asking()) is errors.TOKEN_USED
    old.leave(one, broken=True)
    clock.now += 9
    assert shorter.look(asking(), CLIENT) == TARGET
    assert refusal(none, asking()) is errors.TOKEN_USED
    clock.now += 2
    assert refusal(shorter, asking()) is errors.TOKEN_USED


def test_without_a_window_there_is_no_second_chance() -> None:
    g, one = opened_gate(Clock(), window_s=0)
    g.leave(one, broken=True)
    assert refusal(g, asking()) is errors.TOKEN_USED


def test_chances_are_bounded_and_the_oldest_go_first() -> None:
    chances = SecondChances(capacity=2)
    for number in range(3):
        chances.opened(str(number), "s", CLIENT)
    assert len(chances) == 2
    assert [chances.has(str(number), CLIENT, window_s=60, now=NOW) for number in range(3)] == [False, True, True]


class Clocks:
    """The time of day, which somebody may set, and seconds that never go back."""

    def __init__(self) -> None:
        self.wall = NOW
        self.steady = 1000.0


def clocked(clocks: Clocks, *, reconnect_window_s: float = 0.0, max_failures: int = 0) -> Door:
    tokens = TokenReader(keys=(KEY,))
    door = Door(
        Gate(tokens=tokens, reconnect_window_s=reconnect_window_s, now=lambda: clocks.wall),
        clock=lambda: clocks.steady,
    )
    door.authority.failures.set_limits(max_failures, 60)
    return door


@pytest.mark.parametrize("jump_s", [-3600, 30])
def test_the_reconnect_window_does_not_move_with_the_time_of_day(jump_s: float) -> None:
    clocks = Clocks()
    door = clocked(clocks, reconnect_window_s=20)
    door.leave(door.enter(TARGET, CLIENT), broken=True)
    clocks.wall += jump_s
    clocks.steady += 19
    assert door.may_resume(TARGET, CLIENT)
    clocks.steady += 2
    assert not door.may_resume(TARGET, CLIENT)


# -- bad tokens -------------------------------------------------------------------------------------------------------


def waiting_s(door: Door, request: Request, client: str = CLIENT) -> int | None:
    """How long the client has to wait; ``None`` if another reason refuses it."""
    with pytest.raises(ConsoleError) as caught:
        door.look(request, client)
    if caught.value.reason is not errors.TOO_MANY_ATTEMPTS:
        return None
    assert caught.value.limit is Limit.BAD_TOKENS
    return caught.value.retry_after_s


BAD = Request(method="GET", path="/novnc", query="token=x")
LOCKED = attrs.evolve(TARGET, extra_token=Secret("right"))


@pytest.mark.parametrize("guess", [BAD, asking(LOCKED, "&extra=wrong")], ids=["token", "extra token"])
def test_who_guesses_too_often_has_to_wait_even_with_a_good_token(
    guess: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks()
    door = clocked(clocks, max_failures=3)
    for _ in range(3):
        assert waiting_s(door, guess) is None
        clocks.steady += 10
    clocks.wall += 3600  # somebody sets the clock
    with monkeypatch.context() as patched:
        patched.setattr(TokenReader, "read", None)  # nothing is decrypted
        assert waiting_s(door, asking()) == 30
        assert waiting_s(door, guess) == 30
    clocks.wall -= 3600
    assert door.look(asking(), "192.0.2.10") == TARGET
    assert refusal(door, Request(method="GET", path="/novnc", query="")) is errors.TOKEN_MISSING
    clocks.steady += 30
    assert door.look(asking(), CLIENT) == TARGET
    assert waiting_s(door, guess) is None
    assert waiting_s(door, asking()) == 10, "the two that came later still count"


def test_one_ipv6_network_is_one_guesser() -> None:
    door = clocked(Clocks(), max_failures=2)
    assert waiting_s(door, BAD, "2001:db8::1") is None
    assert waiting_s(door, BAD, "2001:db8::2") is None
    assert waiting_s(door, asking(), "2001:db8::3") == 60
    assert door.look(asking(), "2001:db8:0:1::3") == TARGET


@pytest.mark.parametrize("nobody", ["local", "unknown", "10.0.0.7"])
def test_peers_without_an_address_of_their_own_are_many_people(nobody: str) -> None:
    door = clocked(Clocks(), max_failures=1)
    door.gate.trusted_proxies = [parse_trusted_proxy("10.0.0.0/24")]
    for _ in range(5):
        assert waiting_s(door, BAD, nobody) is None
    assert door.look(asking(), nobody) == TARGET


def test_what_honest_users_run_into_is_no_guess() -> None:
    clocks = Clocks()
    door = clocked(clocks, max_failures=1)
    door.gate.check_source_ip = True
    for_me = attrs.evolve(TARGET, source_ip=CLIENT)
    door.use_up(for_me, CLIENT)
    assert refusal(door, asking(for_me)) is errors.TOKEN_USED
    assert refusal(door, asking(attrs.evolve(TARGET, source_ip="192.0.2.1"))) is errors.SOURCE_IP_MISMATCH
    assert refusal(door, asking(attrs.evolve(TARGET, not_after=NOW - 100))) is errors.TOKEN_EXPIRED
    assert refusal(door, Request(method="GET", path="/novnc", query="")) is errors.TOKEN_MISSING
    assert door.look(asking(attrs.evolve(for_me, session_uuid="another")), CLIENT).session_uuid == "another"


def test_a_guesser_is_logged_once_however_often_it_asks(caplog: pytest.LogCaptureFixture) -> None:
    door = clocked(Clocks(), max_failures=2)
    for _ in range(50):
        waiting_s(door, BAD)
    (line,) = [record.msg for record in caplog.records if record.name == "trio_cpvm.gate"]
    assert isinstance(line, dict)
    assert line == {**line, "event": "address has to wait", "client": CLIENT, "wait_s": 60}
