"""The start: what is not imported for it, and that it is there for whoever wants it later."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from trio_cpvm.quick_start import UNUSED, quick_imports

#: Prints what of the unused the daemon has loaded all the same, and whether the garbage collector runs.
PROGRAM = """
import gc, sys
from trio_cpvm.quick_start import UNUSED, quick_imports
with quick_imports():
    import trio_cpvm.cli, trio_cpvm.daemon
print([name for name in (*UNUSED, "trio_websocket", "wsproto") if name in sys.modules], gc.isenabled())
import cffi, rich, trio, trio_cpvm.websocket
trio.run(trio_cpvm.websocket.learn_answers)
print(*[name for name in ("cffi", "rich", "trio_websocket", "wsproto") if name in sys.modules])
"""


def test_the_daemon_loads_nothing_that_nobody_uses() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[] True", "cffi rich trio_websocket wsproto"]


def test_what_is_loaded_already_stays() -> None:
    before = {name: sys.modules.get(name) for name in UNUSED}
    sys.modules["cffi"] = gc  # any module will do
    try:
        with quick_imports():
            assert sys.modules["cffi"] is gc
            assert not gc.isenabled()
        assert sys.modules["cffi"] is gc
        assert gc.isenabled()
    finally:
        del sys.modules["cffi"]
        sys.modules.update({name: module for name, module in before.items() if module is not None})


def test_a_failure_leaves_everything_as_it_was() -> None:
    before = [sys.modules.get(name) for name in UNUSED]
    with pytest.raises(ZeroDivisionError), quick_imports():
        raise ZeroDivisionError
    assert [sys.modules.get(name) for name in UNUSED] == before
    assert gc.isenabled()
