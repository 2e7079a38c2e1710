"""The running sessions: how many, whose, of which machine, who makes room for whom, and waiting for their end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import TARGET, make_registry, within
from trio_cpvm import errors
from trio_cpvm.config import SessionConfig
from trio_cpvm.errors import ConsoleError, Reason
from trio_cpvm.limits import Limit
from trio_cpvm.models import ConsoleTarget
from trio_cpvm.registry import SessionRegistry
from trio_cpvm.session import Session

timely = within(60)

ALICE, BOB = "192.0.2.1", "192.0.2.2"


def machine(name: str, *, needs_new_viewer: bool = False) -> ConsoleTarget:
    return attrs.evolve(TARGET, vm_id=name, needs_new_viewer=needs_new_viewer)


class Watched(Session):
    """A session that does nothing but remember why it was ended."""

    def end(self, reason: Reason, detail: str = "", *, by: str = "") -> None:
        super().end(reason, detail, by=by)
        self.why = (reason, detail)
        self.by = by


def session(target: ConsoleTarget = TARGET, client: str = ALICE) -> Watched:
    return Watched(target=target, client=client)


def why(session: Watched) -> Reason | None:
    return session.why[0] if hasattr(session, "why") else None


@contextlib.contextmanager
def running(registry: SessionRegistry[Session], *sessions: Session) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for one in sessions:
            stack.enter_context(registry.running(one))
        yield


def refusal(registry: SessionRegistry[Session], target: ConsoleTarget = TARGET, client: str = ALICE) -> Reason | None:
    """Why that session may not start; ``None`` if it may."""
    try:
        registry.check_room(client, target)
    except ConsoleError as error:
        return error.reason
    return None


@timely
async def test_sessions_count_while_they_run() -> None:
    registry = make_registry(SessionConfig())
    one, other = session(machine("a")), session(machine("b"))
    with running(registry, one, other):
        assert len(registry) == 2
        assert list(registry) == [one, other]
        assert registry.get(one.id) is one
        assert registry.get("nobody") is None
    assert len(registry) == 0
    assert registry.get(one.id) is None


@timely
async def test_a_session_that_fails_leaves_nothing_behind() -> None:
    registry = make_registry(SessionConfig(max_sessions=1, max_sessions_per_client=1, second_viewer="refuse"))
    with pytest.raises(RuntimeError), registry.running(session()):
        raise RuntimeError
    assert len(registry) == 0
    assert refusal(registry) is None


# -- how many ----------------------------------------------------------------------------------------------------------


@timely
async def test_there_is_room_up_to_the_limit() -> None:
    registry = make_registry(SessionConfig(max_sessions=2, max_sessions_per_client=0))
    assert refusal(registry, machine("a")) is None
    with running(registry, session(machine("a"))):
        assert refusal(registry, machine("b")) is None
        with running(registry, session(machine("b"))):
            assert refusal(registry, machine("c"), BOB) is errors.TOO_MANY_SESSIONS
        assert refusal(registry, machine("c"), BOB) is None


@timely
async def test_each_client_has_a_limit_of_its_own() -> None:
    registry = make_registry(SessionConfig(max_sessions_per_client=2))
    with running(registry, session(machine("a")), session(machine("b"))):
        assert refusal(registry, machine("c")) is errors.TOO_MANY_SESSIONS
        assert refusal(registry, machine("c"), BOB) is None
    assert refusal(registry, machine("c")) is None


@timely
async def test_the_addresses_of_one_ipv6_network_are_one_client() -> None:
    registry = make_registry(SessionConfig(max_sessions_per_client=2))
    with running(registry, session(machine("a"), "2001:db8::1"), session(machine("b"), "2001:db8::2")):
        assert refusal(registry, machine("c"), "2001:db8::3") is errors.TOO_MANY_SESSIONS
        assert refusal(registry, machine("b"), "2001:db8::3") is None  # in place of one of them
        assert refusal(registry, machine("c"), "2001:db8:0:1::3") is None
    assert refusal(registry, machine("c"), "2001:db8::3") is None


@timely
async def test_no_limit_per_client_is_none() -> None:
    registry = make_registry(SessionConfig(max_sessions_per_client=0))
    with running(registry, *[session(machine(str(number))) for number in range(100)]):
        assert refusal(registry, machine("x")) is None


@timely
@pytest.mark.parametrize(
    ("limits", "client"),
    [
        (SessionConfig(max_sessions=1), ALICE),
        (SessionConfig(max_sessions=1), BOB),
        (SessionConfig(max_sessions_per_client=1), ALICE),
    ],
)
async def test_a_viewer_takes_the_place_of_the_one_it_replaces(limits: SessionConfig, client: str) -> None:
    registry = make_registry(limits)
    with running(registry, session(machine("a"))):
        assert refusal(registry, machine("a"), client) is None
        assert refusal(registry, machine("b"), ALICE) is errors.TOO_MANY_SESSIONS


@timely
@pytest.mark.parametrize("limits", [SessionConfig(max_sessions=1), SessionConfig(max_sessions_per_client=1)])
@pytest.mark.parametrize(("first", "second"), [(True, True), (True, False), (False, True)])
async def test_a_viewer_that_replaces_nobody_takes_a_place_of_its_own(
    limits: SessionConfig, first: bool, second: bool
) -> None:
    registry = make_registry(limits)
    with running(registry, session(machine("a", needs_new_viewer=first))):
        assert refusal(registry, machine("a", needs_new_viewer=second)) is errors.TOO_MANY_SESSIONS


@timely
async def test_sharing_viewers_take_a_place_each() -> None:
    registry = make_registry(SessionConfig(max_sessions=2, second_viewer="share"))
    with running(registry, session(), session()):
        assert refusal(registry) is errors.TOO_MANY_SESSIONS


@timely
async def test_replacing_somebody_elses_viewer_does_not_lift_a_clients_own_limit() -> None:
    registry = make_registry(SessionConfig(max_sessions_per_client=1))
    with running(registry, session(machine("a"), ALICE), session(machine("b"), BOB)):
        assert refusal(registry, machine("b"), ALICE) is errors.TOO_MANY_SESSIONS


@timely
@pytest.mark.parametrize(
    ("second_viewer", "new_viewers"), [("share", False), ("share", True), ("replace", True), ("refuse", True)]
)
async def test_each_machine_has_a_limit_of_its_own(second_viewer: str, new_viewers: bool) -> None:
    registry = make_registry(SessionConfig(second_viewer=second_viewer, max_sessions_per_machine=2))
    one = machine("a", needs_new_viewer=new_viewers)
    with running(registry, session(one, ALICE), session(one, BOB)):
        with pytest.raises(ConsoleError) as caught:
            registry.check_room(BOB, one)
        assert caught.value.reason is errors.TOO_MANY_SESSIONS
        assert caught.value.limit is Limit.SESSIONS_PER_MACHINE
        assert caught.value.detail == "session.max_sessions_per_machine = 2"
        assert refusal(registry, machine("b", needs_new_viewer=new_viewers)) is None
    assert refusal(registry, one) is None


@timely
async def test_no_limit_per_machine_is_none() -> None:
    registry = make_registry(
        SessionConfig(second_viewer="share", max_sessions_per_client=0, max_sessions_per_machine=0)
    )
    with running(registry, *[session() for _ in range(100)]):
        assert refusal(registry) is None


@timely
async def test_a_viewer_that_replaces_another_needs_no_room_at_the_machine() -> None:
    registry = make_registry(SessionConfig(max_sessions_per_machine=1))
    with running(registry, session()):
        assert refusal(registry) is None
        assert refusal(registry, attrs.evolve(TARGET, needs_new_viewer=True)) is errors.TOO_MANY_SESSIONS


# -- second viewers ----------------------------------------------------------------------------------------------------


@timely
@pytest.mark.parametrize(
    ("second_viewer", "first", "second", "replaced"),
    [
        ("replace", False, False, True),
        ("replace", True, False, False),
        ("replace", False, True, False),
        ("replace", True, True, False),
        ("share", False, False, False),
        ("refuse", False, False, False),
    ],
)
async def test_who_replaces_whom(second_viewer: str, first: bool, second: bool, replaced: bool) -> None:
    registry = make_registry(SessionConfig(second_viewer=second_viewer))
    old, new = session(machine("a", needs_new_viewer=first)), session(machine("a", needs_new_viewer=second), BOB)
    with running(registry, old):
        assert why(old) is None
        with registry.running(new):
            assert why(old) is (errors.REPLACED if replaced else None)
            assert why(new) is None


@timely
async def test_the_replaced_is_told_by_whom() -> None:
    registry = make_registry(SessionConfig())
    old, new = session(), session(client=BOB)
    with running(registry, old, new):
        assert old.why == (errors.REPLACED, f"by session {new.id}, {BOB}")
        assert old.by == ""
        named = session(attrs.evolve(TARGET, user="bob"), BOB)
        with registry.running(named):
            assert new.why == (errors.REPLACED, f"by session {named.id}, 'bob' from {BOB}")
            assert new.by == "bob"


@timely
async def test_all_viewers_of_the_machine_are_replaced_and_no_others() -> None:
    registry = make_registry(SessionConfig())
    old, older = session(machine("a")), session(machine("a"))
    apart, foreign = session(machine("a", needs_new_viewer=True)), session(machine("b"))
    with running(registry, older, old, apart, foreign, session(machine("a"))):
        assert [why(one) for one in (older, old, apart, foreign)] == [errors.REPLACED, errors.REPLACED, None, None]


@timely
async def test_machines_without_an_id_are_told_apart_by_their_address() -> None:
    registry = make_registry(SessionConfig())
    here, there = attrs.evolve(TARGET, vm_id=""), attrs.evolve(TARGET, vm_id="", port=5902)
    first, second = session(here), session(there)
    with running(registry, first, second, session(here)):
        assert (why(first), why(second)) == (errors.REPLACED, None)


@timely
async def test_a_machine_with_a_viewer_may_refuse_the_next_one() -> None:
    registry = make_registry(SessionConfig(second_viewer="refuse"))
    with running(registry, session(machine("a"))):
        assert refusal(registry, machine("a"), BOB) is errors.TOO_MANY_SESSIONS
        assert refusal(registry, machine("b"), BOB) is None
    assert refusal(registry, machine("a"), BOB) is None


# -- the end -----------------------------------------------------------------------------------------------------------


@timely
async def test_draining_refuses_all_that_is_new() -> None:
    registry = make_registry(SessionConfig(max_sessions=1))
    with running(registry, session()):
        registry.draining = True
        assert refusal(registry) is errors.DRAINING
        assert refusal(registry, machine("b"), BOB) is errors.DRAINING


@timely
async def test_every_session_knows_when_a_drain_ends_it() -> None:
    registry = make_registry(SessionConfig())
    early, late = session(), session(machine("b"))
    with running(registry, early):
        assert not early.drains_at
        registry.start_drain(60)
        assert refusal(registry) is errors.DRAINING
        with running(registry, late):  # its request had passed every check before
            assert [early.drains_at, late.drains_at] == [60, 60]


# -- other limits while sessions run -----------------------------------------------------------------------------------


@timely
async def test_other_limits_hold_for_who_comes_next() -> None:
    registry = make_registry(SessionConfig(max_sessions=5, max_sessions_per_client=5))
    one, two = session(machine("a")), session(machine("b"))
    with running(registry, one, two):
        assert refusal(registry) is None
        registry.configure(SessionConfig(max_sessions=1, max_sessions_per_client=5))
        assert refusal(registry) is errors.TOO_MANY_SESSIONS
        assert not one.ending
        assert not two.ending
        registry.configure(SessionConfig(max_sessions=5, max_sessions_per_client=2))
        assert refusal(registry) is errors.TOO_MANY_SESSIONS
        assert refusal(registry, client=BOB) is None
        registry.configure(SessionConfig(second_viewer="refuse"))
        assert refusal(registry, machine("a")) is errors.TOO_MANY_SESSIONS


@timely
async def test_who_only_looked_on_types_once_all_may() -> None:
    registry = make_registry(SessionConfig(second_viewer="share", shared_input="first"))
    one, two = session(), session()
    with running(registry, one, two):
        assert (one.looks_on, two.looks_on) == (False, True)
        registry.configure(SessionConfig(second_viewer="share", shared_input="all"))
        assert (one.looks_on, two.looks_on) == (False, False)


@timely
async def test_ending_all_says_how_many_there_were() -> None:
    registry = make_registry(SessionConfig())
    one, other = session(machine("a")), session(machine("b"))
    assert registry.end_all(errors.DRAINING) == 0
    with running(registry, one, other):
        assert registry.end_all(errors.DRAINING) == 2
    assert (why(one), why(other)) == (errors.DRAINING, errors.DRAINING)


@timely
async def test_waiting_ends_with_the_last_session(autojump_clock: MockClock) -> None:
    registry = make_registry(SessionConfig())

    async def run(seconds: float) -> None:
        with registry.running(session(machine(str(seconds)))):
            await trio.sleep(seconds)

    async with trio.open_nursery() as nursery:
        for seconds in (1, 5, 3):
            nursery.start_soon(run, seconds)
        await trio.testing.wait_all_tasks_blocked()
        await registry.wait_empty()
        assert trio.current_time() == 5
    await registry.wait_empty()


async def test_viewers_that_say_goodbye_make_room_only_once() -> None:
    registry = make_registry(SessionConfig(max_sessions=2))
    with contextlib.ExitStack() as running:
        for _ in range(3):  # the second replaces the first, the third the second; both are still there
            registry.check_room(ALICE, TARGET)
            running.enter_context(registry.running(session()))
        with pytest.raises(ConsoleError) as caught:
            registry.check_room(ALICE, TARGET)
        assert caught.value.reason is errors.TOO_MANY_SESSIONS


@timely
async def test_the_first_viewer_types_until_it_leaves() -> None:
    registry = make_registry(SessionConfig(second_viewer="share", shared_input="first"))
    looker = session(attrs.evolve(TARGET, view_only=True))
    one, two, three = session(), session(), session()
    elsewhere = session(machine("another"))
    with registry.running(looker), registry.running(elsewhere):
        with contextlib.ExitStack() as others:
            with running(registry, one):
                others.enter_context(running(registry, two, three))
                assert [one.looks_on, two.looks_on, three.looks_on] == [False, True, True]
            assert [two.looks_on, three.looks_on] == [False, True]
            two.end(errors.KILLED)
            with running(registry, session()):
                assert not three.looks_on, "who says goodbye does not type"
        assert not elsewhere.looks_on


@timely
async def test_all_viewers_type_unless_configured_otherwise() -> None:
    registry = make_registry(SessionConfig(second_viewer="share"))
    one, two = session(), session()
    with running(registry, one, two):
        assert not one.looks_on
        assert not two.looks_on


@timely
async def test_a_viewer_that_replaces_the_first_one_types() -> None:
    registry = make_registry(SessionConfig(shared_input="first"))
    one, two = session(), session()
    with running(registry, one, two):
        assert why(one) is errors.REPLACED
        assert not two.looks_on
