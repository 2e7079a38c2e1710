"""The configuration: TOML into frozen classes, each error naming the file, the key path and the bad value.

The classes are the contract (names, units, defaults). Keys whose feature this version does not have yet are known here
and accepted with their default only: a setting that does nothing would be worse than an error.

This file reads one file and nothing else; key files and certificates are read by whoever uses them.
"""

from __future__ import annotations

import ipaddress
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NewType, TypeAlias, TypeVar, cast, get_args, get_origin
from urllib.parse import SplitResult, urlsplit

import attrs
from cattrs import Converter

from .addresses import Network, TrustedProxy, normal_address, parse_trusted_proxy
from .errors import BadConfiguration
from .models import MAX_CLIPBOARD_BYTES, Clipboard, Secret, format_address


@attrs.frozen
class TcpAddress:
    """Where to listen: ``host:port``; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return format_address(self.host, self.port)


@attrs.frozen
class UnixAddress:
    """Where to listen: ``unix:/path``."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


ListenAddress: TypeAlias = TcpAddress | UnixAddress

_HOST_PORT = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")


def parse_listen_address(text: str) -> ListenAddress:
    """Read ``host:port``, ``[v6]:port`` or ``unix:/path``. An empty host means every address of the machine.

    Raises:
        ValueError: it is none of these.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/"):
            raise ValueError("a unix socket needs an absolute path: unix:/path")
        return UnixAddress(path)
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError("expected host:port, [v6]:port or unix:/path")
    return TcpAddress(match["six"] or match["host"] or "", int(match["port"]))


Origin = NewType("Origin", str)
HostPattern = NewType("HostPattern", str)


_PATTERN = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9.-]+))(?::(?P<port>[0-9]{1,5}))?")


def parse_host_pattern(text: str) -> HostPattern:
    """A host that is marked in the configuration: a network, an address or a name, the latter two perhaps with
    ``:port``.

    Raises:
        ValueError: it is none.
    """
    if "/" in text:
        return HostPattern(str(ipaddress.ip_network(text)))
    if text.count(":") > 1 and not text.startswith("["):
        return HostPattern(_one_spelling(str(ipaddress.IPv6Address(text))))
    match = _PATTERN.fullmatch(text)
    if match is None or int(match["port"] or 0) > 65535:
        raise ValueError("expected a network, an address or a name, with or without :port")
    host = _one_spelling(str(ipaddress.IPv6Address(match["six"])) if match["six"] else match["host"])
    return HostPattern(format_address(host, int(match["port"])) if match["port"] else host)


def host_matches(pattern: HostPattern, host: str, port: int) -> bool:
    """Whether a console host is one that a pattern means, however it spells its address."""
    host = _one_spelling(host)
    if "/" in pattern:
        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(pattern)
        except ValueError:
            return False
    return pattern in (host, format_address(host, port))


def _one_spelling(host: str) -> str:
    """One for each address, an IPv4-mapped one being its IPv4 address; a name in lower case, without a dot behind."""
    try:
        return normal_address(host)
    except ValueError:
        return host.lower().removesuffix(".")


def normalise_origin(text: str) -> str:
    """``scheme://host[:port]`` in lower case, without a default port.

    Raises:
        ValueError: it is no origin.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError("expected an origin such as https://cloud.example.com")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default_port = 443 if parts.scheme == "https" else 80
    return f"{parts.scheme}://{host}" + ("" if parts.port in (None, default_port) else f":{parts.port}")


_T = TypeVar("_T")
_Number = TypeVar("_Number", int, float)


def _at_least(lowest: float) -> Callable[[object, attrs.Attribute[_Number], _Number], None]:
    def check(_: object, attribute: attrs.Attribute[_Number], value: _Number) -> None:
        if not lowest <= value < math.inf:
            raise ValueError(f"must be at least {lowest}")

    return check


def _zero_or_at_least(lowest: float) -> Callable[[object, attrs.Attribute[float], float], None]:
    def check(_: object, attribute: attrs.Attribute[float], value: float) -> None:
        if value != 0 and not lowest <= value < math.inf:
            raise ValueError(f"must be 0 or at least {lowest}")

    return check


def _between(lowest: int, highest: int) -> Callable[[object, attrs.Attribute[int], int], None]:
    def check(_: object, attribute: attrs.Attribute[int], value: int) -> None:
        if not lowest <= value <= highest:
            raise ValueError(f"must be between {lowest} and {highest}")

    return check


def _not_yet(_: object, attribute: attrs.Attribute[_T], value: _T) -> None:
    if value != attribute.default:
        raise ValueError("this version does not have that yet; leave the key out")


def _not_empty(_: object, attribute: attrs.Attribute[tuple[_T, ...]], value: tuple[_T, ...]) -> None:
    if not value:
        raise ValueError("at least one is needed")


def _url_parts(value: str) -> SplitResult:
    """Raises ``ValueError`` for what could not stand in a header either."""
    if not all("!" <= char <= "~" for char in value):
        raise ValueError("a URL has no spaces and only ASCII")
    parts = urlsplit(value)
    _ = parts.port  # raises, too
    return parts


def _web_address(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    parts = _url_parts(value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
        raise ValueError("expected http(s)://host[:port][/path], or nothing")


def _link(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    parts = _url_parts(value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment):
        raise ValueError("expected http(s)://host[:port][/path][?query], or nothing")


def _inventory(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    kind, _, rest = value.partition(":")
    if kind not in ("file", "libvirt") or not rest:
        raise ValueError("expected file:PATH or libvirt:URI")


def _one_of(*words: str) -> Callable[[object, attrs.Attribute[str], str], None]:
    def check(_: object, attribute: attrs.Attribute[str], value: str) -> None:
        if value not in words:
            raise ValueError("expected one of " + ", ".join(words))

    return check


@attrs.frozen(kw_only=True)
class ServerConfig:
    """``[server]``: listeners and what holds for every connection."""

    listen: tuple[ListenAddress, ...] = (TcpAddress("127.0.0.1", 8080),)
    listen_tls: tuple[ListenAddress, ...] = ()
    public_url: str = attrs.field(default="", validator=_web_address)
    workers: int = attrs.field(default=1, validator=_not_yet)
    allowed_origins: tuple[Origin, ...] = ()
    trusted_proxies: tuple[TrustedProxy, ...] = ()
    proxy_protocol: bool = False
    head_timeout_s: float = attrs.field(default=10.0, validator=_at_least(0.1))
    drain_timeout_s: float = attrs.field(default=60.0, validator=_at_least(0))
    max_connections: int = attrs.field(default=20000, validator=_at_least(1))

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
    minimum_version: str = attrs.field(default="1.2", validator=_one_of("1.2", "1.3"))


@attrs.frozen(kw_only=True)
class TokenConfig:
    """``[token]``: keys, and which tokens are good."""

    key_files: tuple[Path, ...] = attrs.field(default=(Path("token-key.json"),), validator=_not_empty)
    accept_legacy_cbc: bool = False
    require_expiry: bool = True
    clock_skew_s: float = attrs.field(default=5.0, validator=_at_least(0))
    single_use: bool = True


@attrs.frozen(kw_only=True)
class SessionConfig:
    """``[session]``: time limits in seconds (0: none, where allowed) and how many consoles at once."""

    connect_timeout_s: float = attrs.field(default=10.0, validator=_at_least(0.1))
    handshake_timeout_s: float = attrs.field(default=15.0, validator=_at_least(0.1))
    idle_timeout_s: float = attrs.field(default=300.0, validator=_at_least(0))
    lifetime_s: float = attrs.field(default=0.0, validator=_at_least(0))
    max_sessions: int = attrs.field(default=1000, validator=_at_least(1))
    max_sessions_per_client: int = attrs.field(default=50, validator=_at_least(0))
    second_viewer: str = attrs.field(default="replace", validator=_one_of("replace", "refuse", "share"))
    shared_input: str = attrs.field(default="all", validator=_one_of("all", "first"))
    host_silence_timeout_s: float = attrs.field(default=0.0, validator=_at_least(0))
    ping_interval_s: float = attrs.field(default=20.0, validator=_zero_or_at_least(0.1))
    reconnect_window_s: float = attrs.field(default=0.0, validator=_at_least(0))
    check_source_ip: bool = False
    clipboard: Clipboard = Clipboard.BOTH
    clipboard_max_bytes: int = attrs.field(default=0, validator=_between(0, MAX_CLIPBOARD_BYTES))


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

    listen: ListenAddress = TcpAddress("127.0.0.1", 8001)


@attrs.frozen(kw_only=True)
class AccessConfig:
    """``[access]``: the access endpoint."""

    enabled: bool = False
    legacy_console_url: str = attrs.field(default="", validator=_link)
    callers_file: Path = Path("callers.toml")
    inventory: str = attrs.field(default="file:machines.toml", validator=_inventory)
    libvirt_host: str = ""
    token_ttl_s: float = attrs.field(default=120.0, validator=_at_least(1))
    reusable_tokens: bool = False
    max_failures: int = attrs.field(default=10, validator=_between(0, 1000))
    failure_window_s: float = attrs.field(default=300.0, validator=_at_least(1))


@attrs.frozen(kw_only=True)
class LogConfig:
    """``[log]``: how much is logged, and in which form."""

    level: str = attrs.field(default="info", validator=_one_of("debug", "info", "warning", "error"))
    format: str = attrs.field(default="console", validator=_one_of("console", "json"))


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
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise BadConfiguration(f"{path}: {getattr(exc, 'strerror', None) or exc}") from exc
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
            faults.append(f"{name}: unknown key (value {_show(value)})")
        elif not isinstance(value, dict):
            faults.append(f"{name} = {_show(value)}: expected a table")
        else:
            tables[name] = read_table(_kind_of(kinds[name]), value, name, faults)
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
    return faults


def read_table(
    kind: type[_T], raw: Mapping[str, object], path: str, faults: list[str], *, show_values: bool = True
) -> _T | None:
    """One table of a file; faults are collected, so that an operator sees all of them at once.

    Args:
        kind: the frozen class whose attributes are the keys.
        raw: the table.
        path: its own key path.
        faults: where faults go; ``None`` is returned while there are any.
        show_values: name bad values. Not in files that hold secrets.
    """

    def shown(value: object) -> str:
        return f" = {_show(value)}" if show_values else ""

    fields = attrs.fields_dict(attrs.resolve_types(cast("type[attrs.AttrsInstance]", kind)))
    values: dict[str, object] = {}
    for name, value in raw.items():
        where = f"{path}.{name}"
        field = fields.get(name)
        if field is None:
            faults.append(f"{where}: unknown key" + (f" (value {_show(value)})" if show_values else ""))
            continue
        try:
            values[name] = _read_value(value, _kind_of(field), where, shown)
            if field.validator is not None:
                field.validator(None, field, values[name])
        except _Fault as exc:
            faults.append(str(exc))
        except ValueError as exc:
            faults.append(f"{where}{shown(value)}: {exc}")
    return None if faults else kind(**values)


def _kind_of(field: attrs.Attribute[object]) -> type:
    if field.type is None:
        raise TypeError(f"{field.name} has no type")
    return field.type


class _Fault(ValueError):
    """A fault that names its own place already."""


def _read_value(value: object, kind: type, where: str, shown: Callable[[object], str]) -> object:
    if get_origin(kind) is not tuple:
        return _CONVERTER.structure(value, kind)
    if not isinstance(value, list):
        raise ValueError("expected a list")
    items = []
    for i, item in enumerate(value):
        try:
            items.append(_CONVERTER.structure(item, get_args(kind)[0]))
        except ValueError as exc:
            raise _Fault(f"{where}[{i}]{shown(item)}: {exc}") from None
    return tuple(items)


def _strict_converter() -> Converter:
    """Each value has to have the type that is written down: no text for a number, no number for a flag."""
    converter = Converter(detailed_validation=False)

    def exactly(kind: type, words: str, *others: type) -> Callable[[object, object], object]:
        def check(value: object, _: object) -> object:
            if type(value) not in (kind, *others):
                raise ValueError(f"expected {words}")
            return kind(value)

        return check

    converter.register_structure_hook(str, exactly(str, "a text"))
    converter.register_structure_hook(int, exactly(int, "a whole number"))
    converter.register_structure_hook(float, exactly(float, "a number", int))
    converter.register_structure_hook(bool, exactly(bool, "true or false"))

    def via_text(read: Callable[[str], object]) -> Callable[[object, object], object]:
        return lambda value, _: read(converter.structure(value, str))

    def clipboard(text: str) -> Clipboard:
        if text not in list(Clipboard):
            raise ValueError("expected one of " + ", ".join(Clipboard))
        return Clipboard(text)

    converter.register_structure_hook(Clipboard, via_text(clipboard))
    converter.register_structure_hook(Path, via_text(Path))
    converter.register_structure_hook(Secret, via_text(Secret))
    converter.register_structure_hook(Origin, via_text(lambda text: Origin(normalise_origin(text))))
    converter.register_structure_hook(ListenAddress, via_text(parse_listen_address))
    converter.register_structure_hook(HostPattern, via_text(parse_host_pattern))
    converter.register_structure_hook(Network, via_text(ipaddress.ip_network))
    converter.register_structure_hook(TrustedProxy, via_text(parse_trusted_proxy))
    return converter


_CONVERTER = _strict_converter()


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
