"""A worker: the process that serves browsers on the supervisor's listeners, and asks it about what consoles share.

Started by ``pool`` only. It obeys its channel and no signals; where the channel ends it ends, whatever it is doing.
"""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import attrs
import trio

from .. import errors
from ..attached_repl import AttachedRepl
from ..config import Config, config_of
from ..errors import BadConfiguration
from ..inspection import names_in_reach
from ..logger import get_logger
from ..logs import configure_logging, whole_lines
from ..parts import Parts, discard, make_parts
from ..public_side import PublicSide
from ..readiness import readiness
from ..registry import Sessions
from ..reload import keep_fixed
from ..session import Session
from ..websocket import learn_answers
from .channel import Channel, Reply
from .connections import NOBODY, SharedConnections, SharedListener, SharedRoom
from .messages import (
    Bytes,
    Details,
    Discard,
    Done,
    Drain,
    End,
    Failed,
    Finish,
    LookOn,
    Message,
    NotAMessage,
    Ping,
    Prepare,
    Prepared,
    Ready,
    Recorded,
    SessionDetails,
    Settle,
    Start,
    Take,
    TellBytes,
    TellDetails,
    Waits,
)
from .remote import RemoteAdmission, RemoteCallerMemory, RemoteCounts, Waiting

log = get_logger("trio_cpvm.worker")

#: A worker whose event loop hangs, and that nobody ends, ends after so many seconds.
DEAD_MAN_S = 60
#: More is never asked for before it is done.
MAX_STEPS = 64
#: How long a worker's end may take once the supervisor is gone, in seconds.
LAST_S = 5
#: What only the supervisor obeys; service managers and terminals send them to all.
_SUPERVISORS_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(descriptor: int) -> None:
    """Be a worker until the supervisor says otherwise.

    Args:
        descriptor: of the channel.
    """
    gc.freeze()  # what has been imported stays; it is not looked through for garbage time and again
    signal.alarm(DEAD_MAN_S)
    for number in _SUPERVISORS_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    trio.run(run_worker, socket.socket(fileno=descriptor))


async def run_worker(sock: socket.socket) -> None:
    """Serve as the supervisor at the other end says."""
    first: list[Start] = []
    early: list[tuple[Message, Reply]] = []
    workers: list[Worker] = []
    started = trio.Event()

    def handle(message: Message, reply: Reply) -> None:
        if workers:
            workers[0].handle(message, reply)
        elif isinstance(message, Start):
            first.append(message)
            started.set()
        else:
            early.append((message, reply))

    channel = Channel(sock, handle)
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            await channel.run()
            signal.alarm(LAST_S)
            nursery.cancel_scope.cancel()

        nursery.start_soon(listen)
        await started.wait()
        try:
            worker = Worker(first[0], channel)
        except BadConfiguration as exc:
            channel.tell(Failed(str(exc), bad_configuration=True))
        else:
            workers.append(worker)
            for message, reply in early:
                worker.handle(message, reply)
            await worker.run()
        with trio.move_on_after(LAST_S):
            await channel.all_sent()
        nursery.cancel_scope.cancel()


class Worker:
    """Serves browsers.

    Args:
        start: what the supervisor says at first.
        channel: to it.

    Attributes:
        number: which one it is.
        sessions: those that run here.
        metrics: is told of events.

    Raises:
        BadConfiguration: something that the configuration names cannot be used.
    """

    def __init__(self, start: Start, channel: Channel) -> None:
        self.number = start.number
        self.sessions: Sessions[Session] = Sessions()
        self._path = Path(start.path)
        self._channel = channel
        #: What takes its time is done in its turn, while messages go on being read.
        self._step, self._steps = trio.open_memory_channel[Callable[[], Awaitable[None]]](MAX_STEPS)
        self._waiting = {"token": Waiting(), "access": Waiting()}
        self._note_waiting(start.waiting)
        self._drained, self._finished = trio.Event(), trio.Event()
        self._prepared: Parts | None = None
        config, _ = keep_fixed(config_of(start.first, self._path), config_of(start.config, self._path))
        self._stream = whole_lines(sys.stderr)
        self._configure_logging(config)
        parts = make_parts(config, access_memory=RemoteCallerMemory(channel, self._waiting["access"]))
        self._connections = SharedConnections(start.connections, config.server.workers)
        self._operators = socket.socket(fileno=start.operators)
        self._operators.setblocking(False)
        self.metrics = RemoteCounts(channel)
        self._public = PublicSide(
            parts,
            admission=RemoteAdmission(channel, self.sessions, self._waiting["token"]),
            metrics=self.metrics,
            room=SharedRoom(self._connections, self.number),
        )
        self._public.acceptor.on_change = self._note_accepted
        stands_back = partial(self._connections.has_more, self.number)
        self._plain, self._tls = (
            [
                SharedListener(socket.socket(fileno=descriptor), stands_back)
                for descriptor, is_tls in start.listeners
                if is_tls is with_tls
            ]
            for with_tls in (False, True)
        )

    @property
    def registry(self) -> Sessions[Session]:
        """The sessions that run here."""
        return self.sessions

    @property
    def config(self) -> Config:
        """The configuration in use."""
        return self._public.parts.config

    async def run(self) -> None:
        """Serve until the supervisor says that it is over."""
        readiness()  # before the first console wants it
        async with trio.open_nursery() as connections:
            connections.start_soon(self._take_steps)
            connections.start_soon(self._take_operators, connections)
            async with trio.open_nursery() as accepting:
                accepting.start_soon(partial(self._public.serve, self._plain, self._tls, connections=connections))
                self._connections.write_accepted(self.number, 0)
                self._channel.tell(Ready())
                connections.start_soon(learn_answers)
                await self._drained.wait()
                self._connections.write_accepted(self.number, NOBODY)
                accepting.cancel_scope.cancel()
            await self._finished.wait()
            connections.cancel_scope.cancel()

    def handle(self, message: Message, reply: Reply) -> None:
        """Do what the supervisor says.

        Raises:
            NotAMessage: it says what no supervisor says.
        """
        match message:
            case Ping():
                signal.alarm(DEAD_MAN_S)
                reply(Done())
            case End():
                session = self.sessions.get(message.session_id)
                if session is not None:  # else it is over, and the supervisor will hear of it
                    session.end(errors.REASONS[message.slug], message.detail, by=message.by)
            case LookOn():
                session = self.sessions.get(message.session_id)
                if session is not None:
                    session.look_on(message.on)
            case Waits():
                self._waiting[message.kind].put(message.key, message.wait_s)
            case TellDetails():
                reply(self._details())
            case TellBytes():
                reply(Bytes(_tasks(), [(one.id, one.bytes_up, one.bytes_down) for one in self.sessions]))
            case Prepare():
                self._step.send_nowait(partial(self._prepare, message.config, reply))
            case Take():
                self._step.send_nowait(partial(self._take, message.waiting, reply))
            case Settle():
                self._step.send_nowait(partial(self._settle, reply))
            case Discard():
                self._prepared = None
            case Drain():
                self.sessions.start_drain(trio.current_time() + message.left_s)
                self._drained.set()
            case Finish():
                self._drained.set()
                self._finished.set()
            case _:
                raise NotAMessage(type(message).__name__)

    def _note_accepted(self, count: int) -> None:
        if not self._drained.is_set():
            self._connections.write_accepted(self.number, count)

    async def _take_steps(self) -> None:
        async for step in self._steps:
            await step()

    async def _take_operators(self, connections: trio.Nursery) -> None:
        """Serve the connections that the supervisor hands over; who is at the other end the kernel still says."""
        repl = AttachedRepl(names=partial(names_in_reach, self))
        while True:
            await trio.lowlevel.wait_readable(self._operators)
            message, descriptors, _, _ = socket.recv_fds(self._operators, 1, 1)
            if not message:
                return
            for descriptor in descriptors:
                connections.start_soon(self._attach, repl, socket.socket(fileno=descriptor))

    async def _attach(self, repl: AttachedRepl, sock: socket.socket) -> None:
        async with trio.SocketStream(trio.socket.from_stdlib_socket(sock)) as stream:
            try:
                await repl.serve(stream)
            except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                pass
            except* Exception:
                log.exception("internal error")

    def _note_waiting(self, waiting: Sequence[tuple[str, str, int]]) -> None:
        for kind, key, wait_s in waiting:
            self._waiting[kind].put(key, wait_s)

    def _configure_logging(self, config: Config) -> None:
        configure_logging(config.log, self._stream, worker=self.number, on_record=self._tell_record)

    def _tell_record(self, session_id: str) -> None:
        """At once: if this process ends the supervisor writes the records of all sessions that have none."""
        self._channel.tell(Recorded(session_id))
        self._channel.flush()

    def _details(self) -> Details:
        return Details(_tasks(), [attrs.astuple(_details_of(session), recurse=False) for session in self.sessions])

    async def _prepare(self, text: str, reply: Reply) -> None:
        old = self._public.parts

        def make() -> Parts:
            config, _ = keep_fixed(old.config, config_of(text, self._path))
            return make_parts(config, before=old)

        self._prepared = None
        try:
            self._prepared = await trio.to_thread.run_sync(make, abandon_on_cancel=True)
        except BadConfiguration as exc:
            reply(Prepared(str(exc)))
        except Exception as exc:
            log.exception("internal error")
            reply(Prepared(f"{type(exc).__name__} in a worker"))
        else:
            reply(Prepared(""))

    async def _settle(self, reply: Reply) -> None:
        reply(Done())

    async def _take(self, waiting: Sequence[tuple[str, str, int]], reply: Reply) -> None:
        parts, old = self._prepared, self._public.parts
        self._prepared = None
        if parts is None:
            raise NotAMessage("Take, with nothing prepared")
        for known in self._waiting.values():
            known.clear()
        self._note_waiting(waiting)
        self._public.take(parts)
        if parts.config.log != old.config.log:
            self._configure_logging(parts.config)
        reply(Done())
        await trio.to_thread.run_sync(discard, old, parts, abandon_on_cancel=True)


def _tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def _details_of(session: Session) -> SessionDetails:
    standing, established = session.standing, session.established
    return SessionDetails(
        id=session.id,
        phase=session.phase,
        name=session.name,
        security=established.security if established is not None else None,
        transport=session.transport,
        looks_on=session.looks_on,
        idle_s=session.idle_s,
        idle_left_s=standing.idle_left_s,
        lifetime_left_s=standing.lifetime_left_s,
        host_rtt_s=standing.host_rtt_s,
        opened_after_s=session.opened_after_s,
        bytes_up=session.bytes_up,
        bytes_down=session.bytes_down,
    )
