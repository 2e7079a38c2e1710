"""Talks to a running daemon's admin listener, over TCP or a unix socket, with the standard library's HTTP client."""

from __future__ import annotations

import http.client
import json
import socket
from urllib.parse import quote

from .config_values import ListenAddress, UnixAddress

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

    def overview(self) -> dict[str, object]:
        """The daemon as a whole and its running sessions, as ``GET /sessions`` tells them.

        Raises:
            AdminUnreachable: as every method here.
        """
        _, answer = self._call("GET", "/sessions")
        listed = answer.get("sessions")
        if not isinstance(listed, list) or not all(isinstance(session, dict) for session in listed):
            raise self._no_daemon()
        return answer

    def sessions(self) -> list[dict[str, object]]:
        """The running sessions."""
        listed = self.overview()["sessions"]
        return listed if isinstance(listed, list) else []

    def kill(self, session_id: str) -> bool:
        """End a session; false if there is none of that id."""
        spelled = quote(session_id, safe="", errors="replace")
        status, _ = self._call("POST", f"/sessions/{spelled}/kill", also=404)
        return status == 200

    def drain(self) -> int:
        """Let the daemon end; how many sessions are running."""
        _, answer = self._call("POST", "/drain")
        count = answer.get("sessions")
        if not isinstance(count, int):
            raise self._no_daemon()
        return count

    def _no_daemon(self) -> AdminUnreachable:
        return AdminUnreachable(f"{self._address} is no trio-cpvm admin listener")

    def _call(self, method: str, path: str, *, also: int = 200) -> tuple[int, dict[str, object]]:
        where = self._address
        try:
            if isinstance(where, UnixAddress):
                connection: http.client.HTTPConnection = _UnixConnection(where.path)
            else:
                connection = http.client.HTTPConnection(where.host or "127.0.0.1", where.port, timeout=TIMEOUT_S)
            try:
                # the admin site answers to no name but this one, whatever its address is called here
                headers = {"Host": "localhost", **({"Content-Length": "0"} if method == "POST" else {})}
                connection.request(method, path, headers=headers)
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
            raise self._no_daemon() from None
        return response.status, answer if isinstance(answer, dict) else {}
