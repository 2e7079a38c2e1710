"""Files with secrets: who else may read them, and how large they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trio_cpvm.access.private_file import MAX_FILE_BYTES, FileText, read_file
from trio_cpvm.errors import BadConfiguration


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "secrets"
    path.write_text("1")
    path.chmod(0o600)
    return path


def test_a_private_file_is_read(path: Path) -> None:
    file = read_file(path)
    file.require_private()
    assert file.text == "1"
    assert "1" not in repr(file).replace(str(path), "")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o610, 0o644])
def test_others_may_not_use_it(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(BadConfiguration, match=rf"secrets: mode 0{mode:o}: others may use it"):
        read_file(path).require_private()


def test_it_belongs_to_the_daemon_or_root(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    file = read_file(path)
    if owner == 0:
        file.require_private()  # root's is anybody's
        status = list(file.status)
        status[4] = 4711
        file = FileText(path, "1", os.stat_result(status))
    with pytest.raises(
        BadConfiguration, match=r"belongs to user \d+, not to root or \d+, who runs this; run it as the daemon's user"
    ):
        file.require_private()


def test_faults_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"none: No such file"):
        read_file(tmp_path / "none")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for odd in (pipe, Path("/dev/zero")):
        with pytest.raises(BadConfiguration, match=f"{odd}: not a plain file"):
            read_file(odd)
    large = tmp_path / "large"
    large.write_bytes(b" " * (MAX_FILE_BYTES + 1))
    with pytest.raises(BadConfiguration, match=r"large: larger than 1048576 bytes"):
        read_file(large)
    large.write_bytes(b"\xff")
    with pytest.raises(BadConfiguration, match=r"large: not UTF-8"):
        read_file(large)
