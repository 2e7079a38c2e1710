"""Talks to a running daemon's admin listener, over TCP or a unix socket, with the standard library's HTTP client."""

from __future__ import annotations

import http.client
import json
import socket

from .config import ListenAddress, UnixAddress

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 16 << 20


class AdminUnreachable(Exception):
    """Nobody answers at the admin listener, or not as expected."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)


class AdminClient:
    """One daemon's admin listener."""

    def __init__(self, address: ListenAddress) -> None:
        self._address = address

    def sessions(self) -> list[dict[str, object]]:
        """The running sessions.

        Raises:
            AdminUnreachable: as every method here.
        """
        _, answer = self._call("GET", "/sessions")
        listed = answer.get("sessions")
        return listed if isinstance(listed, list) else []

    def kill(self, session_id: str) -> bool:
        """End a session; false if there is none of that id."""
        status, _ = self._call("POST", f"/sessions/{session_id}/kill", also=404)
        return status == 200

    def drain(self) -> int:
        """Let the daemon end; how many sessions are running."""
        _, answer = self._call("POST", "/drain")
        count = answer.get("sessions")
        return count if isinstance(count, int) else 0

    def _call(self, method: str, path: str, *, also: int = 200) -> tuple[int, dict[str, object]]:
        where = self._address
        try:
            if isinstance(where, UnixAddress):
                connection: http.client.HTTPConnection = _UnixConnection(where.path)
            else:
                connection = http.client.HTTPConnection(where.host or "127.0.0.1", where.port, timeout=TIMEOUT_S)
            try:
                connection.request(method, path, headers={"Content-Length": "0"} if method == "POST" else {})
                response = connection.getresponse()
                raw = response.read(MAX_ANSWER_BYTES)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as exc:
            raise AdminUnreachable(f"no daemon answers at {where}: {exc}") from exc
        if response.status == also and also != 200:
            return response.status, {}
        if response.status != 200:
            raise AdminUnreachable(f"{where} answered {response.status} to {path}")
        try:
            answer = json.loads(raw)
        except ValueError:
            raise AdminUnreachable(f"{where} is no trio-cpvm admin listener") from None
        return response.status, answer if isinstance(answer, dict) else {}
