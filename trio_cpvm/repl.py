"""``trio-cpvm repl``: trio's own REPL with this package's names in reach.

It is ``python -m trio`` with more built-in names, so whatever works here works there after the imports below.
"""

from __future__ import annotations

import builtins
import runpy

import trio
import trio.testing

from . import errors
from .models import ConsoleTarget, Secret
from .probe import Probe, open_probe
from .rfb.commands import Established, Failed, SendToClient, SendToServer
from .rfb.handshake import Handshake, HandshakeSettings
from .testing import InteractiveVncServer, RfbClient, ScriptedVncServer, http_get, open_websocket
from .token import TokenKey, TokenReader, mint_token, open_token

HELP = """\
In reach: open_probe, Handshake, ScriptedVncServer, InteractiveVncServer, RfbClient, open_websocket, http_get,
ConsoleTarget, Secret, TokenKey, mint_token, open_token, errors, trio. A handshake step by step:
    probe = await open_probe("127.0.0.1:5900", password="secret")
    await probe.step()
"""


def names() -> dict[str, object]:
    """What the REPL begins with."""
    values: list[object] = [
        ConsoleTarget,
        Established,
        Failed,
        Handshake,
        HandshakeSettings,
        InteractiveVncServer,
        Probe,
        RfbClient,
        ScriptedVncServer,
        Secret,
        SendToClient,
        SendToServer,
        TokenKey,
        TokenReader,
        http_get,
        mint_token,
        open_probe,
        open_token,
        open_websocket,
    ]
    named: dict[str, object] = {getattr(value, "__name__", str(value)): value for value in values}
    return named | {"errors": errors, "trio": trio}


def run_repl() -> None:
    """Start the REPL; returns when it is left."""
    print(HELP, end="")  # noqa: T201 -- a REPL talks to its terminal
    vars(builtins).update(names())  # trio's REPL begins with a fresh namespace, but with these built-ins
    runpy.run_module("trio", run_name="__main__", alter_sys=True)
