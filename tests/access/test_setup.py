"""The access site put together from a configuration, and every file that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import KEY
from trio_cpvm.access.file_inventory import FileInventory
from trio_cpvm.access.libvirt_inventory import LibvirtInventory
from trio_cpvm.access.setup import open_callers, open_inventory
from trio_cpvm.access.site import AccessSite
from trio_cpvm.config import AccessConfig, Config, load_config
from trio_cpvm.errors import BadConfiguration
from trio_cpvm.parts import make_parts
from trio_cpvm.token import write_key_file


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """With both files beside it, as the defaults say."""
    for name in ("callers.toml", "machines.toml"):
        (tmp_path / name).touch(mode=0o600)
    write_key_file(tmp_path / "token-key.json", KEY)
    (tmp_path / "c.toml").write_text("[access]\nenabled = true")
    return load_config(tmp_path / "c.toml")


def make(config: Config) -> AccessSite:
    site = make_parts(config).access
    assert site is not None
    return site


def test_the_defaults_are_two_files_beside_the_configuration(config: Config) -> None:
    make(config)
    assert len(open_callers(config.access.callers_file).value) == 0
    assert isinstance(open_inventory(config.access), FileInventory)


@pytest.mark.parametrize("name", ["callers.toml", "machines.toml"])
def test_a_missing_file_is_named(config: Config, tmp_path: Path, name: str) -> None:
    (tmp_path / name).unlink()
    with pytest.raises(BadConfiguration, match=f"{name}: No such file"):
        make(config)


def test_the_callers_file_is_private_even_if_it_is_empty(config: Config) -> None:
    config.access.callers_file.chmod(0o640)
    with pytest.raises(BadConfiguration, match=r"callers\.toml: mode 0640: others may use it"):
        make(config)


async def test_a_caller_struck_off_the_list_is_gone(config: Config) -> None:
    path = config.access.callers_file
    path.write_text("[callers.a]\n[callers.b]\n")
    callers = open_callers(path)
    assert (await callers.current()).named("b") is not None
    path.write_text("[callers.a]\n")
    assert (await callers.current()).named("b") is None


def test_libvirt_is_an_inventory(monkeypatch: pytest.MonkeyPatch) -> None:
    config = AccessConfig(inventory="libvirt:qemu:///system")
    monkeypatch.setitem(__import__("sys").modules, "libvirt", None)
    with pytest.raises(BadConfiguration, match="libvirt-python"):
        open_inventory(config)
    with pytest.raises(BadConfiguration):
        LibvirtInventory("qemu:///system")
