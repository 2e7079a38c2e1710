"""What is made of a configuration: every fault is told, and what has connections is made only once."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from tests.access.test_libvirt_inventory import FakeLibvirt
from tests.helpers import KEY
from trio_cpvm.access.libvirt_inventory import LibvirtInventory
from trio_cpvm.config import Config, load_config
from trio_cpvm.errors import BadConfiguration
from trio_cpvm.parts import discard, make_parts
from trio_cpvm.token import write_key_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_key_file(tmp_path / "token-key.json", KEY)
    (tmp_path / "callers.toml").touch(mode=0o600)
    return tmp_path


def config(folder: Path, text: str) -> Config:
    (folder / "c.toml").write_text(text)
    return load_config(folder / "c.toml")


def access(folder: Path, inventory: str = "libvirt:test:///default", more: str = "") -> Config:
    return config(folder, f'[access]\nenabled = true\ninventory = "{inventory}"\n{more}')


def test_every_file_that_cannot_be_used_is_told(folder: Path) -> None:
    text = (
        '[server]\nlisten_tls = ["127.0.0.1:0"]\n[tls]\ncertificate = "c.pem"\nprivate_key = "k.pem"\n'
        '[token]\nkey_files = ["one.json", "token-key.json", "two.json"]\n[upstream]\nca_file = "ca.pem"\n'
        "[access]\nenabled = true\ncallers_file = 'nobody.toml'\n"
    )
    with pytest.raises(BadConfiguration) as caught:
        make_parts(config(folder, text))
    lines = str(caught.value).splitlines()
    for line, words in zip(
        lines,
        ["one.json", "two.json", "upstream.ca_file", "tls.certificate", "nobody.toml", "machines.toml"],
        strict=True,
    ):
        assert words in line
        assert line.endswith("No such file or directory")


@pytest.fixture
def libvirt(monkeypatch: pytest.MonkeyPatch) -> FakeLibvirt:
    fake = FakeLibvirt()
    monkeypatch.setattr(
        "trio_cpvm.access.setup.LibvirtInventory", partial(LibvirtInventory, libvirt=cast("None", fake))
    )
    return fake


async def test_connections_to_libvirt_outlive_other_parts(folder: Path, libvirt: FakeLibvirt) -> None:
    first = make_parts(access(folder))
    assert first.inventory is not None
    await first.inventory.machines()
    second = make_parts(access(folder, more="token_ttl_s = 5"), before=first)
    assert second.inventory is first.inventory
    assert second.access is not first.access
    discard(first, second)
    await first.inventory.machines()
    assert (len(libvirt.connections), libvirt.closed) == (1, [])


@pytest.mark.parametrize("more", ["", "libvirt_host = '192.0.2.1'"])
async def test_connections_to_another_libvirt_are_closed_and_not_kept(
    folder: Path, libvirt: FakeLibvirt, more: str
) -> None:
    first = make_parts(access(folder))
    assert first.inventory is not None
    await first.inventory.machines()
    uri = "libvirt:test:///default" if more else "libvirt:test:///other"
    second = make_parts(access(folder, uri, more), before=first)
    assert second.inventory is not first.inventory
    discard(first, second)
    assert libvirt.closed == [(libvirt.connections[0], threading.current_thread())]
    await first.inventory.machines()  # a request that had begun before
    assert len(libvirt.closed) == len(libvirt.connections) == 2
