"""The configuration: defaults, the sample file, and every error with file, key path and value."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from trio_cpvm.config import Config, load_config, parse_config
from trio_cpvm.config_values import TcpAddress, UnixAddress, normalise_origin, parse_listen_address
from trio_cpvm.errors import BadConfiguration
from trio_cpvm.models import Clipboard


def test_an_empty_file_is_all_defaults() -> None:
    assert parse_config("", "x.toml") == Config()


def test_the_sample_file_is_the_defaults() -> None:
    sample = Path(__file__).parent.parent / "conf" / "trio-cpvm.toml"
    assert parse_config(sample.read_text(), "sample") == Config()


@pytest.mark.parametrize("sample", ["nginx.conf", "haproxy.cfg", "haproxy-proxy-protocol.cfg"])
def test_what_samples_of_reverse_proxies_ask_for_can_be_configured(sample: str) -> None:
    lines = (Path(__file__).parent.parent / "conf" / sample).read_text().splitlines()
    tls = "[tls]\ncertificate = 'c.pem'\nprivate_key = 'k.pem'\n"
    config = parse_config(tls + "\n".join(line[4:] for line in lines if line.startswith("#   ")), sample)
    assert [str(proxy) for proxy in config.server.trusted_proxies] == ["127.0.0.1/32"]
    assert config.server.public_origin == "https://console.example.com"
    assert config.server.proxy_protocol is ("proxy-protocol" in sample)


def test_values_arrive_in_their_types() -> None:
    config = parse_config(
        """
        [server]
        listen = ["0.0.0.0:80", "[::1]:0", "unix:/run/x.sock"]
        head_timeout_s = 3
        allowed_origins = ["HTTPS://Cloud.example.com:443"]
        trusted_proxies = ["10.0.0.0/8", "fd00::1", "unix"]
        proxy_protocol = true
        [session]
        clipboard = "to-guest"
        [upstream]
        allowed_networks = ["10.0.0.0/8", "fd00::/8"]
        """,
        "x.toml",
    )
    assert config.server.listen == (TcpAddress("0.0.0.0", 80), TcpAddress("::1", 0), UnixAddress("/run/x.sock"))
    assert config.server.head_timeout_s == 3.0
    assert [str(proxy) for proxy in config.server.trusted_proxies] == ["10.0.0.0/8", "fd00::1/128", "unix"]
    assert config.server.proxy_protocol
    assert config.session.clipboard is Clipboard.TO_GUEST
    assert config.server.allowed_origins == ("https://cloud.example.com",)
    assert config.upstream.allowed_networks == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("x = 1", ["x: unknown key (value 1)"]),
        ("server = 3", ["server = 3: expected a table"]),
        ("[server]\nlisten = 'a'", ["server.listen = 'a': expected a list"]),
        ("[server]\nlisten = []", ["server.listen = [] and server.listen_tls = []: at least one address is needed"]),
        (
            "[server]\nlisten = [':80', 'nope']",
            ["server.listen[1] = 'nope': expected host:port, [v6]:port or unix:/path"],
        ),
        (
            "[server]\nmax_connections = true\nfoo = 1",
            ["server.max_connections = True: expected a whole number", "server.foo: unknown key (value 1)"],
        ),
        ("[server]\nhead_timeout_s = 0", ["server.head_timeout_s = 0: must be at least 0.1"]),
        ("[session]\nping_interval_s = 0.01", ["session.ping_interval_s = 0.01: must be 0 or at least 0.1"]),
        ("[session]\nping_interval_s = inf", ["session.ping_interval_s = inf: must be 0 or at least 0.1"]),
        ("[session]\nidle_timeout_s = nan", ["session.idle_timeout_s = nan: must be at least 0"]),
        ("[session]\nlifetime_s = inf", ["session.lifetime_s = inf: must be at least 0"]),
        ("[session]\nlifetime_s = '1'", ["session.lifetime_s = '1': expected a number"]),
        (
            "[session]\nsecond_viewer = 'kick'",
            ["session.second_viewer = 'kick': expected one of replace, refuse, share"],
        ),
        (
            "[session]\nclipboard = 'some'",
            ["session.clipboard = 'some': expected one of both, to-guest, from-guest, none"],
        ),
        ("[session]\nclipboard = 1", ["session.clipboard = 1: expected a text"]),
        (
            "[session]\nclipboard_max_bytes = 16777217",
            ["session.clipboard_max_bytes = 16777217: must be between 0 and 16777216"],
        ),
        (
            "[upstream]\nallowed_networks = ['10.0.0.1/8']",
            ["upstream.allowed_networks[0] = '10.0.0.1/8': 10.0.0.1/8 has host bits set"],
        ),
        (
            "[server]\ntrusted_proxies = ['10.0.0.1/8', 'unix', 'proxy.test', 7]",
            [
                (
                    "server.trusted_proxies[0] = '10.0.0.1/8': 10.0.0.1/8 has host bits set; "
                    "expected a network, an address or unix"
                )
            ],
        ),
        ("[server]\ntrusted_proxies = '10.0.0.0/8'", ["server.trusted_proxies = '10.0.0.0/8': expected a list"]),
        (
            "[server]\nproxy_protocol = true",
            ["server.proxy_protocol needs server.trusted_proxies: nobody else's PROXY header is believed"],
        ),
        (
            "[admin]\nrepl = true",
            ["admin.repl = true needs admin.listen = unix:/path: only there it is known who attaches"],
        ),
        ("[admin]\nlisten = 'unix:x'", ["admin.listen = 'unix:x': a unix socket needs an absolute path: unix:/path"]),
        ("[server]\nworkers = 0", ["server.workers = 0: must be between 1 and 64"]),
        (
            "[access]\ninventory = 'machines.toml'",
            ["access.inventory = 'machines.toml': expected file:PATH or libvirt:URI"],
        ),
        ("[access]\ninventory = 'libvirt:'", ["access.inventory = 'libvirt:': expected file:PATH or libvirt:URI"]),
        ("[access]\ntoken_ttl_s = 0", ["access.token_ttl_s = 0: must be at least 1"]),
        ("[access]\nmax_failures = -1", ["access.max_failures = -1: must be between 0 and 1000"]),
        (
            "[access]\nlegacy_console_url = 'old'",
            ["access.legacy_console_url = 'old': expected http(s)://host[:port][/path][?query], or nothing"],
        ),
        (
            "[server]\npublic_url = 'ftp://x'",
            ["server.public_url = 'ftp://x': expected http(s)://host[:port][/path], or nothing"],
        ),
        (
            "[server]\npublic_url = 'https://h:99999'",
            ["server.public_url = 'https://h:99999': Port out of range 0-65535"],
        ),
        (
            "[server]\npublic_url = 'https://höst'",
            ["server.public_url = 'https://höst': a URL has no spaces and only ASCII"],
        ),
        (
            "[access]\nlegacy_console_url = 'https://h/a b'",
            ["access.legacy_console_url = 'https://h/a b': a URL has no spaces and only ASCII"],
        ),
        (
            '[access]\nlegacy_console_url = "https://h/\\r\\nX: y"',
            ["access.legacy_console_url = 'https://h/\\r\\nX: y': a URL has no spaces and only ASCII"],
        ),
        (
            "[access]\nlegacy_console_url = 'http://[bad'",
            ["access.legacy_console_url = 'http://[bad': Invalid IPv6 URL"],
        ),
    ],
)
def test_errors_name_file_key_and_value(text: str, faults: list[str]) -> None:
    with pytest.raises(BadConfiguration) as caught:
        parse_config(text, "x.toml")
    assert str(caught.value).splitlines() == [f"x.toml: {fault}" for fault in faults]


def test_no_toml_is_named_with_its_line() -> None:
    with pytest.raises(BadConfiguration, match=r"x\.toml: not TOML: .*line 1"):
        parse_config("a 1\nb", "x.toml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"none\.toml: No such file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(BadConfiguration, match="/dev/zero: more than 1048576 bytes"):
        load_config(Path("/dev/zero"))


def test_key_files_are_relative_to_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[token]\nkey_files = ['a.json', '/b.json']")
    assert load_config(path).token.key_files == (tmp_path / "a.json", Path("/b.json"))


def test_callers_and_machines_are_relative_to_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[access]\ninventory = 'file:sub/m.json'\ncallers_file = '/c.toml'")
    access = load_config(path).access
    assert (access.inventory, access.callers_file) == (f"file:{tmp_path}/sub/m.json", Path("/c.toml"))
    path.write_text("[access]\ninventory = 'file:/m.toml'")
    assert load_config(path).access.inventory == "file:/m.toml"
    path.write_text("[access]\ninventory = 'libvirt:qemu:///system'")
    assert load_config(path).access.inventory == "libvirt:qemu:///system"


@pytest.mark.parametrize("text", ["", "80", "host", "host:", "host:65536", "::1:80", "[::1]", "unix:rel", "host:-1"])
def test_listen_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|unix socket"):
        parse_listen_address(text)


def test_listen_addresses_print_as_they_are_written() -> None:
    for text in ("127.0.0.1:80", "[::1]:80", "unix:/x"):
        assert str(parse_listen_address(text)) == text


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("http://A.b", "http://a.b"),
        ("http://a.b:80/", "http://a.b"),
        ("https://a.b:80", "https://a.b:80"),
        ("https://[::1]:443", "https://[::1]"),
    ],
)
def test_origins_compare_in_one_form(text: str, normal: str) -> None:
    assert normalise_origin(text) == normal


@pytest.mark.parametrize("text", ["null", "", "a.b", "http://", "http://a/b", "file:///x", "http://a:99999"])
def test_origins_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"origin|[Pp]ort"):
        normalise_origin(text)
