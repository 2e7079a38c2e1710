"""Makes a disk that boots out of a tree of files, without mounting anything: GRUB, one partition, ext4.

    disk.py TREE DISK

GRUB is put where ``grub-install`` would put it: ``boot.img`` into the first sector, which reads the second one on,
where the core image is (both are in grub-pc-bin, and ``boot.img`` expects just that unless it is told otherwise).
Same tree, same bytes: nothing in it is random or of today.
"""

import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

SECTOR = 512
DISK_BYTES = 2 << 30
START = (1 << 20) // SECTOR
GRUB = Path("/usr/lib/grub/i386-pc")
MODULES = ["biosdisk", "part_msdos", "ext2", "normal", "configfile", "linux", "serial", "terminal", "test", "search"]
#: Fixed, as random ones would differ from build to build.
UUID = "c0501e00-0000-4000-8000-000000000001"


def file_system(tree: Path, image: Path) -> None:
    """An ext4 of the tree, its owners and times as they are."""
    epoch = os.environ["SOURCE_DATE_EPOCH"]
    blocks = (DISK_BYTES - START * SECTOR) // 4096
    command = ["mke2fs", "-q", "-t", "ext4", "-b", "4096", "-L", "cpvm-root", "-U", UUID, "-d", str(tree)]
    # Lazy initialisation would be done by the first boot; a journal of 16 MiB is enough.
    command += ["-E", f"hash_seed={UUID},lazy_itable_init=0,lazy_journal_init=0", "-J", "size=16", "-m", "1"]
    environment = {**os.environ, "E2FSPROGS_FAKE_TIME": epoch}
    paths = [tree, *sorted(tree.rglob("*"))]
    for path in paths:
        changed = min(int(path.lstat().st_mtime), int(epoch))
        os.utime(path, (changed, changed), follow_symlinks=False)
    subprocess.run([*command, str(image), str(blocks)], check=True, env=environment)
    # It takes over from this machine when each file was read last, and its inode changed.
    script = "".join(
        f'set_inode_field "/{path.relative_to(tree)}" {field} @{epoch}\n'
        for path in paths
        for field in ("atime", "ctime")
    )
    done = subprocess.run(
        ["debugfs", "-w", "-f", "-", image], input=script, env=environment, text=True, capture_output=True, check=True
    )
    faults = [line for line in done.stderr.splitlines() if not line.startswith("debugfs 1.")]
    if faults:
        raise SystemExit("\n".join(["debugfs:", *faults[:5]]))


def core_image() -> bytes:
    """GRUB's second part, which knows where the rest is."""
    with tempfile.TemporaryDirectory() as folder:
        core = Path(folder) / "core.img"
        prefix = "(hd0,msdos1)/boot/grub"
        subprocess.run(["grub-mkimage", "-O", "i386-pc", "-o", core, "-p", prefix, *MODULES], check=True)
        return core.read_bytes()


def boot_sector() -> bytes:
    """``boot.img`` with a table of one partition, marked as active."""
    code = bytearray((GRUB / "boot.img").read_bytes()[:SECTOR])
    sectors = DISK_BYTES // SECTOR - START
    far = b"\xfe\xff\xff"  # cylinders, heads and sectors are nobody's business any more
    code[440:446] = b"cpvm\0\0"
    code[446:510] = struct.pack("<B3sB3sII", 0x80, far, 0x83, far, START, sectors).ljust(64, b"\0")
    code[510:512] = b"\x55\xaa"
    return bytes(code)


def main() -> None:
    """Put the parts together."""
    tree, disk = map(Path, sys.argv[1:])
    core = core_image()
    if len(core) > (START - 1) * SECTOR:
        raise SystemExit("GRUB's core image does not fit in front of the partition")
    part = disk.with_suffix(".part")
    part.unlink(missing_ok=True)
    file_system(tree, part)
    with disk.open("wb") as whole:
        whole.write(boot_sector() + core)
        whole.truncate(DISK_BYTES)
    subprocess.run(
        ["dd", f"if={part}", f"of={disk}", "bs=1M", "seek=1", "conv=sparse,notrunc", "status=none"], check=True
    )
    part.unlink()


if __name__ == "__main__":
    main()
