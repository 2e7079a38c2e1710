"""Puts the access site together from what the configuration names."""

from __future__ import annotations

from pathlib import Path

from ..config import AccessConfig, Config
from ..static import PageFiles
from ..token import TokenReader
from .callers import Callers, parse_callers
from .changing_file import ChangingFile
from .file_inventory import FileInventory
from .libvirt_inventory import LibvirtInventory
from .machines import Inventory
from .private_file import FileText
from .site import AccessSite


def make_access_site(config: Config, tokens: TokenReader, pages: PageFiles) -> AccessSite:
    """The access site as the configuration says.

    Raises:
        BadConfiguration: a file cannot be used, or a library is missing.
    """
    return AccessSite(
        config=config,
        tokens=tokens,
        callers=open_callers(config.access.callers_file).current,
        inventory=open_inventory(config.access),
        pages=pages,
    )


def open_callers(path: Path) -> ChangingFile[Callers]:
    """The callers' file.

    Raises:
        BadConfiguration: it cannot be used, or others than the daemon may.
    """

    def parse(file: FileText) -> Callers:
        file.require_private()
        return parse_callers(file.text, str(file.path))

    return ChangingFile(path, parse)


def open_inventory(config: AccessConfig) -> Inventory:
    """The inventory that ``access.inventory`` names.

    Raises:
        BadConfiguration: it cannot be used.
    """
    kind, _, where = config.inventory.partition(":")
    if kind == "libvirt":
        return LibvirtInventory(where, any_host=config.libvirt_host)
    return FileInventory(Path(where))
