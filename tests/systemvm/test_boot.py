"""What the system VM does at boot, as far as it can be done on any machine; the rest is in ``tests/real``."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from trio_cpvm.systemvm import boot

from .test_parameters import LINE


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said on the console."""
    found: list[str] = []
    monkeypatch.setattr(boot, "say", found.append)
    return found


def before_this_boot(file: Path) -> None:
    booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    os.utime(file, (booted_at - 60, booted_at - 60))


def test_what_the_agent_is_told_counts_at_once_and_is_kept_from_others(tmp_path: Path, said: list[str]) -> None:
    file = tmp_path / "cmdline"
    file.write_text(LINE + "\n", "utf-8")
    assert boot.wait_for_agent(file, 60) == LINE
    assert file.stat().st_mode & 0o777 == 0o600
    assert said == []


def test_what_it_was_told_at_an_earlier_boot_counts_where_nothing_else_comes(tmp_path: Path, said: list[str]) -> None:
    file = tmp_path / "cmdline"
    file.write_text(LINE, "utf-8")
    before_this_boot(file)
    assert boot.wait_for_agent(file, 0) == LINE
    assert said == ["trio-cpvm: nobody has told the guest agent anything for 0 s: parameters of an earlier boot"]


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_nothing_at_all_is_a_fault(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "cmdline"
    if content is not None:
        file.write_text(content, "utf-8")
    with pytest.raises(boot.BootFault, match="no boot parameters: none on the kernel's command line"):
        boot.wait_for_agent(file, 0)


def test_the_seeds_parameters_come_before_the_agents(tmp_path: Path) -> None:
    (tmp_path / "cmdline").write_text(LINE, "utf-8")
    assert boot.find_line(tmp_path) == LINE


def test_a_file_of_the_seed_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "cmdline").write_bytes(b"x" * (boot.MAX_SEED_FILE_BYTES + 1))
    with pytest.raises(boot.BootFault, match="cmdline of the seed: larger than"):
        boot.find_line(tmp_path)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("old", "utf-8")
    (tmp_path / "f.new").write_text("of a boot that was cut short", "utf-8")

    def cut_short() -> None:
        with boot.replacing(file) as new:
            new.write_text("half", "utf-8")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        cut_short()
    assert file.read_text("utf-8") == "old"
    boot.write(file, "new")
    assert file.read_text("utf-8") == "new"
    assert file.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [file]


def test_settings_that_the_daemon_would_refuse_are_a_fault_of_the_boot() -> None:
    boot.check("[server]\ndrain_timeout_s = 5\n")
    with pytest.raises(boot.BootFault, match=r"/etc/trio-cpvm/settings\.toml: server\.drain_timeout_s"):
        boot.check("[server]\ndrain_timeout_s = -5\n")
