"""The system VM's ISO, without booting anything: what is in it, and that it is the same each time."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .system_vm import BUILT, ISO, ISO_TREE, build_of

pytestmark = [pytest.mark.systemvm]

ROOT = BUILT.parents[1]


def same_date() -> dict[str, str]:
    """The date that the ISO was built for, as programs are told."""
    return {**os.environ, "SOURCE_DATE_EPOCH": str(int((ISO_TREE / "install").stat().st_mtime))}


def test_it_is_the_same_each_time(tmp_path: Path) -> None:
    """Made again of copies that are younger, in another order."""
    tree = tmp_path / "tree"
    for file in sorted(ISO_TREE.rglob("*"), reverse=True):
        if file.is_file():
            copy = tree / file.relative_to(ISO_TREE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
    (wheel,) = (tree / "wheels").glob("trio_cpvm-*.whl")
    wheel.unlink()
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheel.parent)]
    subprocess.run(build, cwd=ROOT, env=same_date(), check=True, capture_output=True)
    iso = tmp_path / "again.iso"
    subprocess.run([ROOT / "systemvm" / "build", "seal", tree, iso], env=same_date(), check=True, capture_output=True)
    assert build_of(tree) == build_of(ISO_TREE)
    assert iso.read_bytes() == ISO.read_bytes()


def test_every_dependency_is_on_it() -> None:
    """pip finds all of them in there, for the image's Python, and nothing is left over."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--isolated", "install", "--dry-run", "--ignore-installed", "--no-index"),
            *("--find-links", str(ISO_TREE / "wheels"), "--target", "nowhere", "--only-binary", ":all:"),
            *("--python-version", "3.11", "--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_28_x86_64"),
            "trio-cpvm",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (listed,) = re.findall(r"Would install (.*)", done.stdout)
    wheels = list((ISO_TREE / "wheels").iterdir())
    assert len(listed.split()) == len(wheels)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as content:
            assert not [name for name in content.namelist() if ".data/" in name], "these would have to be put elsewhere"
