"""Which targets there are: each is a module of this package with a function ``check(data)``."""

from __future__ import annotations

from pathlib import Path

TARGETS = (
    "rfb_handshake",
    "http_door",
    "connect_tunnel",
    "token",
    "input_watcher",
    "client_filter",
    "server_filter",
    "proxy_header",
    "forwarded",
)

#: One folder of inputs for each target.
CORPUS = Path(__file__).parent / "corpus"
