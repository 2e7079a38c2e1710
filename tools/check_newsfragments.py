"""Checks the newsfragments: every change that a user sees has one, named ``ISSUE.KIND.rst``, and says something.

With a merge base to compare with (``origin/main``), a change of ``trio_cpvm/`` or ``static/`` without one fails.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Print what is wrong; the exit code."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["towncrier"]
    kinds = {kind["directory"] for kind in tool["type"]}
    faults = []
    for path in sorted((ROOT / tool["directory"]).iterdir()):
        if path.name in (".gitignore", "README.rst"):
            continue
        parts = path.name.split(".")
        if len(parts) < 3 or parts[-1] != "rst" or parts[1] not in kinds:
            faults.append(f"{path.name}: expected ISSUE.KIND.rst with KIND one of {', '.join(sorted(kinds))}")
        elif not path.read_text("utf-8").strip():
            faults.append(f"{path.name}: it is empty")
    changed = _changed_since("origin/main")
    touches_product = any(name.startswith(("trio_cpvm/", "static/src/")) for name in changed)
    if touches_product and not any(name.startswith(f"{tool['directory']}/") for name in changed):
        faults.append("the product changed, but there is no newsfragment")
    for fault in faults:
        print(f"newsfragments: {fault}", file=sys.stderr)  # noqa: T201 -- a command-line tool
    return 1 if faults else 0


def _changed_since(base: str) -> list[str]:
    command = ["git", "-C", str(ROOT), "diff", "--name-only", f"{base}...HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []


if __name__ == "__main__":
    sys.exit(main())
