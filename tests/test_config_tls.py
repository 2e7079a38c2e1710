"""The keys of TLS and of the ways to hosts: what they take, what contradicts what, which hosts a pattern means."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_cpvm.config import load_config, parse_config
from trio_cpvm.config_values import TcpAddress, host_matches, parse_host_pattern
from trio_cpvm.errors import BadConfiguration

WHOLE = """
[server]
listen = []
listen_tls = ["[::]:8443"]
[tls]
certificate = "chain.pem"
private_key = "/etc/key.pem"
minimum_version = "1.3"
[upstream]
ca_file = "ca.pem"
client_certificate = "client.pem"
client_key = "keys/client.key"
verify_certificate = false
verify_hostname = false
allow_plaintext = false
allow_anonymous_tls = true
tls_hosts = ["10.0.0.0/8", "VM.test:5901", "[fd00::5]:5900", "fd00::/8"]
unix_socket_directory = "/run/vm"
"""


def test_the_values_arrive() -> None:
    config = parse_config(WHOLE, "x.toml")
    assert config.server.listen == ()
    assert config.server.listen_tls == (TcpAddress("::", 8443),)
    assert (config.tls.certificate, config.tls.minimum_version) == ("chain.pem", "1.3")
    upstream = config.upstream
    assert upstream.verify_certificate is upstream.verify_hostname is upstream.allow_plaintext is False
    assert upstream.allow_anonymous_tls
    assert upstream.tls_hosts == ("10.0.0.0/8", "vm.test:5901", "[fd00::5]:5900", "fd00::/8")
    assert upstream.unix_socket_directory == "/run/vm"


def test_files_are_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(WHOLE)
    config = load_config(tmp_path / "c.toml")
    assert config.tls.certificate == str(tmp_path / "chain.pem")
    assert config.tls.private_key == "/etc/key.pem"
    assert config.upstream.ca_file == str(tmp_path / "ca.pem")
    assert config.upstream.client_certificate == str(tmp_path / "client.pem")
    assert config.upstream.client_key == str(tmp_path / "keys/client.key")


def test_files_that_are_not_named_stay_so(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("")
    config = load_config(tmp_path / "c.toml")
    assert config.tls.certificate == config.tls.private_key == ""
    assert config.upstream.ca_file == config.upstream.client_certificate == config.upstream.client_key == ""


def test_the_defaults_verify() -> None:
    upstream = parse_config("", "x.toml").upstream
    assert upstream.verify_certificate
    assert upstream.verify_hostname
    assert not upstream.allow_anonymous_tls
    assert not upstream.allow_no_authentication
    assert upstream.unix_socket_directory == ""


PATTERN = "expected a network, an address or a name, with or without :port"


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("[server]\nlisten = []", ["server.listen = [] and server.listen_tls = []: at least one address is needed"]),
        ("[server]\nlisten_tls = [':443']", ["server.listen_tls needs tls.certificate and tls.private_key"]),
        (
            "[server]\nlisten_tls = [':443']\n[tls]\ncertificate = 'a'",
            ["server.listen_tls needs tls.certificate and tls.private_key"],
        ),
        (
            "[server]\nlisten_tls = [':443']\n[tls]\nprivate_key = 'a'",
            ["server.listen_tls needs tls.certificate and tls.private_key"],
        ),
        (
            "[upstream]\nclient_certificate = 'a'",
            ["upstream.client_certificate and upstream.client_key go together"],
        ),
        ("[upstream]\nclient_key = 'a'", ["upstream.client_certificate and upstream.client_key go together"]),
        ("[tls]\nminimum_version = '1.1'", ["tls.minimum_version = '1.1': expected one of 1.2, 1.3"]),
        ("[tls]\nminimum_version = 1.2", ["tls.minimum_version = 1.2: expected a text"]),
        ("[upstream]\nverify_certificate = 0", ["upstream.verify_certificate = 0: expected true or false"]),
        ("[upstream]\ntls_hosts = 'a'", ["upstream.tls_hosts = 'a': expected a list"]),
        ("[upstream]\ntls_hosts = ['ok', 'a b']", [f"upstream.tls_hosts[1] = 'a b': {PATTERN}"]),
        (
            "[upstream]\ntls_hosts = ['10.0.0.1/8']",
            ["upstream.tls_hosts[0] = '10.0.0.1/8': 10.0.0.1/8 has host bits set"],
        ),
        (
            "[server]\nlisten = []\nlisten_tls = [':443']\n[upstream]\nclient_key = 'a'",
            [
                "server.listen_tls needs tls.certificate and tls.private_key",
                "upstream.client_certificate and upstream.client_key go together",
            ],
        ),
    ],
)
def test_faults_and_contradictions(text: str, faults: list[str]) -> None:
    with pytest.raises(BadConfiguration) as caught:
        parse_config(text, "x.toml")
    assert str(caught.value).splitlines() == [f"x.toml: {fault}" for fault in faults]


@pytest.mark.parametrize(
    ("pattern", "host", "port", "meant"),
    [
        ("vm.test", "vm.test", 5900, True),
        ("VM.test", "vm.TEST", 5900, True),
        ("vm.test", "x.vm.test", 5900, False),
        ("vm.test", "vm.test.evil", 5900, False),
        ("vm.test:5900", "vm.test", 5900, True),
        ("vm.test:5900", "vm.test", 5901, False),
        ("10.0.0.5", "10.0.0.5", 1, True),
        ("10.0.0.5", "10.0.0.50", 1, False),
        ("10.0.0.5:590", "10.0.0.5", 5900, False),
        ("10.0.0.0/8", "10.255.0.1", 1, True),
        ("10.0.0.0/8", "11.0.0.1", 1, False),
        ("10.0.0.0/8", "vm.test", 1, False),
        ("10.0.0.0/8", "fd00::5", 1, False),
        ("10.0.0.0/8", "", 1, False),
        ("0.0.0.0/0", "10.0.0.5", 1, True),
        ("fd00::/8", "fd12::1", 1, True),
        ("fd00::5", "fd00::5", 1, True),
        ("FD00::5", "fd00::5", 1, True),
        ("[fd00::5]", "fd00::5", 1, True),
        ("[fd00::5]:5900", "fd00::5", 5900, True),
        ("[fd00::5]:5900", "fd00::5", 5901, False),
        # one address has many spellings, and a token may use any
        ("fd00::5", "fd00:0:0::5", 1, True),
        ("fd00:0::5", "fd00::5", 1, True),
        ("[fd00::5]:5900", "FD00:0000::0005", 5900, True),
        ("10.0.0.0/8", "::ffff:10.0.0.5", 1, True),
        ("10.0.0.5", "::ffff:10.0.0.5", 1, True),
        ("::ffff:10.0.0.5", "10.0.0.5", 1, True),
        ("vm.test", "vm.test.", 1, True),
    ],
)
def test_which_hosts_a_pattern_means(pattern: str, host: str, port: int, meant: bool) -> None:
    assert host_matches(parse_host_pattern(pattern), host, port) is meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a b",
        "vm.test:",
        "vm.test:x",
        "vm.test:123456",
        "vm.test:65536",
        "http://vm.test",
        "*.test",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "10.0.0.0/8:5900",
        "[fd00::5",
        "fd00::/129",
        ":::",
        "1:2:3",
        "[vm.test]:1",
        "[:]:1",
        "vm_test/8",
        "unix:/x",
        "vm\u00fc.test",
        "vm.test\n",
    ],
)
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_host_pattern(text)
