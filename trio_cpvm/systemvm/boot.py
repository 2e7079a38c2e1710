"""What the system VM does at boot: find the platform's parameters, take over keys, write the files, start the proxy.

Runs as root, once, before the network is up (``trio-cpvm-boot.service``). A fault is said on the console, by the name
of the parameter, and the proxy is not started. Only here is the system touched; what is to be is decided by ``plan``.
Everybody waits for it, on a slow core: what is not needed at each boot is imported where it is needed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from . import plan
from .parameters import BootParameters, ParametersInvalid, read_parameters, split_parameters

#: Where CloudStack's hosts put the parameters, through the guest agent.
CMDLINE = Path("/var/cache/cloud/cmdline")
#: The label of a drive with the operator's own files; ``cmdline`` may be one of them.
SEED_LABEL = "CPVM-SEED"
SETTINGS = "settings.toml"
#: How long the guest agent may take to be given the parameters, in seconds; CloudStack's own scripts wait as long.
AGENT_PATIENCE_S = 60.0
#: More is no file of a seed.
MAX_SEED_FILE_BYTES = 1 << 20

_ETC = Path("/etc/trio-cpvm")
_CONSOLE = Path("/dev/console")
_GROUP = "trio-cpvm"


class BootFault(Exception):
    """The system VM cannot become what it should; the text says why."""


def main() -> int:
    """Do all of it.

    Returns:
        The exit code: 0, or 1 with the reason on the console.
    """
    try:
        parameters = become_console_proxy()
    except (ParametersInvalid, BootFault) as exc:
        say("\n".join(f"trio-cpvm: {line}" for line in str(exc).splitlines()))
        say("trio-cpvm: the console proxy is not started")
        return 1
    say(f"trio-cpvm: {parameters.name} is a console proxy on {ports(parameters)}")
    return 0


def become_console_proxy() -> BootParameters:
    """Make of this system what its platform asks for.

    Raises:
        ParametersInvalid: of the boot parameters.
        BootFault: of anything else, the operator's settings among it.
    """
    with seed() as drive:
        parameters = read_parameters(find_line(drive))
        settings = take_over(drive)
    made = plan.files(parameters, settings)
    if settings:
        check(made[plan.CONFIGURATION])
    make_keys(parameters)
    for path, text in made.items():
        write(Path(path), text)
    run("hostname", parameters.name)
    run("sysctl", "--quiet", "--load", plan.KERNEL_SETTINGS)
    run("nft", "--file", plan.RULESET)
    run("systemctl", "daemon-reload")
    run("systemctl", "start", "--no-block", "trio-cpvm.service")
    return parameters


def ports(parameters: BootParameters) -> str:
    """Where browsers may come, in words."""
    plain = [f"http port {port}" for port in plan.plain_ports(parameters)]
    return ", ".join([*plain, *(f"https port {port}" for port in plan.tls_ports(parameters))])


def find_line(drive: Path | None) -> str:
    """The boot parameters: of the kernel's command line, the seed, or what the guest agent is told.

    Raises:
        BootFault: there are none.
    """
    kernel = Path("/proc/cmdline").read_text("utf-8", "replace")
    if "type" in split_parameters(kernel):
        return kernel
    if drive is not None and (drive / "cmdline").is_file():
        return read_bounded(drive / "cmdline")
    return wait_for_agent(CMDLINE, AGENT_PATIENCE_S)


def wait_for_agent(file: Path, patience_s: float) -> str:
    """What the guest agent is told since this boot; where it is told nothing, what it was told at an earlier one.

    A platform may give a VM other addresses when it starts it anew, so an earlier boot's do not count at once.

    Raises:
        BootFault: it has never been told anything.
    """
    earlier = ""
    deadline = time.monotonic() + patience_s
    while True:
        with contextlib.suppress(OSError):
            told_at = file.stat().st_mtime
            line = file.read_text("utf-8", "replace").strip()
            if line and told_at >= time.time() - time.clock_gettime(time.CLOCK_BOOTTIME):
                file.chmod(0o600)  # a password of the VM may be in it
                return line
            earlier = line
        if time.monotonic() > deadline:
            break
        time.sleep(0.25)
    if earlier:
        say(f"trio-cpvm: nobody has told the guest agent anything for {patience_s:g} s: parameters of an earlier boot")
        return earlier
    raise BootFault(
        f"no boot parameters: none on the kernel's command line, no drive labelled {SEED_LABEL} with a file cmdline, "
        f"and nothing in {file} within {patience_s:g} s"
    )


@contextlib.contextmanager
def seed() -> Iterator[Path | None]:
    """The seed drive, mounted within the block; ``None`` if there is none."""
    run("udevadm", "settle", "--timeout=10", check=False)
    device = run("blkid", "-L", SEED_LABEL, check=False).strip()
    if not device:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="cpvm-seed-") as folder:
        run("mount", "-o", "ro,nosuid,nodev,noexec", device, folder)
        try:
            yield Path(folder)
        finally:
            run("umount", folder)


def take_over(drive: Path | None) -> dict[str, dict[str, object]]:
    """Copy the operator's files (keys, certificates, callers) where the daemon finds them; its settings are returned.

    What an earlier boot took over stays, so that the drive may be gone the next time.

    Raises:
        BootFault: a file cannot be used.
    """
    if drive is not None:
        for file in sorted(drive.iterdir()):
            if file.is_file() and file.name != "cmdline":
                write(_ETC / file.name, read_bounded(file))
    try:
        settings = tomllib.loads((_ETC / SETTINGS).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as exc:
        raise BootFault(f"{_ETC / SETTINGS}: not TOML: {exc}") from exc
    for name, table in settings.items():
        if not isinstance(table, dict):
            raise BootFault(f"{_ETC / SETTINGS}: {name}: expected a table")
    return settings


def check(configuration: str) -> None:
    """See to it that the daemon will take a configuration in which there are the operator's settings.

    Raises:
        BootFault: it will not.
    """
    from ..config import parse_config
    from ..errors import BadConfiguration

    try:
        parse_config(configuration, str(_ETC / SETTINGS))
    except BadConfiguration as exc:
        raise BootFault(str(exc)) from exc


def read_bounded(path: Path) -> str:
    """A text of a seed.

    Raises:
        BootFault: it is too long, or no text.
    """
    if path.stat().st_size > MAX_SEED_FILE_BYTES:
        raise BootFault(f"{path.name} of the seed: larger than {MAX_SEED_FILE_BYTES} bytes")
    try:
        return path.read_text("utf-8")
    except ValueError:
        raise BootFault(f"{path.name} of the seed: no text") from None


def make_keys(parameters: BootParameters) -> None:
    """A token key and a certificate, where the operator brought none: no two system VMs have the same."""
    key_file = Path(plan.KEY_FILE)
    if not key_file.exists():
        from ..token import TokenKey, write_key_file

        with replacing(key_file) as new:
            write_key_file(new, TokenKey.generate())
        say("trio-cpvm: made a token key; tokens of a platform need the platform's own, from a seed")
    certificate, private_key = Path(plan.CERTIFICATE), Path(plan.PRIVATE_KEY)
    if parameters.tls and not (certificate.exists() and private_key.exists()):
        subject = f"/CN={parameters.name}"
        with replacing(private_key) as new_key, replacing(certificate) as new_certificate:
            run(
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
                *("-days", "825", "-subj", subject, "-addext", f"subjectAltName=DNS:{parameters.name}"),
                *("-keyout", str(new_key), "-out", str(new_certificate)),
            )
        say("trio-cpvm: made a certificate of its own; browsers trust one from a seed only")


def write(path: Path, text: str) -> None:
    """Write a file whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as new:
        new.touch(0o600)
        new.write_text(text, "utf-8")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to within the block; at its end that file takes the place of ``path``, after a power failure too.

    What belongs to the daemon only the daemon may read.
    """
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    yield new
    if path.is_relative_to(_ETC):
        hand_over(new)
    else:
        new.chmod(0o644)
    with new.open("rb") as written:
        os.fsync(written.fileno())
    new.replace(path)


def hand_over(path: Path) -> None:
    """Let the daemon's user read a file, and nobody else."""
    shutil.chown(path, "root", _GROUP)
    path.chmod(0o640)


def run(*command: str, check: bool = True) -> str:
    """Run a program; what it printed.

    Raises:
        BootFault: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- none of it is a peer's
    if check and done.returncode:
        raise BootFault(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def say(text: str) -> None:
    """Tell whoever looks at the console, and the journal."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 -- the journal reads it
    with contextlib.suppress(OSError), _CONSOLE.open("w") as console:
        console.write("".join(f"{line}\r\n" for line in text.splitlines()))


if __name__ == "__main__":
    sys.exit(main())
