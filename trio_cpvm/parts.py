"""Everything that is made of the configuration: at the start, at a reload, and to check a file.

Making it reads files and blocks; nothing that runs is touched by it. What has to outlive a reload (what is remembered
of callers, libvirt's connections) is handed on from the parts before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import attrs

from .access.memory import AccessMemory, CallerMemory
from .certificates import BrowserTls
from .clients import Clients
from .config import AccessConfig, Config
from .errors import BadConfiguration
from .gate import Gate
from .limiter import FailureLimiter
from .site import Dial, StartsTls
from .static import PageFiles
from .token import TokenReader, read_key_file
from .upstream import Dialler

if TYPE_CHECKING:  # what belongs to the access endpoint is loaded where that is enabled
    from .access.callers import Callers
    from .access.machines import Inventory
    from .access.site import AccessSite

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Parts:
    """What a daemon works with, as one configuration says.

    Attributes:
        config: the configuration.
        gate: looks at tokens.
        pages: the page and its files.
        dial: opens the way to a VNC server.
        start_tls: begins TLS on that way.
        clients: finds out who is asking.
        certificate: towards browsers; ``None`` where nothing listens with TLS.
        callers: who may ask the access endpoint, as of now; ``None`` without it.
        inventory: where its machines are; likewise.
        access: the endpoint itself; likewise.
        access_memory: what it remembers, also while it is off.
    """

    config: Config
    gate: Gate
    pages: PageFiles
    dial: Dial
    start_tls: StartsTls
    clients: Clients
    certificate: BrowserTls | None
    callers: Callers | None
    inventory: Inventory | None
    access: AccessSite | None
    access_memory: CallerMemory


def make_parts(
    config: Config,
    *,
    before: Parts | None = None,
    gate: Gate | None = None,
    dial: Dial | None = None,
    access_memory: CallerMemory | None = None,
) -> Parts:
    """Make everything anew. Blocks; may run in a thread, since ``before`` is only looked at.

    Args:
        config: the configuration.
        before: the parts in use, whose memory is taken along.
        gate: in place of one with the configured key files.
        dial: in place of the configured ways.
        access_memory: in place of a new one.

    Raises:
        BadConfiguration: one line for each key or certificate file, or one of the access endpoint's, that cannot be
            used; or the page is not built.
    """
    faults: list[str] = []

    def attempt(make: Callable[[], T]) -> T | None:
        try:
            return make()
        except BadConfiguration as exc:
            faults.append(str(exc))
            return None

    server, access = config.server, config.access
    if gate is None:
        gate = attempt(lambda: make_gate(config))
    dialler = attempt(lambda: Dialler(config))
    certificate = attempt(lambda: BrowserTls(config.tls)) if server.listen_tls else None
    tls_only = bool(server.listen_tls) and not server.listen
    pages = attempt(lambda: PageFiles(frame_ancestors=server.allowed_origins, tls_only=tls_only))
    callers, inventory = None, None
    if access.enabled:
        from .access.setup import open_callers

        callers = attempt(lambda: open_callers(access.callers_file))
        inventory = attempt(lambda: _inventory(access, before))
    if faults or gate is None or dialler is None or pages is None:
        raise BadConfiguration("\n".join(faults))
    memory = before.access_memory if before is not None else access_memory
    if memory is None:
        memory = AccessMemory(FailureLimiter(access.max_failures, access.failure_window_s))
    site = None
    if callers is not None and inventory is not None:
        from .access.site import AccessSite

        site = AccessSite(
            config=config,
            tokens=gate.tokens,
            callers=callers.current,
            inventory=inventory,
            pages=pages,
            memory=memory,
        )
    return Parts(
        config=config,
        gate=gate,
        pages=pages,
        dial=dial or dialler.dial,
        start_tls=dialler.start_tls,
        clients=Clients(trusted_proxies=server.trusted_proxies, proxy_protocol=server.proxy_protocol),
        certificate=certificate,
        callers=callers.value if callers is not None else None,
        inventory=inventory,
        access=site,
        access_memory=memory,
    )


def discard(old: Parts, new: Parts) -> None:
    """Give back what the old parts have and the new ones do not. Blocks; not for trio's thread."""
    if old.inventory is None or old.inventory is new.inventory:
        return
    from .access.libvirt_inventory import LibvirtInventory

    if isinstance(old.inventory, LibvirtInventory):
        old.inventory.close()


def make_gate(config: Config) -> Gate:
    """A gate as the configuration says.

    Raises:
        BadConfiguration: a key file cannot be used; one line for each.
    """
    keys, faults = [], []
    for path in config.token.key_files:
        try:
            keys.append(read_key_file(path))
        except BadConfiguration as exc:
            faults.append(str(exc))
    if faults:
        raise BadConfiguration("\n".join(faults))
    tokens = TokenReader(
        keys=tuple(keys),
        accept_legacy_cbc=config.token.accept_legacy_cbc,
        require_expiry=config.token.require_expiry,
        clock_skew_s=config.token.clock_skew_s,
    )
    return Gate(
        tokens=tokens,
        check_source_ip=config.session.check_source_ip,
        single_use=config.token.single_use,
        reconnect_window_s=config.session.reconnect_window_s,
        trusted_proxies=config.server.trusted_proxies,
    )


def _inventory(access: AccessConfig, before: Parts | None) -> Inventory:
    """The inventory: the one before, with its connections, if it asks libvirt and is to ask the same one."""
    from .access.libvirt_inventory import LibvirtInventory
    from .access.setup import open_inventory

    if before is not None and isinstance(before.inventory, LibvirtInventory):
        old = before.config.access
        if (old.inventory, old.libvirt_host) == (access.inventory, access.libvirt_host):
            return before.inventory
    return open_inventory(access)
