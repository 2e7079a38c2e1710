"""The two ends of the unix socket between the supervisor and a worker: messages out and in, questions and answers.

What waits to be sent goes out in one write, and what arrives together is handled together, so that under load a message
costs little more than its bytes. Does not know what the messages mean.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import trio

from .messages import Message, NotAMessage, Reader, encode

RECEIVE_BYTES = 1 << 16
#: As much may wait to be sent, in bytes; a peer that is so far behind is not there any more.
MAX_WAITING_BYTES = 64 << 20
#: How long an answer may take that the other side gives at once, in seconds.
ANSWER_S = 10.0


class ChannelClosed(Exception):
    """The other process has ended, or hangs."""


#: Answers a question; may be called later, and not at all. Where nobody asked, it does nothing.
Reply = Callable[[Message], None]


class Channel:
    """One end.

    Args:
        sock: connected, this process's own.
        handle: what is done with a message that is no answer; whatever it raises ends ``run``.
    """

    def __init__(self, sock: socket.socket, handle: Callable[[Message, Reply], None]) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._handle = handle
        self._questions: dict[int, Callable[[Message | None], None]] = {}
        self._last_number = 0
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        #: Whoever reads messages sends what is to be said to them, in one write once all of them are read.
        self._reading = False
        self._something_waits = trio.Event()
        self._nothing_waits = trio.Event()
        self._closed = False
        self._scope = trio.CancelScope()

    def tell(self, message: Message) -> None:
        """Send a message in its turn; nothing where the other process is gone."""
        self._put(encode(message))

    def question(self, message: Message, answered: Callable[[Message | None], None]) -> None:
        """Ask; ``answered`` is called as soon as the answer is there, or with ``None`` once there will be none."""
        if self._closed:
            answered(None)
            return
        self._last_number += 1
        self._questions[self._last_number] = answered
        self._put(encode(message, self._last_number))

    async def ask(self, message: Message, *, within_s: float = ANSWER_S) -> Message:
        """Ask, and wait for the answer.

        Raises:
            ChannelClosed: there is none.
            trio.TooSlowError: there is none in the time.
        """
        answers: list[Message | None] = []
        there = trio.Event()

        def answered(answer: Message | None) -> None:
            answers.append(answer)
            there.set()

        self.question(message, answered)
        with trio.fail_after(within_s):
            await there.wait()
        if answers[0] is None:
            raise ChannelClosed
        return answers[0]

    async def run(self) -> None:
        """Send and receive until the other side closes.

        Raises:
            NotAMessage: it sent none.
            Exception: what ``handle`` raises.
        """
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send)
                    await self._receive()
                    nursery.cancel_scope.cancel()
        finally:
            self._closed = True
            self._nothing_waits.set()
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
            questions, self._questions = self._questions, {}
            for answered in questions.values():
                answered(None)

    def flush(self) -> None:
        """Send now what can be sent without waiting."""
        if not self._waiting or self._closed:
            return
        data = b"".join(self._waiting)
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:  # whoever receives notices that; the peer's last words may still be there to be read
            sent = len(data)
        rest = data[sent:]
        self._waiting[:] = [rest] if rest else []
        self._waiting_bytes = len(rest)
        if not rest:
            self._nothing_waits.set()
            self._nothing_waits = trio.Event()

    async def all_sent(self) -> None:
        """Wait until nothing waits to be sent."""
        while self._waiting and not self._closed:
            await self._nothing_waits.wait()

    def _put(self, data: bytes) -> None:
        if self._closed:
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > MAX_WAITING_BYTES:
            self._scope.cancel()
        if not self._reading:
            self._something_waits.set()

    async def _send(self) -> None:
        while True:
            await self._something_waits.wait()
            self._something_waits = trio.Event()
            self.flush()
            while self._waiting:
                await trio.lowlevel.wait_writable(self._socket)
                self.flush()

    async def _receive(self) -> None:
        reader = Reader()
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except ConnectionError:
                return
            if not data:
                return
            self._reading = True
            try:
                for number, message in reader.receive(data):
                    if number < 0:
                        answered = self._questions.pop(-number, None)
                        if answered is None:
                            raise NotAMessage(f"an answer to no question: {type(message).__name__}")
                        answered(message)
                    else:
                        self._handle(message, self._reply_to(number))
            finally:
                self._reading = False
            self.flush()
            if self._waiting:
                self._something_waits.set()

    def _reply_to(self, number: int) -> Reply:
        def reply(message: Message) -> None:
            if number:
                self._put(encode(message, -number))

        return reply
