"""Ways to a VNC server. Each gives a trio stream, or says why not with a ``ConsoleError``."""

from .tcp import dial_tcp, forbidden

__all__ = ["dial_tcp", "forbidden"]
