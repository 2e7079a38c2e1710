"""The configuration read anew while the daemon runs: all of it is taken, or nothing.

Knows which keys cannot change while sockets are open, and says so; what is made of the rest ``parts`` knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import attrs
import trio

from .config import AdminConfig, Config, LogConfig, config_of, config_text
from .errors import BadConfiguration
from .logger import get_logger
from .metrics import Metrics
from .parts import Parts, discard, make_parts
from .systemd import ServiceManager

log = get_logger("trio_cpvm.reload")

#: What is fixed once the daemon runs; the admin listener is set up once, with all that it has.
FIXED_KEYS = (
    "server.listen",
    "server.listen_tls",
    "server.workers",
    *(f"admin.{key.name}" for key in attrs.fields(AdminConfig)),
)
#: What may hold a password or ticket; only its name is told.
UNTOLD_KEYS = frozenset({"access.inventory", "access.legacy_console_url"})
#: How long all files may take, in seconds; a pipe that nobody writes to, or a disk that is gone, takes for ever.
READ_S = 30.0
#: How much of a value is told.
MAX_VALUE_CHARS = 500


class Reloadable(Protocol):
    """A daemon, of one process or several."""

    @property
    def parts(self) -> Parts:
        """What it works with."""
        ...

    @property
    def metrics(self) -> Metrics:
        """What it counts."""
        ...

    @property
    def draining(self) -> bool:
        """Whether its end has begun."""
        ...

    async def prepare(self, config_text: str) -> None:
        """Have all of its processes make what a configuration says, and wait for ``take``.

        Raises:
            BadConfiguration: one of them cannot; none takes it.
        """
        ...

    def take(self, parts: Parts) -> None:
        """Work with other parts from this moment on."""
        ...

    async def settle(self) -> None:
        """Wait until all of its processes do."""
        ...


class Reloader:
    """Reads a daemon's configuration anew.

    Args:
        server: the daemon.
        path: its configuration file.
        configure_logging: makes the log look as configured.
        status: a line about the daemon for the service manager.
        manager: who is told of reloads.
    """

    def __init__(
        self,
        server: Reloadable,
        path: Path,
        *,
        configure_logging: Callable[[LogConfig], None],
        status: Callable[[], str] = str,
        manager: ServiceManager | None = None,
    ) -> None:
        self._server = server
        self._path = path
        self._configure_logging = configure_logging
        self._status = status
        self._manager = manager or ServiceManager()
        self._one_at_a_time = trio.Lock()

    async def reload(self) -> None:
        """Take the file as it is now, if all that it names can be used; otherwise the old configuration stays, whole.

        Files are read in a thread: the sessions go on. Raises nothing but ``Cancelled``.
        """
        if self._one_at_a_time.statistics().tasks_waiting:
            return  # that one has not begun to read
        async with self._one_at_a_time:
            await self._manager.reloading()
            try:
                with trio.fail_after(READ_S):
                    parts, ignored, text = await trio.to_thread.run_sync(self._prepare, abandon_on_cancel=True)
                    await self._server.prepare(text)
            except BadConfiguration as exc:
                self._refuse(str(exc))
            except trio.TooSlowError:
                self._refuse(f"{self._path}: not read within {READ_S:g} s, with all that it names")
            except Exception:
                log.exception("internal error")
                self._server.metrics.reloaded(ok=False)
            else:
                old = self._server.parts
                await self._take(parts, ignored)
                await trio.to_thread.run_sync(discard, old, parts, abandon_on_cancel=True)
            if not self._server.draining:
                await self._manager.ready(self._status())

    def _refuse(self, faults: str) -> None:
        for fault in faults.splitlines():
            log.error("configuration refused", detail=fault, kept="the old one")
        self._server.metrics.reloaded(ok=False)

    def _prepare(self) -> tuple[Parts, list[str], str]:
        old, text = self._server.parts, config_text(self._path)
        config, ignored = keep_fixed(old.config, config_of(text, self._path))
        return make_parts(config, before=old), ignored, text

    async def _take(self, parts: Parts, ignored: list[str]) -> None:
        old = self._server.parts
        self._server.take(parts)
        await self._server.settle()
        if parts.config.log != old.config.log:
            self._configure_logging(parts.config.log)
        self._server.metrics.reloaded(ok=True)
        for key in ignored:
            log.warning("needs a restart", key=key, kept=_value(old.config, key))
        log.info("configuration reloaded", file=str(self._path), changed=list(changes(old, parts)))


def keep_fixed(old: Config, new: Config) -> tuple[Config, list[str]]:
    """The new configuration, but with the old one's fixed keys; and which of them it would have had otherwise.

    While somebody listens with TLS there has to be a certificate, so a file that no longer has one keeps the old one's.
    """
    ignored = [key for key in FIXED_KEYS if _get(old, key) != _get(new, key)]
    kept = new
    for key in FIXED_KEYS:
        table, name = key.split(".")
        kept = attrs.evolve(kept, **{table: attrs.evolve(getattr(kept, table), **{name: _get(old, key)})})
    if old.server.listen_tls and not (new.tls.certificate and new.tls.private_key):
        kept = attrs.evolve(kept, tls=old.tls)
        ignored.append("tls")
    return kept, ignored


def changes(old: Parts, new: Parts) -> Iterator[str]:
    """What is different, key by key, with the new values; files whose content has changed as well."""
    for table in attrs.fields(Config):
        for key in attrs.fields(type(getattr(new.config, table.name))):
            path = f"{table.name}.{key.name}"
            if _get(old.config, path) != _get(new.config, path):
                yield path if path in UNTOLD_KEYS else f"{path} = {_value(new.config, path)}"
    if old.config.token.key_files == new.config.token.key_files and old.gate.tokens.keys != new.gate.tokens.keys:
        yield "token.key_files: other keys"
    if old.config.tls == new.config.tls and _certificate_files(old) != _certificate_files(new):
        yield "tls.certificate: another certificate"


def _certificate_files(parts: Parts) -> object:
    return parts.certificate.files if parts.certificate is not None else None


def _get(config: Config, path: str) -> object:
    table, name = path.split(".")
    return getattr(getattr(config, table), name)


def _value(config: Config, path: str) -> str:
    """A value as it stands in the file, more or less."""
    if "." not in path:
        return "the old one"
    value = _get(config, path)
    if isinstance(value, tuple):
        value = [str(item) for item in value]
    text = repr(value if isinstance(value, bool | int | float | list) else str(value))
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 3] + "..."
