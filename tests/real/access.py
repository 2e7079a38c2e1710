"""The access endpoint as its operator sets it up: callers made on the command line, machines in a file."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import requests
from cs import CloudStack

from .daemon import Daemon, run_command
from .qemu import Qemu


@attrs.frozen
class Caller:
    """Somebody with keys of both kinds."""

    name: str
    key: str
    api_key: str
    secret_key: str

    @property
    def bearer(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def basic(self) -> Mapping[str, str]:
        return basic(self.name, self.key)

    def keep_out_of_log(self, daemon: Daemon) -> None:
        for secret in (self.key, self.secret_key, self.basic["Authorization"].partition(" ")[2]):
            daemon.keep_out_of_log(secret)


def basic(name: str, key: str) -> Mapping[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{key}".encode()).decode()}


def add_caller(file: Path, name: str, *machines: str) -> Caller:
    """Make a caller who may open these machines, and enter it into the callers' file."""
    options = [option for machine in machines for option in ("--machines", machine)]
    done = run_command("access", "new-caller", name, "--bearer", "--signed", *options)
    file.touch(mode=0o600)
    with file.open("a") as callers:
        callers.write(done.stdout)
    told = dict(line.split() for line in done.stderr.splitlines()[1:])
    return Caller(name, told["key"], told["apiKey"], told["secretKey"])


def write_machines(file: Path, machines: Mapping[str, Mapping[str, object]]) -> None:
    file.touch(mode=0o600)
    file.write_text(json.dumps({"machines": machines}), "utf-8")


def as_machine(qemu: Qemu, name: str, password: str) -> Mapping[str, object]:
    return {"name": name, "host": qemu.host, "port": qemu.port, "password": password}


class _NotingSession(requests.Session):
    """Remembers what was asked for; keeps no connection open."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.paths: list[str] = []

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        self.paths.append(str(request.path_url))
        request.headers["Connection"] = "close"
        return super().send(request, **options)


class Client:
    """PyPI's ``cs``, and the paths that it has asked for."""

    def __init__(self, daemon: Daemon, key: str, secret: str) -> None:
        session = _NotingSession()
        self.paths = session.paths
        self._cs = CloudStack(endpoint=f"{daemon.url}/client/api", key=key, secret=secret, session=session)

    def console(self, machine: str, **more: str) -> Mapping[str, object]:
        """Ask for a console.

        Raises:
            cs.CloudStackApiException: it was refused.
        """
        answer = self._cs.createConsoleEndpoint(virtualmachineid=machine, **more)
        found: dict[str, object] = answer["consoleendpoint"]
        return found
