"""A file that is read again once it has changed, while the daemon goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import trio

from ..errors import BadConfiguration
from ..logger import get_logger
from .private_file import FileText, read_file

log = get_logger("trio_cpvm.access")

T = TypeVar("T")


class ChangingFile(Generic[T]):
    """What a file says, as of now.

    A new version that cannot be used is refused with a log line, and what the old one said stays, as with
    certificates: a slip of an editor must not lock everybody out.

    Args:
        path: the file.
        parse: makes something of it, or raises ``BadConfiguration``.

    Attributes:
        value: what it said when it was read last.

    Raises:
        BadConfiguration: the file cannot be used at all.
    """

    def __init__(self, path: Path, parse: Callable[[FileText], T]) -> None:
        self._path = path
        self._parse = parse
        self._reading = trio.Lock()
        self._print = self._fingerprint()
        self.value = parse(read_file(path))

    async def current(self) -> T:
        """What the file says. A large one takes a second to read, so that is done in a thread.

        Whoever asks after a change gets the new version, if it can be used, or waits until it has been read.
        """
        async with self._reading:  # one reader at a time: a slow one of an older version would have the last word
            now = self._fingerprint()
            if now != self._print:
                try:
                    self.value = await trio.to_thread.run_sync(self._read)
                except BadConfiguration as exc:
                    log.error("file refused", detail=str(exc), kept="what it said before")
                else:
                    log.info("file read again", file=str(self._path))
                self._print = now  # only now: who is cancelled before has read nothing
            return self.value

    def _read(self) -> T:
        return self._parse(read_file(self._path))

    def _fingerprint(self) -> tuple[int, ...]:
        """What tells a changed file; a change of mode or owner counts (``st_ctime_ns``)."""
        try:
            status = self._path.stat()
        except OSError:
            return ()
        return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
