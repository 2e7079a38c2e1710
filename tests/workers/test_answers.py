"""What the supervisor does with what a worker says; without processes."""

from __future__ import annotations

import json
from collections.abc import Mapping

import attrs
import pytest
import trio

from tests.helpers import NOW, TARGET
from trio_cpvm import errors
from trio_cpvm.access.memory import AccessMemory
from trio_cpvm.asking import Asking, plain_target
from trio_cpvm.authority import Authority
from trio_cpvm.config import Config, SessionConfig, TokenConfig
from trio_cpvm.limiter import FailureLimiter
from trio_cpvm.metrics import Metrics
from trio_cpvm.models import ConsoleTarget
from trio_cpvm.session import Session
from trio_cpvm.workers.answers import Answers, Shared
from trio_cpvm.workers.messages import (
    AccessAnswered,
    Admit,
    Admitted,
    Bytes,
    Details,
    Done,
    End,
    Ended,
    Guess,
    LimitReached,
    Look,
    LookOn,
    MayResume,
    Message,
    NotAMessage,
    Ping,
    Recorded,
    Refused,
    RequestRefused,
    Truth,
    UseSignature,
    Waits,
    Withdrawn,
    decode,
)
from trio_cpvm.workers.remote_session import RemoteSession

VIEWED = attrs.evolve(TARGET, session_uuid="", user="alice")


def asking(target: ConsoleTarget = VIEWED, *, window_s: float = 0.0) -> Asking:
    return Asking(
        client="192.0.2.9",
        target=plain_target(target),
        guesser="192.0.2.9",
        single_use=bool(target.session_uuid),
        late_s=0.0,
        lives_s=60.0,
        window_s=window_s,
    )


class Supervisor:
    """An authority and two workers, of which it is known what they are told."""

    def __init__(self, config: Config | None = None) -> None:
        self.metrics = Metrics()
        config = config or Config()
        self.authority: Authority[RemoteSession] = Authority(config, metrics=self.metrics)
        self.told: dict[int, list[Message]] = {1: [], 2: []}
        memory = AccessMemory(FailureLimiter(1, 60), now=lambda: NOW)
        self.shared = Shared(authority=self.authority, callers=memory, metrics=self.metrics, tell_all=self._tell_all)
        self.workers = {number: Answers(number, self.shared, self.told[number].append) for number in (1, 2)}

    def _tell_all(self, message: Message) -> None:
        for told in self.told.values():
            told.append(message)

    def say(self, message: Message, worker: int = 1) -> Message | None:
        """What a worker is answered."""
        answers: list[Message] = []
        self.workers[worker].handle(message, answers.append)
        assert len(answers) <= 1
        return answers[0] if answers else None

    def counted(self, name: str) -> float:
        (line,) = [line for line in self.metrics.exposition().decode().splitlines() if line.startswith(f"{name} ")]
        return float(line.rpartition(" ")[2])


def refusal(answer: Message | None) -> str | None:
    return answer.slug if isinstance(answer, Refused) else None


async def test_a_token_is_used_up_for_all_workers() -> None:
    s, once = Supervisor(), asking(attrs.evolve(TARGET, session_uuid="once"))
    assert s.say(Look(once)) == Done()
    assert s.say(Admit("a", once)) == Admitted(resumes=False, looks_on=False)
    assert refusal(s.say(Look(once), 2)) == "token-used"
    assert refusal(s.say(Admit("b", once), 2)) == "token-used"
    assert [one.worker for one in s.authority.registry] == [1]


async def test_a_viewer_of_another_worker_is_told_to_go() -> None:
    s = Supervisor()
    s.say(Admit("a", asking()))
    assert s.say(Admit("b", asking()), 2) == Admitted(resumes=False, looks_on=False)
    assert s.told == {1: [End("a", "replaced", "by session b, 'alice' from 192.0.2.9", "alice")], 2: []}


async def test_who_types_is_decided_for_all_and_told_once() -> None:
    s = Supervisor(Config(session=SessionConfig(second_viewer="share", shared_input="first")))
    assert s.say(Admit("a", asking())) == Admitted(resumes=False, looks_on=False)
    assert s.say(Admit("b", asking()), 2) == Admitted(resumes=False, looks_on=True)
    assert s.told == {1: [], 2: []}
    s.say(Ended("a", "closed-by-user", "", 0, 0, 1.0, False, "", None))
    assert s.told == {1: [], 2: [LookOn("b", False)]}


async def test_limits_hold_for_all_and_name_themselves() -> None:
    s = Supervisor(Config(session=SessionConfig(max_sessions=1, second_viewer="share")))
    s.say(Admit("a", asking()))
    answer = s.say(Look(asking()), 2)
    assert answer == Refused("too-many-sessions", "session.max_sessions = 1", "session.max_sessions", 0)


async def test_bad_tokens_count_for_all_workers() -> None:
    s = Supervisor(Config(token=TokenConfig(max_failures=2)))
    for worker in (1, 2):
        assert s.say(Guess("token", "192.0.2.9"), worker) == Done()
    waits = Waits("token", "192.0.2.9", 60)
    assert s.told == {1: [waits], 2: [waits]}
    answer = s.say(Admit("a", asking()), 2)
    assert isinstance(answer, Refused)
    assert (answer.slug, answer.limit, answer.retry_after_s) == ("too-many-attempts", "token.max_failures", 60)
    s.say(Guess("access", "192.0.2.1"))
    assert s.told[2][-1] == Waits("access", "192.0.2.1", 60)


async def test_a_signature_counts_once_for_all_workers() -> None:
    s = Supervisor()
    assert s.say(UseSignature("bob", "mark", 60.0)) == Truth(True)
    assert s.say(UseSignature("bob", "mark", 60.0), 2) == Truth(False)
    for number in range(100_000 - 1):
        s.shared.callers.use("bob", str(number), lives_s=60)
    assert s.say(UseSignature("bob", "one more", 60.0)) == Truth(None)


async def test_events_are_counted() -> None:
    s = Supervisor()
    s.say(RequestRefused("page", "not-found"))
    s.say(LimitReached("server.max_connections"))
    s.say(AccessAnswered(302), 2)
    assert s.counted('trio_cpvm_requests_refused_total{kind="page",reason="not-found"}') == 1
    assert s.counted('trio_cpvm_limit_reached_total{limit="server.max_connections"}') == 1
    assert s.counted('trio_cpvm_access_answers_total{status="302"}') == 1
    assert s.shared.turned_away == 1


# -- the end of sessions, and of workers -------------------------------------------------------------------------------


def records(caplog: pytest.LogCaptureFixture) -> list[Mapping[str, object]]:
    return [
        record.msg for record in caplog.records if record.name == "trio_cpvm.audit" and isinstance(record.msg, dict)
    ]


async def test_an_ended_session_is_counted_and_may_come_back_if_it_broke(caplog: pytest.LogCaptureFixture) -> None:
    s, once = Supervisor(), asking(attrs.evolve(TARGET, session_uuid="once"), window_s=60)
    s.say(Admit("a", once))
    s.say(Recorded("a"))
    s.say(Ended("a", "closed-by-guest", "it broke", 3, 4, 1.5, True, "", 0.5))
    assert s.say(MayResume(once), 2) == Truth(True)
    assert s.say(Admit("b", once), 2) == Admitted(resumes=True, looks_on=False)
    assert s.counted("trio_cpvm_sessions_started_total") == 2
    assert s.counted('trio_cpvm_sessions_ended_total{reason="closed-by-guest",side="upstream"}') == 1
    assert s.counted("trio_cpvm_session_duration_seconds_sum") == 1.5
    assert records(caplog) == [], "the worker has written it"


async def test_what_a_dead_worker_had_is_over(caplog: pytest.LogCaptureFixture) -> None:
    s = Supervisor(Config(session=SessionConfig(second_viewer="share")))
    once = asking(attrs.evolve(TARGET, session_uuid="once"), window_s=60)
    for name, worker, wanted in (("a", 1, asking()), ("b", 1, once), ("c", 2, asking())):
        s.say(Admit(name, wanted), worker)
    s.say(Recorded("a"))
    values: list[object] = ["b", "relay", "VM", "VncAuth(2)", "no TLS", False, 1.0, None, None, None, 0.25, 7, 9]
    assert s.workers[1].note(Details(5, [values])) == 5
    assert s.workers[1].lose_all("it died") == 2
    assert [one.id for one in s.authority.registry] == ["c"]
    assert s.say(Look(once), 2) == Done(), "its user may come back"
    (record,) = records(caplog)
    assert (record["session"], record["reason"], record["detail"]) == ("b", "internal-error", "it died")
    assert (record["name"], record["security"], record["phase"], record["bytes_up"]) == ("VM", "VncAuth(2)", "relay", 7)
    assert s.counted('trio_cpvm_sessions_ended_total{reason="internal-error",side="internal"}') == 2
    assert s.counted("trio_cpvm_handshake_duration_seconds_count") == 1


async def test_its_record_has_the_fields_of_every_other_record(caplog: pytest.LogCaptureFixture) -> None:
    s = Supervisor()
    s.say(Admit("a", asking()))
    s.workers[1].lose_all("it died")
    Session(target=VIEWED, client="192.0.2.9").never_opened()
    ours, theirs = records(caplog)
    assert list(ours) == list(theirs)
    same = {"user", "client", "vm", "name", "host", "view_only", "resumes", "security", "transport", "opened_after_s"}
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}


async def test_a_session_that_was_let_in_too_late_is_recorded(caplog: pytest.LogCaptureFixture) -> None:
    s = Supervisor()
    s.say(Admit("a", asking()))
    s.say(Withdrawn("a"))
    assert len(s.authority.registry) == 0
    assert [record["detail"] for record in records(caplog)] == ["its worker was too busy to begin it"]


@pytest.mark.parametrize(
    "message",
    [
        Ping(),
        Recorded("of the other"),
        Ended("of the other", "killed", "", 0, 0, 0.0, False, "", None),
        Ended("mine", "no-such-reason", "", 0, 0, 0.0, False, "", None),
        Ended("mine", "killed", "", 0, 0, 0.0, False, "no such limit", None),
        Withdrawn("nobody"),
        Admit("mine", asking()),
        RequestRefused("pie", "not-found"),
        RequestRefused("page", "no-such-reason"),
        LimitReached("no such limit"),
        Guess("pie", "192.0.2.1"),
    ],
    ids=repr,
)
async def test_what_no_worker_says(message: Message) -> None:
    s = Supervisor()
    s.say(Admit("mine", asking()))
    s.say(Admit("of the other", asking(attrs.evolve(VIEWED, vm_id="other"))), 2)
    with pytest.raises(NotAMessage):
        s.say(message)


@pytest.mark.parametrize(
    "answer",
    [
        ["Done"],
        ["Details", "x", []],
        ["Details", 1, [[1]]],
        ["Bytes", 1, [["mine"]]],
        ["Bytes", 1, [["mine", "x", 0]]],
        ["Bytes", 1, 7],
    ],
    ids=repr,
)
async def test_reports_that_are_none(answer: list[object]) -> None:
    s = Supervisor()
    s.say(Admit("mine", asking()))
    _, message = decode(json.dumps([answer[0], 0, *answer[1:]]).encode())
    with pytest.raises(NotAMessage):
        s.workers[1].note(message)


async def test_what_runs_is_told_with_what_it_has_relayed() -> None:
    s = Supervisor()
    s.say(Admit("a", asking()))
    assert s.workers[1].note(Bytes(7, [("a", 100, 200), ("gone", 1, 1)])) == 7
    assert s.authority.registry.bytes_relayed == {"up": 100, "down": 200}
    s.say(Ended("a", "closed-by-user", "", 101, 202, 1.0, False, "", None))
    assert s.authority.registry.bytes_relayed == {"up": 0, "down": 0}


async def test_it_looks_like_a_session_of_ones_own() -> None:
    s = Supervisor()
    s.say(Admit("a", asking()))
    (theirs,) = s.authority.registry
    ours = Session(target=VIEWED, client="192.0.2.9")
    for name in ("client", "phase", "name", "established", "transport", "resumes", "looks_on", "ending", "drains_at"):
        assert getattr(theirs, name) == getattr(ours, name), name
    assert attrs.evolve(theirs.standing) == ours.standing
    assert theirs.age_s == pytest.approx(0, abs=5)
    theirs.end(errors.KILLED, "d")
    assert theirs.ending
    assert s.told[1] == [End("a", "killed", "d", "")]
    assert trio.current_time() > 0
