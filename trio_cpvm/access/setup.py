"""Opens what the access site works with, as the configuration names it."""

from __future__ import annotations

from pathlib import Path

from ..config import AccessConfig
from .callers import Callers, parse_callers
from .changing_file import ChangingFile
from .file_inventory import FileInventory
from .libvirt_inventory import LibvirtInventory
from .machines import Inventory
from .private_file import FileText


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
