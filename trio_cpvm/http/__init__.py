"""HTTP/1.1 as far as a console needs it, sans-I/O: bytes in, requests out; responses in, bytes out. No trio in here."""

from .door import Door
from .messages import Request, Response
from .upgrade import Upgrade, websocket_upgrade

__all__ = ["Door", "Request", "Response", "Upgrade", "websocket_upgrade"]
