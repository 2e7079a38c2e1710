"""Files that change while the daemon runs: read again once, and a version that cannot be used is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_cpvm.access.changing_file import ChangingFile
from trio_cpvm.access.private_file import FileText
from trio_cpvm.errors import BadConfiguration


def replace(path: Path, text: str, mode: int = 0o600) -> None:
    """As editors do: a new file in the place of the old one."""
    new = path.with_name("new")
    new.write_text(text)
    new.chmod(mode)
    new.replace(path)


def set_mode(path: Path, mode: int) -> None:
    path.chmod(mode)


def remove(path: Path) -> None:
    path.unlink()


def number(file: FileText) -> int:
    file.require_private()
    try:
        return int(file.text)
    except ValueError:
        raise BadConfiguration(f"{file.path}: no number") from None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "secrets"
    path.write_text("1")
    path.chmod(0o600)
    return path


async def test_a_changed_file_is_read_again(path: Path) -> None:
    reads = []

    def counted(file: FileText) -> int:
        reads.append(file.text)
        return number(file)

    file = ChangingFile(path, counted)
    assert [await file.current(), await file.current()] == [1, 1]
    assert reads == ["1"]
    replace(path, "2")
    assert [await file.current(), await file.current()] == [2, 2]
    assert reads == ["1", "2"]


async def test_a_change_for_the_worse_is_refused_once_and_the_old_one_stays(path: Path) -> None:
    file = ChangingFile(path, number)
    replace(path, "x")
    assert [await file.current(), await file.current()] == [1, 1]
    remove(path)
    assert await file.current() == 1
    replace(path, "3")
    assert await file.current() == 3
    replace(path, "4", 0o644)
    assert await file.current() == 3
    set_mode(path, 0o600)
    assert await file.current() == 4


def test_a_file_that_cannot_be_used_at_all_is_an_error(path: Path) -> None:
    replace(path, "x")
    with pytest.raises(BadConfiguration, match="no number"):
        ChangingFile(path, number)
