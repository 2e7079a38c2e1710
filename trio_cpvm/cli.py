"""The command line. Reads files and arguments, starts what they ask for, turns faults into exit codes.

Exit codes: 0 done or stopped, 1 fault, 2 bad usage or configuration.
"""

from __future__ import annotations

import gc
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import attrs
import click
import trio

from . import __version__
from .admin_client import AdminClient, AdminUnreachable
from .config import Config, LogConfig, load_config
from .config_values import ListenAddress, TcpAddress, parse_listen_address
from .errors import BadConfiguration
from .links import base_url, console_url
from .logs import configure_logging, printable
from .models import MAX_CLIPBOARD_BYTES, Clipboard, ConsoleTarget, Secret, without_path
from .quick_start import quick_imports
from .token import (
    TokenInvalid,
    TokenKey,
    mint_token,
    new_session_uuid,
    open_token,
    read_key_file,
    write_key_file,
)

P = ParamSpec("P")
R = TypeVar("R")

EXIT_FAULT = 1
EXIT_BAD_CONFIGURATION = 2

config_option = click.option(
    "--config", "config_path", required=True, type=click.Path(path_type=Path), help="Configuration file (TOML)."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="trio-cpvm")
def main() -> None:
    """A console proxy: virtual machines' VNC screens in the browser."""


@contextmanager
def _faults_as_exit_codes() -> Iterator[None]:
    code = 0
    try:
        yield
    except* BadConfiguration as group:
        code = _tell(group, EXIT_BAD_CONFIGURATION)
    except* AdminUnreachable as group:
        code = _tell(group, EXIT_FAULT)
    if code:  # not from within ``except*``, which would wrap the exit into a group
        sys.exit(code)


def _tell(group: BaseExceptionGroup[BaseException], code: int) -> int:
    for error in _leaves(group):
        click.echo(f"trio-cpvm: {error}", err=True)
    return code


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from _leaves(exc)
        else:
            yield exc


def _command(function: Callable[P, R]) -> Callable[P, R]:
    """A command whose faults become exit codes."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with _faults_as_exit_codes():
            return function(*args, **kwargs)
        raise AssertionError("unreachable")

    return run


@main.command()
@config_option
@_command
def serve(config_path: Path) -> None:
    """Run the proxy. SIGTERM drains it, SIGINT or a second SIGTERM stops it, SIGHUP reads its configuration anew."""
    with quick_imports():
        from .daemon import run_daemon

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until somebody obeys it: there is nothing to read anew yet
    config = load_config(config_path)
    configure_logging(config.log)
    gc.freeze()  # what has been imported stays; it is not looked through for garbage time and again
    trio.run(run_daemon, config, config_path)


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@_command
def check_config(file: Path) -> None:
    """Check a configuration FILE and the files it names: keys, certificates, callers, machines."""
    from .parts import make_parts
    from .server import insecure_settings

    config = load_config(file)
    parts = make_parts(config)
    for path, key in zip(config.token.key_files, parts.gate.tokens.keys, strict=True):
        click.echo(f"{path}: token key {key.fingerprint}")
    if parts.callers is not None:
        click.echo(f"{config.access.callers_file}: callers: {len(parts.callers)}")
    for warning in insecure_settings(config):
        click.echo(f"{file}: warning: {warning}")
    click.echo(f"{file}: ok")


@main.command()
@click.option("--output", type=click.Path(path_type=Path), default=Path("token-key.json"), show_default=True)
@_command
def keygen(output: Path) -> None:
    """Make a new token key file that only you may read."""
    key = TokenKey.generate()
    try:
        write_key_file(output, key)
    except OSError as exc:
        raise BadConfiguration(f"{output}: {exc.strerror or exc}") from exc
    click.echo(f"{output}: token key {key.fingerprint}", err=True)


def _read_password(file: str | None) -> Secret | None:
    """The password is the file's first line, so that an editor's newline does no harm."""
    if file is None:
        return None
    try:
        text = sys.stdin.readline() if file == "-" else Path(file).read_text("utf-8").split("\n", 1)[0]
    except (OSError, UnicodeDecodeError) as exc:
        raise BadConfiguration(f"{file}: {getattr(exc, 'strerror', None) or exc}") from exc
    return Secret(text.rstrip("\r\n"))


@main.command()
@config_option
@click.option("--host", default="", help="The VNC server's name or address; unix:/path for a unix socket.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Its TCP port.")
@click.option("--username", default="", help="For servers that ask for a user name as well (VeNCrypt Plain).")
@click.option("--password-file", help="File with the VNC password on its first line; - reads standard input.")
@click.option("--vm-id", default="", help="The machine's id; second viewers are told by it.")
@click.option("--name", default="", help="What the page calls the machine.")
@click.option("--locale", default="", help="The guest's keyboard (de, fr-be, ...), for typing texts from the page.")
@click.option(
    "--ttl-s", type=click.FloatRange(min=0), default=120.0, show_default=True, help="Seconds to live; 0: no end."
)
@click.option("--source-ip", default="", help="The only browser address that may use the token.")
@click.option("--extra", default="", help="Extra security token that the URL has to carry.")
@click.option("--view-only", is_flag=True, help="The user may look, and no more.")
@click.option(
    "--clipboard", type=click.Choice([way.value for way in Clipboard]), help="Which way clipboard texts may go."
)
@click.option(
    "--clipboard-max-bytes",
    type=click.IntRange(0, MAX_CLIPBOARD_BYTES),
    default=0,
    help="The longest clipboard text; 0: as configured.",
)
@click.option("--user", default="", help="Who it is for; operators see the name, and a viewer that it replaces.")
@click.option("--reusable", is_flag=True, help="May be used more than once.")
@click.option("--tunnel-url", default="", help="XenServer's console URL.")
@click.option("--tunnel-session", default="", help="XenServer's session reference.")
@click.option("--websocket-url", default="", help="A host that speaks RFB over WebSocket.")
@_command
def mint(
    config_path: Path,
    host: str,
    port: int,
    username: str,
    password_file: str | None,
    vm_id: str,
    name: str,
    locale: str,
    ttl_s: float,
    source_ip: str,
    extra: str,
    view_only: bool,
    clipboard: str | None,
    clipboard_max_bytes: int,
    user: str,
    reusable: bool,
    tunnel_url: str,
    tunnel_session: str,
    websocket_url: str,
) -> None:
    """Print a URL that opens one machine's console."""
    if not (websocket_url or tunnel_url or host.startswith("unix:/")) and not (host and port):
        raise click.UsageError("--host and --port are needed")
    config = load_config(config_path)
    key = read_key_file(config.token.key_files[0])
    target = ConsoleTarget(
        host=host,
        port=port,
        username=username,
        password=_read_password(password_file),
        vm_id=vm_id,
        name=name,
        locale=locale,
        tunnel_url=tunnel_url,
        tunnel_session=Secret(tunnel_session) if tunnel_session else None,
        websocket_url=websocket_url,
        source_ip=source_ip,
        session_uuid="" if reusable else new_session_uuid(),
        extra_token=Secret(extra) if extra else None,
        not_after=round(time.time() + ttl_s, 3) if ttl_s else None,
        view_only=view_only,
        clipboard=Clipboard(clipboard) if clipboard is not None else None,
        clipboard_max_bytes=clipboard_max_bytes,
        user=user,
    )
    token = mint_token(target, key)
    try:
        open_token(token, [key])
    except TokenInvalid as exc:
        raise click.UsageError(f"no proxy would take that token: {exc}") from None
    click.echo(console_url(base_url(config), token, extra))


@main.group()
def token() -> None:
    """Look into tokens."""


@token.command("decode")
@config_option
@click.option("--show-secrets", is_flag=True, help="Print passwords and tickets as they are.")
@click.argument("spelled", metavar="[TOKEN|-]", default="-")
@_command
def decode(config_path: Path, show_secrets: bool, spelled: str) -> None:
    """Print the fields of a TOKEN, or of the whole URL around it; - or nothing reads standard input."""
    config = load_config(config_path)
    text = (sys.stdin.buffer.readline().decode("ascii", "replace") if spelled == "-" else spelled).strip()
    if "token=" in text:
        text = text.split("token=", 1)[1].split("&", 1)[0]
    keys = [read_key_file(path) for path in config.token.key_files]
    try:
        target = open_token(text, keys, accept_legacy_cbc=config.token.accept_legacy_cbc)
    except TokenInvalid as exc:
        click.echo(f"trio-cpvm: not a valid token: {exc}", err=True)
        sys.exit(EXIT_FAULT)
    for field in attrs.fields(ConsoleTarget):
        value = getattr(target, field.name)
        if value in (None, "", False):
            continue
        shown = value.reveal() if show_secrets and isinstance(value, Secret) else str(value)
        if field.name == "websocket_url" and not show_secrets:  # its path may be a ticket
            shown = f"{without_path(value)}/***"
        if field.name == "not_after":
            shown = _moment(value)
        click.echo(f"{field.name:>16}  {printable(shown)}")


def _moment(value: float) -> str:
    try:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(value))
    except (ValueError, OverflowError, OSError):  # in no calendar
        return f"{value:g}"
    left = value - time.time()
    return f"{moment} ({f'{left:.0f} s left' if left > 0 else f'expired {-left:.0f} s ago'})"


def _tcp_address(option: str, text: str | None) -> TcpAddress | None:
    if text is None:
        return None
    try:
        address = parse_listen_address(text)
    except ValueError:
        address = None
    if not isinstance(address, TcpAddress):
        raise click.UsageError(f"{option} {text}: expected HOST:PORT")
    return address


@main.command()
@click.option("--listen", help="Where the proxy listens.  [default: 127.0.0.1:8080, or a free port if that is taken]")
@click.option("--vnc", metavar="HOST:PORT", help="A VNC server of yours, in place of the embedded one.")
@click.option("--password-file", help="File with its password; - reads standard input.")
@_command
def demo(listen: str | None, vnc: str | None, password_file: str | None) -> None:
    """Start a VNC server and the proxy, and print the URL to open."""
    from .demo import run_demo

    address = _tcp_address("--listen", listen)
    host = _tcp_address("--vnc", vnc)
    if password_file is not None and host is None:
        raise click.UsageError("--password-file goes with --vnc")
    configure_logging(LogConfig())
    trio.run(run_demo, address, host, _read_password(password_file))


@main.group()
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="Configuration, for its admin.listen.")
@click.option("--admin", metavar="ADDRESS", help="The admin listener itself: host:port or unix:/path.")
@click.pass_context
def sessions(context: click.Context, config_path: Path | None, admin: str | None) -> None:
    """Look at, end and drain the sessions of a running daemon."""
    with _faults_as_exit_codes():
        context.obj = AdminClient(_admin_address(config_path, admin))


def _admin_address(config_path: Path | None, admin: str | None) -> ListenAddress:
    """The admin listener that the options name; by default the default configuration's."""
    if admin is None:
        return (load_config(config_path) if config_path is not None else Config()).admin.listen
    try:
        return parse_listen_address(admin)
    except ValueError as exc:
        raise click.UsageError(f"--admin {admin}: {exc}") from None


@sessions.command("list")
@click.pass_obj
@_command
def list_sessions(client: AdminClient) -> None:
    """List the running sessions."""
    columns = ("id", "phase", "user", "client", "vm", "name", "host", "security", "age_s", "bytes_up", "bytes_down")
    rows = [[printable(str(session.get(column, ""))) for column in columns] for session in client.sessions()]
    widths = [max(len(row[i]) for row in [*rows, list(columns)]) for i in range(len(columns))]
    for row in [list(columns), *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@sessions.command()
@click.argument("session_ids", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
@_command
def kill(client: AdminClient, session_ids: tuple[str, ...]) -> None:
    """End sessions by their ids."""
    missing = [session_id for session_id in session_ids if not client.kill(session_id)]
    for session_id in missing:
        click.echo(f"trio-cpvm: no session {session_id}", err=True)
    if missing:
        sys.exit(EXIT_FAULT)


@sessions.command()
@click.pass_obj
@_command
def drain(client: AdminClient) -> None:
    """Let the daemon end: no new sessions, the running ones may finish."""
    click.echo(f"draining; {client.drain()} sessions are running")


@main.group()
def access() -> None:
    """Who may ask the access endpoint for consoles."""


@access.command("new-caller")
@click.argument("name")
@click.option("--bearer", is_flag=True, help="With a key for logging in and for Authorization: Bearer (the default).")
@click.option("--signed", is_flag=True, help="With an API key and a secret key for CloudStack's signed requests.")
@click.option("--machines", multiple=True, help="Id or glob pattern of machines it may open; again for more.")
@click.option("--view-only", is_flag=True, help="It may look at them, and no more.")
@_command
def new_caller_command(name: str, bearer: bool, signed: bool, machines: tuple[str, ...], view_only: bool) -> None:
    """Make a caller. What belongs into the callers' file is printed, what the caller gets goes to standard error."""
    from .access.callers import new_caller

    try:
        new = new_caller(name, bearer=bearer or not signed, signed=signed, machines=machines, view_only=view_only)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
    click.echo(new.snippet)
    click.echo(f"For {name}, shown this once:", err=True)
    if new.bearer_key:
        click.echo(f"  key        {new.bearer_key.reveal()}", err=True)
    if new.secret_key:
        click.echo(f"  apiKey     {new.api_key}\n  secretKey  {new.secret_key.reveal()}", err=True)


@main.command()
@click.option("--attach", is_flag=True, help="Inside the running daemon, through its admin unix socket (admin.repl).")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="With --attach: for its admin.listen.")
@click.option("--admin", metavar="ADDRESS", help="With --attach: the admin listener itself, unix:/path.")
@click.option("--worker", type=click.IntRange(min=1), help="With --attach: which of several processes.")
@_command
def repl(attach: bool, config_path: Path | None, admin: str | None, worker: int | None) -> None:
    """A trio REPL: top-level await, with the package's names and doubles in reach, or a running daemon's own."""
    if attach:
        from .attach import run_attached

        run_attached(_admin_address(config_path, admin), worker)
        return
    if config_path is not None or admin is not None or worker is not None:
        raise click.UsageError("--config, --admin and --worker go with --attach")
    from .repl import run_repl

    run_repl()


@main.command()
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="Configuration, for its admin.listen.")
@click.option("--admin", metavar="ADDRESS", help="The admin listener itself: host:port or unix:/path.")
@click.option(
    "--interval", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True, help="Seconds between two looks."
)
@click.option("--once", is_flag=True, help="Print one picture and leave.")
@_command
def top(config_path: Path | None, admin: str | None, interval: float, once: bool) -> None:
    """Watch a running daemon and its sessions."""
    from .top import run_top

    run_top(AdminClient(_admin_address(config_path, admin)), interval_s=interval, once=once)
