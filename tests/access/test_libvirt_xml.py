"""Domain XML as libvirt writes it, and the console that follows from it."""

from __future__ import annotations

import pytest

from tests.helpers import NOW
from trio_cpvm.access.libvirt_xml import NoConsole, console_target
from trio_cpvm.models import ConsoleTarget, Secret

#: As ``virsh dumpxml --security-info`` prints it, without what is beside the point.
DOMAIN = """<domain type='qemu' id='1'>
  <name>web-1</name>
  <uuid>b5aaafa0-009a-4771-b77c-ebe3de6f2999</uuid>
  {title}
  <devices>
    <graphics type='spice' port='5999'/>
    {graphics}
  </devices>
</domain>"""
LOCAL = (
    "<graphics type='vnc' port='5900' autoport='yes' listen='127.0.0.1' keymap='de' passwd='pa55word'>"
    "<listen type='address' address='127.0.0.1'/></graphics>"
)


def read(graphics: str, title: str = "", *, remote: bool = False) -> ConsoleTarget:
    xml = DOMAIN.format(graphics=graphics, title=title)
    return console_target(xml, any_host="192.0.2.9", remote=remote, now=NOW)


def test_a_domain_with_a_password() -> None:
    assert read(LOCAL) == ConsoleTarget(
        host="127.0.0.1",
        port=5900,
        password=Secret("pa55word"),
        vm_id="b5aaafa0-009a-4771-b77c-ebe3de6f2999",
        name="web-1",
        locale="de",
    )
    assert read(LOCAL, "<title>Web &amp; more</title>").name == "Web & more"


@pytest.mark.parametrize(
    ("graphics", "host", "port", "websocket_url"),
    [
        ("<graphics type='vnc' port='5901' listen='10.0.0.1'/>", "10.0.0.1", 5901, ""),
        ("<graphics type='vnc' port='5901' listen='0.0.0.0'/>", "192.0.2.9", 5901, ""),
        ("<graphics type='vnc' port='5901' listen='::'/>", "192.0.2.9", 5901, ""),
        ("<graphics type='vnc' port='5901'/>", "192.0.2.9", 5901, ""),
        (
            "<graphics type='vnc' port='5901'><listen type='network' network='n' address='fd00::1'/></graphics>",
            "fd00::1",
            5901,
            "",
        ),
        ("<graphics type='vnc' socket='/run/vm/vnc'/>", "unix:/run/vm/vnc", 0, ""),
        (
            "<graphics type='vnc' port='5901'><listen type='socket' socket='/run/vm/x'/></graphics>",
            "unix:/run/vm/x",
            0,
            "",
        ),
        ("<graphics type='vnc' port='-1' websocket='5700' listen='::1'/>", "::1", 0, "ws://[::1]:5700"),
        ("<graphics type='vnc' port='5901' websocket='5700' listen='::1'/>", "::1", 5901, ""),
    ],
)
def test_where_it_listens(graphics: str, host: str, port: int, websocket_url: str) -> None:
    target = read(graphics)
    assert (target.host, target.port, target.websocket_url) == (host, port, websocket_url)
    assert target.password is None


@pytest.mark.parametrize(
    ("graphics", "words"),
    [
        ("", "no VNC graphics"),
        ("<graphics type='vnc' port='-1' autoport='yes'/>", "listen nowhere"),
        ("<graphics type='vnc' port='99999'/>", "listen nowhere"),
        ("<graphics type='vnc' port='5900' passwd='x' passwdValidTo='2027-01-15T08:00:00'/>", "expired"),
        ("<graphics", "cannot be read"),
    ],
)
def test_domains_without_a_console(graphics: str, words: str) -> None:
    with pytest.raises(NoConsole, match=words):
        read(graphics)


@pytest.mark.parametrize("where", ["listen='127.0.0.1'", "listen='::1'", "listen='localhost'", "socket='/run/vm/x'"])
@pytest.mark.parametrize("port", ["port='5900'", "websocket='5700'"])
def test_what_listens_on_another_machine_only_is_not_sought_on_this_one(where: str, port: str) -> None:
    graphics = f"<graphics type='vnc' {port} {where}/>"
    assert read(graphics).host
    with pytest.raises(NoConsole, match="of another machine"):
        read(graphics, remote=True)


@pytest.mark.parametrize(("listen", "host"), [("0.0.0.0", "192.0.2.9"), ("10.0.0.1", "10.0.0.1")])
def test_what_another_machine_shows_to_others_is_opened(listen: str, host: str) -> None:
    assert read(f"<graphics type='vnc' port='5900' listen='{listen}'/>", remote=True).host == host


def test_a_password_holds_until_its_time_in_utc() -> None:
    """``NOW`` is 2027-01-15T08:00:00Z."""
    assert read("<graphics type='vnc' port='5900' passwd='x' passwdValidTo='2027-01-15T08:00:01'/>").password
