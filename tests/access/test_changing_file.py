"""Files that change while the daemon runs: read again once, and a version that cannot be used is refused."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import trio

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


async def test_a_slow_reader_of_an_older_version_does_not_have_the_last_word(path: Path) -> None:
    started, may_end = threading.Event(), threading.Event()

    def slow(file: FileText) -> int:
        if file.text == "2":
            started.set()
            may_end.wait(20)
        return number(file)

    file = ChangingFile(path, slow)
    replace(path, "2")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.current)
        await trio.to_thread.run_sync(started.wait)
        replace(path, "3")
        with trio.move_on_after(0.2):  # who asks now has to wait for the slow one
            assert await file.current() == 3
        may_end.set()
        assert await file.current() == 3
    assert await file.current() == 3


async def test_many_who_ask_at_once_read_it_once(path: Path) -> None:
    reads = []

    def counted(file: FileText) -> int:
        reads.append(file.text)
        return number(file)

    file = ChangingFile(path, counted)
    replace(path, "2")
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(file.current)
    assert reads == ["1", "2"]


async def test_who_is_cancelled_before_reading_leaves_it_to_the_next(path: Path) -> None:
    file = ChangingFile(path, number)
    replace(path, "2")
    with trio.CancelScope() as scope:
        scope.cancel()
        await file.current()
    assert await file.current() == 2


async def test_another_file_of_the_same_size_and_time_is_a_change(tmp_path: Path) -> None:
    """The clock of a file system stands still for some milliseconds."""
    link = tmp_path / "link"
    for i in range(100):
        one, two = tmp_path / f"one{i}", tmp_path / f"two{i}"
        for path, text in ((one, "1"), (two, "2")):
            path.write_text(text)
            path.chmod(0o600)
        for path in (one, two):
            os.utime(path, ns=(0, 0))
        if one.stat().st_ctime_ns == two.stat().st_ctime_ns:
            break
    else:
        pytest.skip("a clock too fine for that")
    link.symlink_to(one)
    file = ChangingFile(link, number)
    link.unlink()
    link.symlink_to(two)
    assert await file.current() == 2


def test_a_file_that_cannot_be_used_at_all_is_an_error(path: Path) -> None:
    replace(path, "x")
    with pytest.raises(BadConfiguration, match="no number"):
        ChangingFile(path, number)
