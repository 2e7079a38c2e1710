"""Ways to a VNC server. Each gives a trio stream, or says why not with a ``ConsoleError``."""

from .dial import Dialler
from .tcp import dial_tcp, forbidden
from .tls import HostTls, secured_by, tls_words

__all__ = ["Dialler", "HostTls", "dial_tcp", "forbidden", "secured_by", "tls_words"]
