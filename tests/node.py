"""Runs TypeScript programs of ``static/tests`` with Node.js, wherever ``hatch_build`` finds it."""

from __future__ import annotations

from pathlib import Path

import pytest

import hatch_build


def bundle(folder: Path, *sources: str) -> list[Path]:
    """Make programs of these sources (names in ``static/tests``); where they are."""
    if not hatch_build._is_installed():
        pytest.fail("the page's npm packages are not installed: run `make page`", pytrace=False)
    hatch_build._run("node", "tests/bundle.mjs", str(folder), *(f"tests/{source}" for source in sources))
    return [(folder / source).with_suffix(".mjs") for source in sources]


def run(*arguments: str) -> str:
    """Run ``node``; what it printed.

    Raises:
        AssertionError: it failed.
    """
    done = hatch_build._call("node", arguments)
    assert done.returncode == 0, done.stdout
    return done.stdout
