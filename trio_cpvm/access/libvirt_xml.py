"""A libvirt domain's XML: where its VNC screen is. Sans-I/O.

Source: libvirt's ``formatdomain`` (graphical framebuffers). With ``vnc_tls`` in libvirt's ``qemu.conf`` the same port
speaks VeNCrypt, which the RFB handshake finds out by itself: the XML does not tell. libvirt is trusted (it runs the
machines), so its XML is read with the standard library's parser.
"""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from ..models import ConsoleTarget, Secret, format_address, is_loopback

#: Listening on every address says nothing about where to connect.
_ANY = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 -- compared with, not listened on


class NoConsole(Exception):
    """The domain has no VNC screen that could be opened now. The text is for the log."""


def console_target(xml: str, *, any_host: str, remote: bool, now: float) -> ConsoleTarget:
    """The console of a running domain.

    Args:
        xml: with ``VIR_DOMAIN_XML_SECURE``, or the password is missing.
        any_host: where to connect if it listens on every address.
        remote: it runs on another machine than this proxy, whose loopback and sockets cannot be reached from here.
        now: seconds since the epoch, for the password's end.

    Raises:
        NoConsole: it has none.
    """
    try:
        domain = ET.fromstring(xml)  # noqa: S314 -- libvirt's own words
    except ET.ParseError as exc:
        raise NoConsole(f"libvirt's XML cannot be read: {exc}") from None
    graphics = domain.find("./devices/graphics[@type='vnc']")
    if graphics is None:
        raise NoConsole("it has no VNC graphics")
    if _password_is_over(graphics.get("passwdValidTo"), now):
        raise NoConsole("its VNC password has expired (passwdValidTo)")
    password = graphics.get("passwd")
    path, host = _where(graphics, any_host)
    port, websocket = _port(graphics, "port"), _port(graphics, "websocket")
    if not path and not port and not websocket:
        raise NoConsole("its VNC graphics listen nowhere")
    if remote and (path or is_loopback(host)):
        raise NoConsole(f"its VNC graphics listen on {path or host} of another machine")
    return ConsoleTarget(
        host=f"unix:{path}" if path else host,
        port=0 if path else port,
        password=Secret(password) if password else None,
        vm_id=domain.findtext("uuid", ""),
        name=domain.findtext("title", "") or domain.findtext("name", ""),
        locale=graphics.get("keymap", ""),
        websocket_url="" if path or port else f"ws://{format_address(host, websocket)}",
    )


def _where(graphics: ET.Element, any_host: str) -> tuple[str, str]:
    """Unix socket, or host. ``<listen>`` elements are the newer spelling of the attributes."""
    path, address = graphics.get("socket", ""), graphics.get("listen", "")
    for listen in graphics.findall("listen"):
        if listen.get("type") == "socket":
            path = listen.get("socket", path)
        elif listen.get("type") in ("address", "network"):
            address = listen.get("address", address)
    return path, any_host if address in _ANY else address


def _port(graphics: ET.Element, name: str) -> int:
    """-1 stands for a port that libvirt has not chosen yet, as does a missing one."""
    text = graphics.get(name, "")
    return int(text) if text.isdecimal() and int(text) <= 65535 else 0


def _password_is_over(text: str | None, now: float) -> bool:
    """``passwdValidTo`` is in UTC, without saying so."""
    if not text:
        return False
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() <= now
    except ValueError:
        return False
