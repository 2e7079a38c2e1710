"""What is compared: this daemon, websockify, and no proxy at all; each started as its users start it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

import attrs

from .programs import Failed, Program, cpu_s, free_port, listens, run, wait_until

Tables: TypeAlias = Mapping[str, Mapping[str, object]]

BASELINE = "no proxy"
WEBSOCKIFY = "websockify"
DAEMON = "trio-cpvm"
DAEMON_2 = "trio-cpvm, 2 workers"

PASSWORD = "password"
#: How often is looked whether a candidate listens, in seconds.
LOOK_S = 0.002
#: Nothing of this is about speed: as many sessions from this one machine as the system allows, and no end of those
#: that only wait.
SETTINGS: Tables = {
    "server": {"max_connections": 100000, "max_connections_per_client": 0, "head_timeout_s": 60},
    "session": {
        "max_sessions": 100000,
        "max_sessions_per_client": 0,
        "idle_timeout_s": 0,
        "connect_timeout_s": 60,
        "handshake_timeout_s": 60,
    },
}


def as_toml(tables: Tables) -> str:
    """Texts, numbers, flags and lists of them are written the same way in JSON and TOML."""
    lines = []
    for name, table in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


@attrs.frozen
class Bench:
    """What all candidates share.

    Attributes:
        folder: where their files go.
        generators: where the compiled generators are.
        cpus: where the generators run; empty: anywhere.
        none_port: the host without authentication.
        vnc_port: the host with VNC authentication.
    """

    folder: Path
    generators: Path
    cpus: Sequence[int]
    none_port: int
    vnc_port: int

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def private_key(self) -> Path:
        return self.folder / "key.pem"

    @property
    def token_key(self) -> Path:
        return self.folder / "token-key.json"


@contextmanager
def open_bench(folder: Path, generators: Path, cpus: Sequence[int]) -> Iterator[Bench]:
    """Make certificate and token key, and run the host.

    Raises:
        Failed: a program is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with Program([str(generators / "host"), "127.0.0.1"], folder / "host.log", cpus) as host:
        ports: dict[str, int] = json.loads(host.line())
        bench = Bench(folder, generators, cpus, ports["none"], ports["vnc"])
        for old in (bench.token_key, bench.certificate, bench.private_key):
            old.unlink(missing_ok=True)
        run([sys.executable, "-m", "trio_cpvm", "keygen", "--output", str(bench.token_key)])
        # What websockify's own documentation says, with a key of today.
        request = "openssl req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=127.0.0.1"
        name = ["-addext", "subjectAltName=IP:127.0.0.1"]
        run([*request.split(), *name, "-keyout", str(bench.private_key), "-out", str(bench.certificate)])
        yield bench


@attrs.frozen
class Running:
    """A candidate that serves.

    Attributes:
        port: where.
        options: what the load generator has to be told besides.
        pid: its process; ``None`` for the baseline.
        start_s: its CPU time when it began to listen, in seconds.
    """

    port: int
    options: Sequence[str]
    pid: int | None
    start_s: float = 0


@attrs.frozen
class Candidate:
    """One of those that are compared."""

    name: str
    tls: bool = False

    @contextmanager
    def start(self, bench: Bench) -> Iterator[Running]:
        """Serve for as long as the block lasts.

        Raises:
            Failed: it does not come up.
        """
        tls = ("tls=yes", f"ca={bench.certificate}") if self.tls else ()
        if self.name == BASELINE:
            yield Running(bench.none_port, ("transport=tcp",), None)
            return
        port = free_port()
        argv = _websockify(bench, port, self.tls) if self.name == WEBSOCKIFY else self._daemon(bench, port)
        name = self.name.replace(", ", "-").replace(" ", "-") + ("-tls" if self.tls else "")
        with Program(argv, bench.folder / f"{name}.log", env=_with_byte_code(bench)) as program:
            wait_until(lambda: listens(port) or not program.is_alive, f"{self.name} listens", look_every_s=LOOK_S)
            start_s = cpu_s(program.pid)
            if not program.is_alive:
                raise program.failed()
            yield Running(port, tls, program.pid, start_s)

    def paths(self, bench: Bench, number: int) -> Sequence[str]:
        """The option that names so many paths, one for each session."""
        if self.name not in (DAEMON, DAEMON_2):
            return ()
        file = bench.folder / "paths.txt"
        tokens = [str(Path(__file__).with_name("tokens.py")), str(bench.token_key)]
        file.write_text(run([sys.executable, *tokens, "127.0.0.1", str(bench.vnc_port), PASSWORD, str(number)]))
        return (f"paths={file}",)

    def _daemon(self, bench: Bench, port: int) -> list[str]:
        config = bench.folder / f"{self.name.replace(', ', '-').replace(' ', '-')}{'-tls' * self.tls}.toml"
        config.write_text(_config(bench, port, tls=self.tls, workers=2 if self.name == DAEMON_2 else 1))
        return [sys.executable, "-m", "trio_cpvm", "serve", "--config", str(config)]


def _with_byte_code(bench: Bench) -> Mapping[str, str]:
    """An environment in which Python keeps its byte code, as it does of what pip installs."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(bench.folder / "byte-code")}


def _config(bench: Bench, port: int, *, tls: bool = False, workers: int = 1) -> str:
    address = [f"127.0.0.1:{port}"]
    listeners: dict[str, object] = {"listen": [], "listen_tls": address} if tls else {"listen": address}
    if workers > 1:
        listeners["workers"] = workers
    tables: Tables = {
        "server": {**SETTINGS["server"], **listeners},
        "tls": {"certificate": str(bench.certificate), "private_key": str(bench.private_key)} if tls else {},
        "token": {"key_files": [str(bench.token_key)]},
        "session": SETTINGS["session"],
        "admin": {"listen": "127.0.0.1:0"},
    }
    return as_toml(tables)


def has_workers(bench: Bench) -> bool:
    """Whether this version of the daemon can run as several processes."""
    config = bench.folder / "workers.toml"
    config.write_text(_config(bench, 8080, workers=2))
    with contextlib.suppress(Failed):
        run([sys.executable, "-m", "trio_cpvm", "check-config", str(config)])
        return True
    return False


def _websockify(bench: Bench, port: int, tls: bool) -> list[str]:
    """As noVNC's documentation has it: one listener for one host."""
    certificate = [f"--cert={bench.certificate}", f"--key={bench.private_key}", "--ssl-only"] if tls else []
    return [sys.executable, "-m", "websockify", *certificate, f"127.0.0.1:{port}", f"127.0.0.1:{bench.none_port}"]


def versions() -> Mapping[str, str]:
    """Of what stands below this daemon, and of websockify."""
    return {name: version(name) for name in ("trio", "trio-websocket", "websockify", "numpy")}
