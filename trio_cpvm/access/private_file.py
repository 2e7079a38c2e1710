"""Files that hold secrets: of bounded size, and refused if others than the daemon may use them. Knows no trio."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

import attrs

from ..errors import BadConfiguration

MAX_FILE_BYTES = 1 << 20


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
                f"{self.path}: belongs to user {self.status.st_uid}, not to root or {os.geteuid()}, who runs this; "
                "run it as the daemon's user, and let the file belong to that user"
            )


def read_file(path: Path) -> FileText:
    """Read a text file of bounded size.

    Raises:
        BadConfiguration: it cannot be read, is no plain file, larger than ``MAX_FILE_BYTES`` or not UTF-8.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BadConfiguration(f"{path}: not a plain file")
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise BadConfiguration(f"{path}: {exc.strerror or exc}") from exc
    if len(raw) > MAX_FILE_BYTES:
        raise BadConfiguration(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    try:
        return FileText(path, raw.decode("utf-8"), status)
    except UnicodeDecodeError:
        raise BadConfiguration(f"{path}: not UTF-8") from None


def _open_at_once(path: str, flags: int) -> int:
    """A named pipe would have us wait for somebody to write into it."""
    return os.open(path, flags | os.O_NONBLOCK)


def parse_toml(text: str, source: str) -> dict[str, object]:
    """TOML as tables.

    Raises:
        BadConfiguration: it is none.
    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise BadConfiguration(f"{source}: not TOML: {exc}") from None
