"""The workers' processes: started, watched over, replaced when they die, and ended.

Knows processes and channels; what is said on these is ``answers``' business, and the daemon's as a whole
``supervisor``'s.
"""

from __future__ import annotations

import contextlib
import math
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

import attrs
import trio

from ..errors import BadConfiguration
from ..logger import get_logger
from .answers import Answers, Shared
from .channel import Channel, ChannelClosed, Reply
from .connections import SharedConnections
from .messages import (
    Discard,
    Drain,
    Failed,
    Finish,
    Message,
    NotAMessage,
    Ping,
    Prepare,
    Prepared,
    Ready,
    Settle,
    Start,
    Take,
    TellBytes,
    TellDetails,
)

log = get_logger("trio_cpvm.supervisor")

#: What is run.
PROGRAM = "trio_cpvm.workers"
#: How often a worker is asked whether it is there, in seconds.
PING_S = 5.0
#: A worker that does not answer for so many seconds hangs.
HANG_S = 10.0
#: How long a worker's start may take, in seconds.
START_S = 30.0
#: How long operators wait for a worker's report, in seconds.
REPORT_S = 1.0
#: How long a worker that is to end has for that before it is killed, in seconds.
END_S = 5.0
#: A worker that dies sooner than that after its start, and again, is replaced after a pause only, which grows; seconds.
SOON_S = 10.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


@attrs.define(eq=False)
class WorkerProcess:
    """One process that serves browsers, or is about to.

    Attributes:
        number: which one, from 1 on.
        version: of the configuration that it has.
        process: the process.
        channel: to it.
        operators: takes connections of operators who want to attach to it.
        answers: what it is answered with.
        ready: whether it serves browsers.
        settled: set once it does, or never will.
        watched: the wait until it is asked next whether it is there.
        gone: set once its process has ended.
        dismissed: it has been told to end.
        fault: why it could not start, if it has said so.
        tasks: how many it had at its last report.
    """

    number: int
    version: int
    process: trio.Process
    channel: Channel
    operators: socket.socket
    answers: Answers
    ready: bool = False
    settled: trio.Event = attrs.field(factory=trio.Event)
    watched: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    gone: trio.Event = attrs.field(factory=trio.Event)
    dismissed: bool = False
    fault: Failed | None = None
    tasks: int = 0

    async def hand_over(self, stream: trio.abc.Stream) -> None:
        """Give it an operator's connection, which is its own from then on."""
        if isinstance(stream, trio.SocketStream):
            await trio.lowlevel.wait_writable(self.operators)
            socket.send_fds(self.operators, [b"\0"], [stream.socket.fileno()])

    def dismiss(self) -> None:
        """Let it end, with all that it has."""
        self.ready = False
        self.dismissed = True
        self.channel.tell(Finish())


@attrs.define(eq=False, kw_only=True)
class Pool:
    """All workers of a daemon.

    Attributes:
        size: how many there are to be.
        shared: what they share.
        connections: where the workers count theirs.
        start: what worker ``number`` is told first; the descriptors are filled in here.
        on_death: told whenever one has died that was not told to.
        version: of the configuration that is in force.
        workers: those that run, by number.
        up: set once all have served browsers.
    """

    size: int
    shared: Shared
    connections: SharedConnections
    start: Callable[[int], Start]
    on_death: Callable[[], None]
    version: int = attrs.field(default=1, init=False)
    workers: dict[int, WorkerProcess] = attrs.field(factory=dict, init=False)
    up: trio.Event = attrs.field(factory=trio.Event, init=False)
    _sockets: Sequence[tuple[int, bool]] = attrs.field(default=(), init=False)
    _failed: set[int] = attrs.field(factory=set, init=False)
    #: Nobody is replaced any more.
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def serving(self) -> list[WorkerProcess]:
        """The workers that serve browsers."""
        return [worker for worker in self.workers.values() if worker.ready]

    def tell_all(self, message: Message) -> None:
        """Send a message to every worker, also to those that are starting."""
        for worker in self.workers.values():
            worker.channel.tell(message)

    async def run(self, sockets: Sequence[tuple[int, bool]]) -> None:
        """Keep the workers running until ``finish``; none is left when this returns or is cancelled.

        Args:
            sockets: descriptors of the listeners, each with whether TLS is spoken there.

        Raises:
            BadConfiguration: a worker's fault, where none has ever served.
            RuntimeError: likewise, any other fault.
        """
        self._sockets = sockets
        async with trio.open_nursery() as nursery:
            for number in range(1, self.size + 1):
                nursery.start_soon(self._keep, number)

    def drain(self, left_s: float) -> None:
        """No worker takes new connections, and none is replaced."""
        self._ended.set()
        self.tell_all(Drain(left_s))

    async def finish(self) -> None:
        """Let the workers end, and kill those that do not within ``END_S`` seconds; ``drain`` has been called."""
        for worker in self.workers.values():
            worker.dismiss()
        with trio.move_on_after(END_S):
            for worker in list(self.workers.values()):
                await worker.gone.wait()
        for worker in self.workers.values():
            log.error("worker does not end", number=worker.number)
            worker.process.kill()

    async def reports(self, details: bool) -> None:
        """Have every worker tell what it has; one that takes too long is left out.

        Args:
            details: all that operators are shown; else the bytes only.
        """
        question = TellDetails() if details else TellBytes()

        async def ask(worker: WorkerProcess) -> None:
            try:
                answer = await worker.channel.ask(question, within_s=REPORT_S)
            except (ChannelClosed, trio.TooSlowError):
                return
            try:
                worker.tasks = worker.answers.note(answer)
            except NotAMessage as exc:
                _makes_no_sense(worker, exc)

        async with trio.open_nursery() as nursery:
            for worker in self.serving:
                nursery.start_soon(ask, worker)

    # -- another configuration

    async def prepare(self, text: str) -> list[WorkerProcess]:
        """Have every worker make what a configuration says.

        Returns:
            those that have; who dies before has nothing to say any more.

        Raises:
            BadConfiguration: one of them cannot; all have forgotten it.
        """
        faults: list[str] = []
        prepared: list[WorkerProcess] = []

        async def ask(worker: WorkerProcess) -> None:
            try:
                answer = await worker.channel.ask(Prepare(text), within_s=math.inf)
            except ChannelClosed:
                return
            if isinstance(answer, Prepared) and answer.faults:
                faults.append(answer.faults)
            else:
                prepared.append(worker)

        try:
            async with trio.open_nursery() as nursery:
                for worker in self.serving:
                    nursery.start_soon(ask, worker)
        except BaseException:
            self.tell_all(Discard())
            raise
        if faults:
            self.tell_all(Discard())
            raise BadConfiguration(faults[0])
        return prepared

    def take(self, prepared: Sequence[WorkerProcess], waiting: Sequence[tuple[str, str, int]]) -> None:
        """Have them work with it from now on. A worker that has begun in the meantime is replaced."""
        self.version += 1
        for worker in self.serving:
            if worker in prepared:
                worker.version = self.version
                worker.channel.question(Take(waiting), lambda _: None)
            else:
                worker.dismiss()

    async def settle(self) -> None:
        """Wait until the workers have taken it."""
        for worker in self.serving:
            with contextlib.suppress(ChannelClosed, trio.TooSlowError):
                await worker.channel.ask(Settle())

    # -- one worker

    async def _keep(self, number: int) -> None:
        """Run one worker, and another one in its place whenever it dies."""
        in_a_row = 0
        while not self._ended.is_set():
            began = trio.current_time()
            worker = await self._spawn(number)
            try:
                await self._attend(worker)
            finally:
                self.connections.clear(number)
            if worker.dismissed or self._ended.is_set():
                continue
            self.on_death()
            self._note_fault(worker)
            in_a_row = in_a_row + 1 if trio.current_time() - began < SOON_S else 0
            with trio.move_on_after(_pause_s(in_a_row)):
                await self._ended.wait()

    def _note_fault(self, worker: WorkerProcess) -> None:
        """It has never served. Where that is so of all of them the daemon cannot start."""
        if self.up.is_set():
            return
        if worker.fault is not None and worker.fault.bad_configuration:
            raise BadConfiguration(worker.fault.detail)
        self._failed.add(worker.number)
        if len(self._failed) == self.size:
            raise RuntimeError("no worker can be started; what they said is in the log")

    async def _spawn(self, number: int) -> WorkerProcess:
        ours, theirs = socket.socketpair()
        operators, operators_there = socket.socketpair(type=socket.SOCK_SEQPACKET)
        operators.setblocking(False)
        at = operators_there.fileno()
        with theirs, operators_there:
            inherited = [theirs.fileno(), at, self.connections.descriptor, *(sock for sock, _ in self._sockets)]
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", PROGRAM, str(theirs.fileno())],
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
            )

        def handle(message: Message, reply: Reply) -> None:
            self._handle(worker, message, reply)

        channel = Channel(ours, handle)
        answers = Answers(number, self.shared, channel.tell)
        worker = WorkerProcess(number, self.version, process, channel, operators, answers)
        start = self.start(number)
        memory = self.connections.descriptor
        channel.tell(attrs.evolve(start, listeners=self._sockets, connections=memory, operators=at))
        self.workers[number] = worker
        return worker

    def _handle(self, worker: WorkerProcess, message: Message, reply: Reply) -> None:
        match message:
            case Ready() if worker.version == self.version:
                worker.ready = True
                worker.settled.set()
                self._failed.discard(worker.number)
                log.info("worker ready", number=worker.number, pid=worker.process.pid)
                if len(self.serving) == self.size:
                    self.up.set()
            case Ready():  # another configuration was taken while it started
                worker.settled.set()
                worker.dismiss()
            case Failed():
                worker.fault = message
            case _:
                worker.answers.handle(message, reply)

    async def _attend(self, worker: WorkerProcess) -> None:
        """Talk to a worker until it ends, and take back what it leaves behind."""
        records_sessions = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, worker)
                await worker.channel.run()
                nursery.cancel_scope.cancel()
            records_sessions = False
        except* NotAMessage as group:
            records_sessions = False
            _makes_no_sense(worker, group.exceptions[0])
        except* Exception:
            records_sessions = False
            log.exception("internal error")
            worker.process.kill()
        finally:
            with trio.CancelScope(shield=True):
                await _reap(worker.process)
            worker.ready = False
            worker.settled.set()
            worker.gone.set()
            worker.operators.close()
            self.workers.pop(worker.number, None)
            # Where this process ends first its workers see that, end their sessions and write the records themselves.
            lost = worker.answers.lose_all(f"the process of worker {worker.number} died", recorded=records_sessions)
        if not worker.dismissed or worker.process.returncode:
            number, pid = worker.number, worker.process.pid
            log.error("worker died", number=number, pid=pid, how=_how(worker.process.returncode), sessions=lost)

    async def _watch(self, worker: WorkerProcess) -> None:
        """Kill a worker that hangs."""
        with trio.move_on_after(START_S):
            await worker.settled.wait()
        if not worker.settled.is_set():
            log.error("worker does not start", number=worker.number)
            worker.process.kill()
            return
        while True:
            with trio.CancelScope() as worker.watched:
                await trio.sleep(PING_S)
            try:
                await worker.channel.ask(Ping(), within_s=HANG_S)
            except ChannelClosed:
                return
            except trio.TooSlowError:
                log.error("worker hangs", number=worker.number, pid=worker.process.pid)
                worker.process.kill()
                return


def _pause_s(in_a_row: int) -> float:
    """How long to wait before a worker is replaced that died soon after its start, so many times in a row."""
    return min(FIRST_PAUSE_S * 2 ** (in_a_row - 2), LONGEST_PAUSE_S) if in_a_row > 1 else 0.0


async def _reap(process: trio.Process) -> None:
    """Wait for a process that has closed its channel, for a while."""
    with trio.move_on_after(END_S):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


def _makes_no_sense(worker: WorkerProcess, why: Exception) -> None:
    log.error("worker makes no sense", number=worker.number, detail=str(why))
    worker.process.kill()


def _how(status: int | None) -> str:
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit code {status}"
