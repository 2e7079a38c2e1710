"""The layers of the package: imports point downwards only, and each library has its one place.

The table below is the rule; a new file has to be entered here.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import trio_cpvm

ROOT = Path(trio_cpvm.__file__).parent

#: From the ground up. A name stands for a module, or for a package with all that is in it.
LAYERS = (
    (
        "shared",
        {
            "__init__",
            "errors",
            "languages",
            "models",
            "addresses",
            "config",
            "config_reader",
            "config_values",
            "later",
            "limits",
            "logger",
            "paced_log",
            "links",
            "asking",
        },
    ),
    ("sans-I/O", {"token", "rfb", "http", "frames", "control", "fragments", "limiter", "proxy_protocol"}),
    (
        "trio I/O",
        {
            "acceptor",
            "streams",
            "readiness",
            "ready_stream",
            "ready_tls",
            "browser_websocket",
            "websocket",
            "upstream",
            "rfb_io",
            "load_report",
            "metrics",
            "relay",
            "session",
            "registry",
            "authority",
            "shown",
            "ending",
            "public_side",
            "access",
            "gate",
            "http_io",
            "static",
            "site",
            "admin",
            "attached_repl",
            "inspection",
            "task_tree",
            "certificates",
            "clients",
            "front",
            "listeners",
            "parts",
            "server",
            "reload",
            "systemd",
        },
    ),
    (
        "outside",
        {
            "__main__",
            "cli",
            "daemon",
            "logs",
            "admin_client",
            "demo",
            "probe",
            "quick_start",
            "repl",
            "attach",
            "top",
            "systemvm",
            "workers",
        },
    ),
)
#: What of ``access`` is sans-I/O, too: it knows no trio, and nothing of its own package or of the layers that does.
SANS_IO_IN_ACCESS = {
    f"trio_cpvm.access.{name}"
    for name in (
        "__init__",
        "answers",
        "callers",
        "credentials",
        "libvirt_xml",
        "machines",
        "memory",
        "parameters",
        "private_file",
        "signature",
        "used_signatures",
    )
}
#: Likewise of ``workers``.
SANS_IO_IN_WORKERS = {"trio_cpvm.workers.__init__", "trio_cpvm.workers.messages"}
#: The doubles stand beside the layers: on the ground and the protocols, under nobody but these.
DOUBLES = "testing"
USERS_OF_DOUBLES = {"demo", "repl"}

#: Who may import what; nobody else does. An empty set is nobody.
ONLY_IN = {
    "trio_websocket": {"websocket"},
    "wsproto": {"websocket", "testing"},
    "h11": {"http", "websocket", "testing"},
    "Crypto": {"token", "rfb", "frames"},
    "cattrs": {"config_reader"},
    "structlog": {"logger", "logs"},
    "prometheus_client": {"metrics"},
    "click": {"cli", "demo"},
    "rich": {"top"},  # and loaded by nobody else, see ``quick_start``
    "pytest": {"testing"},
    "logging": {"logger", "logs"},
    "socket": {
        "streams",
        "ready_stream",
        "ready_tls",
        "upstream",
        "front",
        "listeners",
        "systemd",
        "admin_client",
        "attach",
        "workers",
        "testing",
    },
    "ssl": {"upstream", "rfb_io", "certificates", "front", "public_side", "ready_tls", "testing"},
    "asyncio": set[str](),
    "selectors": set[str](),
    "threading": set[str](),
    "multiprocessing": set[str](),
}


def module_name(path: Path) -> str:
    """``trio_cpvm.http.door`` for a file of that module; a package's ``__init__`` keeps that name."""
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def part(module: str) -> str:
    """Which entry of the tables a module of this package is: its first name behind the package's."""
    return module.split(".")[1]


def imported(module: str) -> set[str]:
    """Everything that a module imports, wherever in it, by full name."""
    package = module.split(".")[:-1]
    names = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{origin}.{alias.name}" for alias in node.names}
    return names


def ours(module: str) -> set[str]:
    """The parts of this package that a module imports, other than its own."""
    own = {name.split(".")[1] for name in imported(module) if name.startswith("trio_cpvm.")}
    known = {part(name) for name in MODULES}
    return {name if name in known else "__init__" for name in own} - {part(module)}


def layer_of(name: str) -> int:
    return next(height for height, (_, names) in enumerate(LAYERS) if name in names)


def test_the_table_has_every_file_once() -> None:
    entered = [name for _, names in LAYERS for name in names] + [DOUBLES]
    assert sorted(entered) == sorted({part(module) for module in MODULES})


@pytest.mark.parametrize("module", [module for module in MODULES if part(module) != DOUBLES])
def test_imports_point_downwards(module: str) -> None:
    height = layer_of(part(module))
    upwards = {name for name in ours(module) - {DOUBLES} if layer_of(name) > height}
    assert upwards == set()


@pytest.mark.parametrize("module", [module for module in MODULES if part(module) in LAYERS[1][1]])
def test_protocols_know_nothing_of_each_other(module: str) -> None:
    assert ours(module) <= LAYERS[0][1]


@pytest.mark.parametrize("module", [module for module in MODULES if part(module) == DOUBLES])
def test_doubles_stand_on_the_protocols_only(module: str) -> None:
    assert ours(module) <= LAYERS[0][1] | LAYERS[1][1]


def test_nothing_that_serves_consoles_uses_doubles() -> None:
    assert {part(module) for module in MODULES if DOUBLES in ours(module)} == USERS_OF_DOUBLES


@pytest.mark.parametrize("module", MODULES)
def test_each_library_has_its_place(module: str) -> None:
    roots = {name.partition(".")[0] for name in imported(module)}
    misplaced = {root for root in roots & ONLY_IN.keys() if part(module) not in ONLY_IN[root]}
    assert misplaced == set()


@pytest.mark.parametrize("module", [module for module in MODULES if part(module) in LAYERS[0][1] | LAYERS[1][1]])
def test_shared_files_and_protocols_know_no_trio(module: str) -> None:
    assert {name.partition(".")[0] for name in imported(module)} & {"trio", "outcome", "sniffio"} == set()


@pytest.mark.parametrize("module", sorted(SANS_IO_IN_ACCESS))
def test_the_sans_io_half_of_access_keeps_to_itself(module: str) -> None:
    assert ours(module) <= LAYERS[0][1] | LAYERS[1][1]
    own = {name for name in MODULES if any(i.startswith(name) for i in imported(module))} & {
        name for name in MODULES if part(name) == "access"
    }
    assert own <= SANS_IO_IN_ACCESS
    assert {name.partition(".")[0] for name in imported(module)} & {"trio", "outcome", "sniffio"} == set()


@pytest.mark.parametrize("module", sorted(SANS_IO_IN_WORKERS))
def test_what_workers_say_is_sans_io(module: str) -> None:
    assert ours(module) <= LAYERS[0][1]
    assert {name.partition(".")[0] for name in imported(module)} & {"trio", "outcome", "sniffio"} == set()


def test_importing_the_protocols_brings_no_trio_along() -> None:
    sans_io = SANS_IO_IN_ACCESS | SANS_IO_IN_WORKERS
    lower = [module for module in MODULES if part(module) in LAYERS[0][1] | LAYERS[1][1] or module in sans_io]
    names = [module.removesuffix(".__init__") for module in lower]
    code = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    loaded = done.stdout.split()
    assert set(names) <= set(loaded)
    assert {"trio", "trio_websocket", "wsproto", "trio_cpvm.testing"} & set(loaded) == set()


def test_the_check_sees_imports_of_every_form() -> None:
    assert {"errors", "http"} <= ours("trio_cpvm.websocket")
    assert ours("trio_cpvm.http.door") == {"errors"}
    assert {"server", "demo", "__init__"} <= ours("trio_cpvm.cli")
    assert "trio_cpvm.http.door.Door" in imported("trio_cpvm.http.__init__")
    assert "wsproto.utilities" in imported("trio_cpvm.websocket")
