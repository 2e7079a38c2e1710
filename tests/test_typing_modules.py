"""The page's own unit tests of typing texts, in TypeScript: ``static/tests/*.test.ts``."""

from __future__ import annotations

from pathlib import Path

import hatch_build

from . import node


def test_unit_tests(tmp_path: Path) -> None:
    sources = sorted(path.name for path in (hatch_build.STATIC / "tests").glob("*.test.ts"))
    programs = node.bundle(tmp_path, *sources)
    node.run("--test", *map(str, programs))
