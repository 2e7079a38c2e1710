"""The channel between two processes, both ends here: questions, answers, floods, and the end of the other side."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

from tests.helpers import within
from trio_cpvm.workers import channel as module
from trio_cpvm.workers.channel import Channel, ChannelClosed, Reply
from trio_cpvm.workers.messages import Done, Failed, LimitReached, Message, NotAMessage, Ping, Recorded, encode

timely = within(20)


def deaf(_: Message, __: Reply) -> None:
    pass


@contextlib.asynccontextmanager
async def channels(handle: Callable[[Message, Reply], None]) -> AsyncIterator[tuple[Channel, Channel]]:
    """Two ends; ``handle`` is the second one's."""
    ours, theirs = socket.socketpair()
    one, other = Channel(ours, deaf), Channel(theirs, handle)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        nursery.start_soon(other.run)
        yield one, other
        nursery.cancel_scope.cancel()


@timely
async def test_each_question_gets_its_own_answer() -> None:
    kept: list[tuple[Message, Reply]] = []

    def handle(message: Message, reply: Reply) -> None:
        kept.append((message, reply))
        if len(kept) == 3:
            for said, answer in reversed(kept):
                answer(said)

    async with channels(handle) as (one, _), trio.open_nursery() as nursery:

        async def ask(word: str) -> None:
            assert await one.ask(Recorded(word)) == Recorded(word)

        for word in "abc":
            nursery.start_soon(ask, word)


@timely
async def test_messages_keep_their_order_and_need_no_answer() -> None:
    heard: list[Message] = []

    def handle(message: Message, reply: Reply) -> None:
        heard.append(message)
        reply(Done())  # nobody has asked, but for the last

    async with channels(handle) as (one, _):
        sent = [LimitReached(str(number)) for number in range(1000)]
        for message in sent:
            one.tell(message)
        await one.ask(Ping())
        assert heard == [*sent, Ping()]


@timely
async def test_what_waits_goes_out_in_one_write() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        one = Channel(ours, deaf)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.run)
            for _ in range(100):
                one.tell(Ping())
            await trio.testing.wait_all_tasks_blocked()
            assert theirs.recv(1 << 20) == encode(Ping()) * 100
            one.tell(Done())
            one.flush()
            assert theirs.recv(1 << 20) == encode(Done())
            nursery.cancel_scope.cancel()


@timely
async def test_more_than_the_socket_takes_arrives_whole() -> None:
    long = Failed("x" * (1 << 20), bad_configuration=False)
    async with channels(lambda message, reply: reply(message)) as (one, _):
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                assert await one.ask(long) == long

            for _ in range(4):
                nursery.start_soon(ask)
        await one.all_sent()


@timely
async def test_a_peer_that_reads_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 1 << 20)
    ours, theirs = socket.socketpair()
    with theirs:
        one = Channel(ours, deaf)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.run)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(4):
                one.tell(Failed("x" * (1 << 19), bad_configuration=False))
        with pytest.raises(ChannelClosed):
            await one.ask(Ping())


@timely
async def test_the_end_of_the_other_side_answers_all_questions() -> None:
    ours, theirs = socket.socketpair()
    one = Channel(ours, deaf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)

        async def ask() -> None:
            with pytest.raises(ChannelClosed):
                await one.ask(Ping())

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        theirs.close()
    one.tell(Ping())
    await ask()
    await one.all_sent()


@timely
async def test_the_last_words_of_the_other_side_are_heard() -> None:
    heard: list[Message] = []
    ours, theirs = socket.socketpair()
    theirs.sendall(encode(Failed("why", bad_configuration=True)))
    theirs.close()
    one = Channel(ours, lambda message, _: heard.append(message))
    one.tell(Ping())  # breaks, since nobody is there
    await one.run()
    assert heard == [Failed("why", bad_configuration=True)]


@timely
@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\0\0\0\1x", encode(Done(), -5)])
async def test_who_says_something_else_is_not_listened_to(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(data)
        with pytest.RaisesGroup(NotAMessage):
            await Channel(ours, deaf).run()
        assert theirs.recv(1) == b""


@timely
async def test_whoever_does_not_answer_is_late() -> None:
    async with channels(deaf) as (one, _):
        with pytest.raises(trio.TooSlowError):
            await one.ask(Ping(), within_s=0.01)
