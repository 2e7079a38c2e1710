"""TLS towards browsers: one certificate, exchanged while the daemon runs.

A new pair takes effect for new connections; one that cannot be used is refused with a log line, and the old one stays.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import trio

from .config import TlsConfig
from .errors import BadConfiguration
from .logger import get_logger

log = get_logger("trio_cpvm.certificates")

#: How often the files are looked at, in seconds.
WATCH_S = 5.0

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
#: With TLS 1.2: forward secrecy and authenticated encryption only. TLS 1.3 has nothing else.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

#: What tells a changed file: modification time, size, inode.
FilesPrint: TypeAlias = tuple[tuple[int, int, int], ...]


class BrowserTls:
    """The certificate that browsers are shown.

    Args:
        config: where it is.

    Attributes:
        context: for new connections.
        files: what tells the files that were read last.

    Raises:
        BadConfiguration: it cannot be used; the text names the key and the file.
    """

    def __init__(self, config: TlsConfig) -> None:
        self._config = config
        self.files = self._fingerprint()
        self.context = self._load()

    async def reload(self) -> bool:
        """Read the files anew, now; whether they could be used."""
        self.files = await self.look()
        try:
            self.context = await trio.to_thread.run_sync(self._load, abandon_on_cancel=True)
        except BadConfiguration as exc:
            log.error("certificate refused", detail=str(exc), kept="the old one")
            return False
        log.info("certificate loaded", file=self._config.certificate)
        return True

    async def look(self) -> FilesPrint:
        """What tells whether the files have changed, as of now."""
        return await trio.to_thread.run_sync(self._fingerprint, abandon_on_cancel=True)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[self._config.minimum_version]
        context.set_ciphers(_CIPHERS)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._config.certificate, self._config.private_key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as exc:
            names = f"{self._config.certificate!r}, tls.private_key = {self._config.private_key!r}"
            words = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or str(exc)
            raise BadConfiguration(f"tls.certificate = {names}: {words}") from exc
        return context

    def _fingerprint(self) -> FilesPrint:
        prints = []
        for name in (self._config.certificate, self._config.private_key):
            try:
                status = Path(name).stat()
                prints.append((status.st_mtime_ns, status.st_size, status.st_ino))
            except OSError:
                prints.append((0, 0, 0))
        return tuple(prints)


async def watch(current: Callable[[], BrowserTls]) -> None:
    """Reload whenever the files have changed, until cancelled.

    A pair is taken once it has been the same for one look: whoever writes it writes two files.

    Args:
        current: the certificate in use; another one, of other files, may take its place.
    """
    seen = current().files
    while True:
        await trio.sleep(WATCH_S)
        tls = current()
        now = await tls.look()
        if now != tls.files and now == seen:
            await tls.reload()
        seen = now


def _no_password() -> str:
    raise ValueError("the private key is encrypted; a daemon has nobody to ask for its password")
