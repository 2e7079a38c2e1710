"""Files that hold secrets: read only while nobody but the daemon may, and read again once they have changed."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import attrs

from ..errors import BadConfiguration
from ..logger import get_logger

log = get_logger("trio_cpvm.access")

MAX_FILE_BYTES = 1 << 20

T = TypeVar("T")


@attrs.frozen
class FileText:
    """A file's text, and who may read it.

    Attributes:
        path: where it is.
        text: what is in there.
        status: of the very file that was read.
    """

    path: Path
    text: str = attrs.field(repr=False)
    status: os.stat_result = attrs.field(repr=False)

    def require_private(self) -> None:
        """Insist that nobody else can read or exchange it.

        Raises:
            BadConfiguration: its mode has bits for group or others, or it is neither this user's nor root's.
        """
        mode = stat.S_IMODE(self.status.st_mode)
        if mode & 0o077:
            raise BadConfiguration(f"{self.path}: mode {mode:04o}: others may use it, and it holds secrets; chmod 600")
        if self.status.st_uid not in (os.geteuid(), 0):
            raise BadConfiguration(
                f"{self.path}: belongs to user {self.status.st_uid}, not to {os.geteuid()}, who runs the daemon"
            )


def read_file(path: Path) -> FileText:
    """Read a text file of bounded size.

    Raises:
        BadConfiguration: it cannot be read, is larger than ``MAX_FILE_BYTES`` or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
            status = os.fstat(file.fileno())
    except OSError as exc:
        raise BadConfiguration(f"{path}: {exc.strerror or exc}") from exc
    if len(raw) > MAX_FILE_BYTES:
        raise BadConfiguration(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    try:
        return FileText(path, raw.decode("utf-8"), status)
    except UnicodeDecodeError:
        raise BadConfiguration(f"{path}: not UTF-8") from None


def parse_toml(text: str, source: str) -> dict[str, object]:
    """TOML as tables.

    Raises:
        BadConfiguration: it is none.
    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise BadConfiguration(f"{source}: not TOML: {exc}") from None


class ChangingFile(Generic[T]):
    """What a file says, as of now.

    A new version that cannot be used is refused with a log line, and what the old one said stays, as with
    certificates: a slip of an editor must not lock everybody out, and a crash would.

    Args:
        path: the file.
        parse: makes something of it, or raises ``BadConfiguration``.

    Raises:
        BadConfiguration: the file cannot be used at all.
    """

    def __init__(self, path: Path, parse: Callable[[FileText], T]) -> None:
        self._path = path
        self._parse = parse
        self._print = self._fingerprint()
        self._value = parse(read_file(path))

    def current(self) -> T:
        """What the file says."""
        now = self._fingerprint()
        if now != self._print:
            self._print = now
            try:
                self._value = self._parse(read_file(self._path))
            except BadConfiguration as exc:
                log.error("file refused", detail=str(exc), kept="what it said before")
            else:
                log.info("file read again", file=str(self._path))
        return self._value

    def _fingerprint(self) -> tuple[int, ...]:
        """What tells a changed file; a change of mode or owner counts (``st_ctime_ns``)."""
        try:
            status = self._path.stat()
        except OSError:
            return ()
        return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
