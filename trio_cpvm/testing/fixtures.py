"""Fixtures for pytest-trio; a project loads them with ``pytest_plugins = ["trio_cpvm.testing.fixtures"]``.

``vnc_double``
    A dialer (``await vnc_double.dial(...)``) to a scripted VNC server, which is the fixture ``vnc_double_server``.
    Override that one, in a module or a ``conftest.py``, for another server.
``interactive_vnc``
    A running ``InteractiveVncServer``; ``interactive_vnc.connect()`` is a connection to it.

Only this file of the package imports pytest.
"""

from __future__ import annotations

import pytest
import trio

from .interactive import InteractiveVncServer
from .scripted import ScriptedVncServer
from .streams import MemoryDialer


@pytest.fixture
def vnc_double_server() -> ScriptedVncServer:
    """An ordinary RFB 3.8 host whose password is ``secret``."""
    return ScriptedVncServer(password="secret")


@pytest.fixture
def vnc_double(vnc_double_server: ScriptedVncServer, nursery: trio.Nursery) -> MemoryDialer:
    """A dialer to ``vnc_double_server``; its connections end with the test."""
    return vnc_double_server.start(nursery)


@pytest.fixture
def interactive_vnc(nursery: trio.Nursery) -> InteractiveVncServer:
    """A machine to type and draw on, without a password, its clock ticking until the test ends."""
    server = InteractiveVncServer()
    nursery.start_soon(server.run)
    return server
