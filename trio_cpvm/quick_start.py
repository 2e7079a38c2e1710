"""What makes the start of a process quick. Of the process's own imports only: a library leaves other people's alone."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: What libraries load where it is installed, and nobody here uses: rich draws tracebacks for structlog that this
#: program never asks it for, cffi reads C declarations for pycryptodome that ctypes does without, no slower. Together a
#: fifth of the start.
UNUSED = ("cffi", "rich")


@contextmanager
def quick_imports() -> Iterator[None]:
    """What is imported within the block finds nothing of ``UNUSED``, and nobody looks for garbage among modules."""
    hidden = [name for name in UNUSED if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # "import: ModuleNotFoundError" in Python's reference
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
        for name in hidden:
            if sys.modules.get(name) is None:
                del sys.modules[name]
