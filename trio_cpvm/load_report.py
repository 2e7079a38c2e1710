"""The running sessions as CloudStack's console proxy reports its load, for ``/cmd/getstatus``.

Source: CloudStack ``ConsoleProxyCmdHandler.java`` and ``ConsoleProxyClientStatsCollector.java``. The management
server's agent fetches it, and the management server reads it with Gson: names and types are the contract. There is no
``removedSessions`` in an answer to ``getstatus``: CloudStack's own leaves it out, as ended sessions may be told once
only, in the agent's own reports.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from .shown import Shown

#: What CloudStack answers with.
CONTENT_TYPE = "text/plain"


def load_report(sessions: Iterable[Shown], *, now: float) -> bytes:
    """The report as pretty-printed JSON.

    Args:
        sessions: that run.
        now: the time of day, in seconds since the epoch.
    """
    connections = [_connection(session, now) for session in sessions]
    return json.dumps({"connections": connections}, indent=2).encode()


def _connection(session: Shown, now: float) -> dict[str, str | int]:
    target = session.target
    entry: dict[str, str | int] = {
        "id": int(session.id[:7], 16),  # a Java int has 31 bits for it
        "clientInfo": "",
        "host": target.host,
        "port": target.port,
        "tag": target.vm_id,
        "createTime": _milliseconds(now - session.age_s),
        "lastUsedTime": _milliseconds(now - session.idle_s),
    }
    if target.session_uuid:  # Gson leaves out what is null
        entry["sessionUuid"] = target.session_uuid
    return entry


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
