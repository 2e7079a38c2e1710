"""The wheel and the source distribution: what has to be in them is, and the page works from the wheel alone."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import hatch_build

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_wheel_carries_the_page_and_serves_it(dist: Path, tmp_path: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path)
    page = ("console.de.html", "console.js", "console.css", "error.ja.html", "texts-fr.js", "icon.svg", "licences.txt")
    for name in (*page, "index.html", "index.css"):
        assert f"trio_cpvm/_page/{name}" in names
    assert "trio_cpvm/py.typed" in names
    for tag in ("en", "de", "fr", "es", "pt", "ja"):
        assert {f"trio_cpvm/messages/{tag}.json", f"trio_cpvm/messages/index/{tag}.json"} <= names
    assert not [name for name in names if name.startswith(("tests/", "static/", "hatch_build"))]
    code = "import trio_cpvm, trio_cpvm.static as s; s.PageFiles(); print(trio_cpvm.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == str(tmp_path / "trio_cpvm" / "__init__.py"), done.stderr


def test_a_change_of_any_language_builds_the_page_anew() -> None:
    sources = {path.relative_to(ROOT).as_posix() for path in hatch_build._source_files()}
    for tag in ("de", "fr", "es", "pt", "ja"):
        assert {f"trio_cpvm/messages/{tag}.json", f"static/src/page-messages/{tag}.json"} <= sources


def test_the_source_distribution_carries_the_pages_sources_and_nothing_built(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    wanted = {"hatch_build.py", "static/package-lock.json", "static/.npmrc", "static/src/console.ts", "README.rst"}
    assert wanted <= names
    assert not [name for name in names if "node_modules" in name or "trio_cpvm/_page" in name]


def test_no_code_of_novnc_is_in_the_repository() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout.split("\0")
    assert len(listed) > 50
    for name in filter(None, listed):
        path = ROOT / name
        if path.suffix in (".js", ".ts", ".html", ".css") and path.is_file():
            text = path.read_text("utf-8")
            assert "The noVNC authors" not in text, name
            assert "Mozilla Public License" not in text, name
