"""Every limit that this proxy enforces, by name: a configuration's key path, or a word where there is no key.

The same name stands in the detail of a refusal, in the metrics and in docs/limits.rst. Nothing here knows the values.
"""

from __future__ import annotations

import enum


class Limit(enum.StrEnum):
    """What there may not be more of, or what may not take longer."""

    CONNECTIONS = "server.max_connections"
    CONNECTIONS_PER_CLIENT = "server.max_connections_per_client"
    HEAD_TIME = "server.head_timeout_s"
    BAD_TOKENS = "token.max_failures"
    SESSIONS = "session.max_sessions"
    SESSIONS_PER_CLIENT = "session.max_sessions_per_client"
    SESSIONS_PER_MACHINE = "session.max_sessions_per_machine"
    CONNECT_TIME = "session.connect_timeout_s"
    HANDSHAKE_TIME = "session.handshake_timeout_s"
    IDLE_TIME = "session.idle_timeout_s"
    LIFETIME = "session.lifetime_s"
    HOST_SILENCE = "session.host_silence_timeout_s"
    #: ``websocket.MAX_MESSAGE_BYTES``: a browser's message, or one of a host that speaks RFB over WebSocket.
    MESSAGE_SIZE = "message-size"
    #: The soft limit of ``RLIMIT_NOFILE``.
    OPEN_FILES = "open-files"
