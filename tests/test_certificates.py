"""The certificate that browsers are shown: loading it, exchanging it while the daemon runs, and what is refused."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization
from trio.testing import MockClock, memory_stream_pair

from tests.upstream.bounds import bounded
from trio_cpvm.certificates import WATCH_S, BrowserTls, watch
from trio_cpvm.config import TlsConfig
from trio_cpvm.errors import BadConfiguration
from trio_cpvm.testing import background

AUTHORITY = trustme.CA()
NAME = "console.test"


class Files:
    """A certificate and its key on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chain, self.key = folder / "chain.pem", folder / "key.pem"
        self.config = TlsConfig(certificate=str(self.chain), private_key=str(self.key))

    def issue(self) -> trustme.LeafCert:
        """A new pair, not yet written."""
        return AUTHORITY.issue_cert(NAME)

    def write(self, pair: trustme.LeafCert, *, chain: bool = True, key: bool = True) -> None:
        if chain:
            replace(self.chain, b"".join(blob.bytes() for blob in pair.cert_chain_pems))
        if key:
            replace(self.key, pair.private_key_pem.bytes())


def replace(path: Path, data: bytes) -> None:
    """Write as careful programs do: another file, then renamed."""
    beside = path.with_suffix(".new")
    beside.write_bytes(data)
    beside.replace(path)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    found = Files(tmp_path)
    found.write(found.issue())
    return found


async def shown(tls: BrowserTls, **limits: ssl.TLSVersion) -> bytes:
    """The certificate that a new connection is shown, in DER."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(client)
    for name, version in limits.items():
        setattr(client, name, version)
    ours, theirs = memory_stream_pair()
    browser = trio.SSLStream(ours, client, server_hostname=NAME)

    async def serve() -> None:
        stream = trio.SSLStream(theirs, tls.context, server_side=True)
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)

    async with background() as nursery:
        nursery.start_soon(serve)
        await browser.do_handshake()
        certificate = browser.getpeercert(binary_form=True)
        assert certificate is not None
        assert isinstance(certificate, bytes)
        return certificate


def der(pair: trustme.LeafCert) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.cert_chain_pems[0].bytes().decode("ascii"))


# -- loading -------------------------------------------------------------------------------------------------------


@bounded(10)
async def test_the_pair_is_shown(files: Files) -> None:
    pair = files.issue()
    files.write(pair)
    assert await shown(BrowserTls(files.config)) == der(pair)


def encrypted(pair: trustme.LeafCert) -> bytes:
    key = serialization.load_pem_private_key(pair.private_key_pem.bytes(), None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.BestAvailableEncryption(b"nobody knows"),
    )


def break_files(files: Files, how: str) -> None:
    if how == "no chain":
        files.chain.unlink()
    elif how == "no key":
        files.key.unlink()
    elif how == "mismatch":
        files.write(files.issue(), chain=False)
    elif how == "encrypted":
        pair = files.issue()
        files.write(pair, key=False)
        files.key.write_bytes(encrypted(pair))
    elif how == "garbage chain":
        files.chain.write_bytes(b"not PEM\n")
    elif how == "garbage key":
        files.key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    elif how == "empty":
        files.chain.write_bytes(b"")
    elif how == "half":
        files.chain.write_bytes(files.chain.read_bytes()[:200])
    elif how == "folder":
        files.chain.unlink()
        files.chain.mkdir()
    else:
        files.key.write_bytes(files.chain.read_bytes())


BROKEN = {
    "no chain": "no such file",
    "no key": "no such file",
    "mismatch": "mismatch",
    "encrypted": "encrypted",
    "garbage chain": "",
    "garbage key": "",
    "empty": "",
    "half": "",
    "folder": "",
    "a chain for a key": "",
}


@pytest.mark.parametrize(("how", "words"), BROKEN.items())
def test_what_cannot_be_used_is_named(files: Files, how: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    break_files(files, how)
    with pytest.raises(BadConfiguration) as caught:
        BrowserTls(files.config)
    text = str(caught.value)
    assert text.startswith(f"tls.certificate = {str(files.chain)!r}, tls.private_key = {str(files.key)!r}: ")
    assert words in text.lower()
    assert not text.endswith(": ")
    assert capfd.readouterr() == ("", ""), "nobody is asked for a password"


@pytest.mark.parametrize(
    ("minimum", "client", "good"),
    [
        ("1.2", ssl.TLSVersion.TLSv1_2, True),
        ("1.2", ssl.TLSVersion.TLSv1_3, True),
        ("1.3", ssl.TLSVersion.TLSv1_2, False),
        ("1.3", ssl.TLSVersion.TLSv1_3, True),
    ],
)
@bounded(10)
async def test_the_minimum_version(files: Files, minimum: str, client: ssl.TLSVersion, good: bool) -> None:
    config = TlsConfig(certificate=str(files.chain), private_key=str(files.key), minimum_version=minimum)
    tls = BrowserTls(config)
    if good:
        assert await shown(tls, minimum_version=client, maximum_version=client)
    else:
        with pytest.raises(trio.BrokenResourceError):
            await shown(tls, maximum_version=client)


def test_only_suites_with_forward_secrecy_and_authenticated_encryption(files: Files) -> None:
    names = {cipher["name"] for cipher in BrowserTls(files.config).context.get_ciphers()}
    assert "ECDHE-ECDSA-AES128-GCM-SHA256" in names
    assert all(name.startswith(("TLS_", "ECDHE-")) for name in names)
    assert all("GCM" in name or "CHACHA20" in name for name in names)


# -- exchanging ----------------------------------------------------------------------------------------------------


@bounded(10)
async def test_reload_takes_the_new_pair(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    tls, pair = BrowserTls(files.config), files.issue()
    files.write(pair)
    assert await shown(tls) != der(pair)
    assert await tls.reload()
    assert await shown(tls) == der(pair)
    assert "certificate loaded" in caplog.text


@pytest.mark.parametrize("how", BROKEN)
@bounded(10)
async def test_reload_keeps_the_old_pair_where_the_new_one_is_broken(
    files: Files, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    tls = BrowserTls(files.config)
    before = await shown(tls)
    break_files(files, how)
    assert not await tls.reload()
    assert await shown(tls) == before
    (line,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "certificate refused" in str(line.msg)
    assert str(files.chain) in str(line.msg)
    pair = files.issue()
    if files.chain.is_dir():
        files.chain.rmdir()
    files.write(pair)
    assert await tls.reload()
    assert await shown(tls) == der(pair)


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at files at once: a mock clock does not wait for threads."""

    async def run_sync(function: Callable[[], object], *, abandon_on_cancel: bool) -> object:
        await trio.lowlevel.checkpoint()
        return function()

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


@bounded(600)
async def test_watch_sees_a_new_pair(
    files: Files, no_threads: None, autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    tls, pair = BrowserTls(files.config), files.issue()
    context = tls.context
    nursery.start_soon(watch, lambda: tls)
    await trio.sleep(3 * WATCH_S)
    assert tls.context is context, "nothing has changed"
    files.write(pair)
    await trio.sleep(2.5 * WATCH_S)
    assert await shown(tls) == der(pair)
    context = tls.context
    await trio.sleep(5 * WATCH_S)
    assert tls.context is context, "loaded again for nothing"
    assert caplog.text.count("certificate loaded") == 1
    nursery.cancel_scope.cancel()


@bounded(600)
async def test_watch_waits_until_both_files_are_there(
    files: Files, no_threads: None, autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    tls, pair = BrowserTls(files.config), files.issue()
    before = await shown(tls)
    nursery.start_soon(watch, lambda: tls)
    await trio.sleep(WATCH_S / 2)
    files.write(pair, key=False)  # seen at 5 s, not yet stable
    await trio.sleep(WATCH_S)
    assert await shown(tls) == before
    files.write(pair, chain=False)  # seen at 10 s: changed again, so looked at once more
    await trio.sleep(WATCH_S)
    assert await shown(tls) == before
    await trio.sleep(WATCH_S)
    assert await shown(tls) == der(pair)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    nursery.cancel_scope.cancel()


@bounded(600)
async def test_watch_refuses_once_and_goes_on(
    files: Files, no_threads: None, autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    tls, pair = BrowserTls(files.config), files.issue()
    before = await shown(tls)
    nursery.start_soon(watch, lambda: tls)
    files.key.unlink()
    await trio.sleep(6 * WATCH_S)
    assert await shown(tls) == before
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    files.write(pair)
    await trio.sleep(3 * WATCH_S)
    assert await shown(tls) == der(pair)
    nursery.cancel_scope.cancel()


@bounded(600)
async def test_watch_sees_a_change_that_keeps_size_and_time(
    files: Files, no_threads: None, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """As ``cp -p`` or a container's volume may do; the renamed file has another inode."""
    tls, pair = BrowserTls(files.config), files.issue()
    nursery.start_soon(watch, lambda: tls)
    times = [(path, path.stat().st_mtime_ns) for path in (files.chain, files.key)]
    files.write(pair)
    for path, time_ns in times:
        os.utime(path, ns=(time_ns, time_ns))
    await trio.sleep(3 * WATCH_S)
    assert await shown(tls) == der(pair)
    nursery.cancel_scope.cancel()


@bounded(30)
async def test_files_that_take_for_ever_do_not_hold_up_the_end(files: Files) -> None:
    tls = BrowserTls(files.config)
    files.chain.unlink()
    os.mkfifo(files.chain)
    with trio.move_on_after(0.1) as scope:
        await tls.reload()
    assert scope.cancelled_caught
    files.chain.open("wb", buffering=0).close()  # lets go of the thread that waits
