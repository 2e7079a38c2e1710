"""Prints what the package depends on, as pyproject.toml says, for ``pip download``."""

import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
print("\n".join(requirement.replace(" ", "") for requirement in project["dependencies"]))  # noqa: T201
