"""The configuration: TOML into frozen classes, each error naming the file, the key path and the bad value.

The classes are the contract (names, units, defaults).

This file reads one file and nothing else; key files and certificates are read by whoever uses them.
"""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from .addresses import Network, TrustedProxy
from .config_reader import kind_of, read_table, show
from .config_values import (
    HostPattern,
    ListenAddress,
    Origin,
    TcpAddress,
    UnixAddress,
    at_least,
    between,
    inventory,
    link,
    normalise_origin,
    not_empty,
    one_of,
    web_address,
    zero_or_at_least,
)
from .errors import BadConfiguration
from .models import MAX_CLIPBOARD_BYTES, Clipboard

#: More processes than that share nothing but the work of watching over them.
MAX_WORKERS = 64
#: A larger file is something else; a reload must not fill the daemon's memory with it.
MAX_FILE_BYTES = 1 << 20


@attrs.frozen(kw_only=True)
class ServerConfig:
    """``[server]``: listeners and what holds for every connection."""

    listen: tuple[ListenAddress, ...] = (TcpAddress("127.0.0.1", 8080),)
    listen_tls: tuple[ListenAddress, ...] = ()
    public_url: str = attrs.field(default="", validator=web_address)
    workers: int = attrs.field(default=1, validator=between(1, MAX_WORKERS))
    allowed_origins: tuple[Origin, ...] = ()
    trusted_proxies: tuple[TrustedProxy, ...] = ()
    proxy_protocol: bool = False
    head_timeout_s: float = attrs.field(default=10.0, validator=at_least(0.1))
    drain_timeout_s: float = attrs.field(default=60.0, validator=at_least(0))
    max_connections: int = attrs.field(default=20000, validator=at_least(1))
    max_connections_per_client: int = attrs.field(default=500, validator=at_least(0))

    @property
    def public_origin(self) -> str:
        """The web origin of ``public_url``; empty without one."""
        parts = urlsplit(self.public_url)
        return normalise_origin(f"{parts.scheme}://{parts.netloc}") if self.public_url else ""


@attrs.frozen(kw_only=True)
class TlsConfig:
    """``[tls]``: certificates towards browsers."""

    certificate: str = ""
    private_key: str = ""
    minimum_version: str = attrs.field(default="1.2", validator=one_of("1.2", "1.3"))


@attrs.frozen(kw_only=True)
class TokenConfig:
    """``[token]``: keys, and which tokens are good."""

    key_files: tuple[Path, ...] = attrs.field(default=(Path("token-key.json"),), validator=not_empty)
    accept_legacy_cbc: bool = False
    require_expiry: bool = True
    clock_skew_s: float = attrs.field(default=5.0, validator=at_least(0))
    single_use: bool = True
    max_failures: int = attrs.field(default=20, validator=between(0, 1000))
    failure_window_s: float = attrs.field(default=60.0, validator=at_least(1))


@attrs.frozen(kw_only=True)
class SessionConfig:
    """``[session]``: time limits in seconds (0: none, where allowed) and how many consoles at once."""

    connect_timeout_s: float = attrs.field(default=10.0, validator=at_least(0.1))
    handshake_timeout_s: float = attrs.field(default=15.0, validator=at_least(0.1))
    idle_timeout_s: float = attrs.field(default=300.0, validator=at_least(0))
    lifetime_s: float = attrs.field(default=0.0, validator=at_least(0))
    max_sessions: int = attrs.field(default=1000, validator=at_least(1))
    max_sessions_per_client: int = attrs.field(default=50, validator=at_least(0))
    max_sessions_per_machine: int = attrs.field(default=20, validator=at_least(0))
    second_viewer: str = attrs.field(default="replace", validator=one_of("replace", "refuse", "share"))
    shared_input: str = attrs.field(default="all", validator=one_of("all", "first"))
    host_silence_timeout_s: float = attrs.field(default=0.0, validator=at_least(0))
    ping_interval_s: float = attrs.field(default=20.0, validator=zero_or_at_least(0.1))
    reconnect_window_s: float = attrs.field(default=0.0, validator=at_least(0))
    check_source_ip: bool = False
    clipboard: Clipboard = Clipboard.BOTH
    clipboard_max_bytes: int = attrs.field(default=0, validator=between(0, MAX_CLIPBOARD_BYTES))


@attrs.frozen(kw_only=True)
class UpstreamConfig:
    """``[upstream]``: where consoles may be and how hosts are trusted."""

    allowed_networks: tuple[Network, ...] = (
        ipaddress.ip_network("0.0.0.0/0"),
        ipaddress.ip_network("::/0"),
    )
    ca_file: str = ""
    client_certificate: str = ""
    client_key: str = ""
    verify_certificate: bool = True
    verify_hostname: bool = True
    allow_plaintext: bool = True
    allow_anonymous_tls: bool = False
    allow_no_authentication: bool = False
    tls_hosts: tuple[HostPattern, ...] = ()
    unix_socket_directory: str = ""


@attrs.frozen(kw_only=True)
class AdminConfig:
    """``[admin]``: the listener for operators."""

    listen: ListenAddress = attrs.field(default=TcpAddress("127.0.0.1", 8001))
    repl: bool = False


@attrs.frozen(kw_only=True)
class AccessConfig:
    """``[access]``: the access endpoint."""

    enabled: bool = False
    legacy_console_url: str = attrs.field(default="", validator=link)
    callers_file: Path = Path("callers.toml")
    inventory: str = attrs.field(default="file:machines.toml", validator=inventory)
    libvirt_host: str = ""
    token_ttl_s: float = attrs.field(default=120.0, validator=at_least(1))
    reusable_tokens: bool = False
    max_failures: int = attrs.field(default=10, validator=between(0, 1000))
    failure_window_s: float = attrs.field(default=300.0, validator=at_least(1))


@attrs.frozen(kw_only=True)
class LogConfig:
    """``[log]``: how much is logged, and in which form."""

    level: str = attrs.field(default="info", validator=one_of("debug", "info", "warning", "error"))
    format: str = attrs.field(default="console", validator=one_of("console", "json"))


@attrs.frozen(kw_only=True)
class Config:
    """The whole configuration; every part has defaults."""

    server: ServerConfig = ServerConfig()
    tls: TlsConfig = TlsConfig()
    token: TokenConfig = TokenConfig()
    session: SessionConfig = SessionConfig()
    upstream: UpstreamConfig = UpstreamConfig()
    admin: AdminConfig = AdminConfig()
    access: AccessConfig = AccessConfig()
    log: LogConfig = LogConfig()


def load_config(path: Path) -> Config:
    """Read a configuration file. Relative names of key and certificate files are taken from the file's own folder.

    Raises:
        BadConfiguration: with one line per fault: file, key path, value and what is wrong with it.
    """
    return config_of(config_text(path), path)


def config_text(path: Path) -> str:
    """What a configuration file says.

    Raises:
        BadConfiguration: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            raise BadConfiguration(f"{path}: more than {MAX_FILE_BYTES} bytes")
        return raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise BadConfiguration(f"{path}: {getattr(exc, 'strerror', None) or exc}") from exc


def config_of(text: str, path: Path) -> Config:
    """As ``load_config``, of a file whose text is at hand."""
    config = parse_config(text, str(path))

    def beside(name: str) -> str:
        return str(path.parent / name) if name else ""

    return attrs.evolve(
        config,
        token=attrs.evolve(config.token, key_files=tuple(path.parent / file for file in config.token.key_files)),
        tls=attrs.evolve(
            config.tls, certificate=beside(config.tls.certificate), private_key=beside(config.tls.private_key)
        ),
        upstream=attrs.evolve(
            config.upstream,
            ca_file=beside(config.upstream.ca_file),
            client_certificate=beside(config.upstream.client_certificate),
            client_key=beside(config.upstream.client_key),
        ),
        access=attrs.evolve(
            config.access,
            callers_file=path.parent / config.access.callers_file,
            inventory=_beside(config.access.inventory, path.parent),
        ),
    )


def _beside(inventory: str, folder: Path) -> str:
    kind, _, rest = inventory.partition(":")
    return f"{kind}:{folder / rest}" if kind == "file" else inventory


def parse_config(text: str, source: str) -> Config:
    """Read a configuration from TOML text; ``source`` is what errors call it.

    Raises:
        BadConfiguration: as ``load_config``.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise BadConfiguration(f"{source}: not TOML: {exc}") from exc
    faults: list[str] = []
    tables: dict[str, object] = {}
    kinds = attrs.fields_dict(attrs.resolve_types(Config))
    for name, value in raw.items():
        if name not in kinds:
            faults.append(f"{name}: unknown key (value {show(value)})")
        elif not isinstance(value, dict):
            faults.append(f"{name} = {show(value)}: expected a table")
        else:
            tables[name] = read_table(kind_of(kinds[name]), value, name, faults)
    if not faults:
        config = Config(**tables)  # type: ignore[arg-type]
        faults += _contradictions(config)
    if faults:
        raise BadConfiguration.with_faults(source, faults)
    return config


def _contradictions(config: Config) -> list[str]:
    """What each key allows and all together do not."""
    faults = []
    if not config.server.listen and not config.server.listen_tls:
        faults.append("server.listen = [] and server.listen_tls = []: at least one address is needed")
    if config.server.listen_tls and not (config.tls.certificate and config.tls.private_key):
        faults.append("server.listen_tls needs tls.certificate and tls.private_key")
    if config.server.proxy_protocol and not config.server.trusted_proxies:
        faults.append("server.proxy_protocol needs server.trusted_proxies: nobody else's PROXY header is believed")
    if bool(config.upstream.client_certificate) != bool(config.upstream.client_key):
        faults.append("upstream.client_certificate and upstream.client_key go together")
    if config.admin.repl and not isinstance(config.admin.listen, UnixAddress):
        faults.append("admin.repl = true needs admin.listen = unix:/path: only there it is known who attaches")
    return faults
