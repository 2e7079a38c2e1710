"""A console that works, and how the log says it was secured."""

from __future__ import annotations

from .browser import ConsolePage
from .daemon import Console, Daemon
from .qemu import Qemu
from .wayvnc import Wayvnc
from .xvnc import Xvnc

#: What the log calls TLS 1.3.
TLS_1_3 = "TLSv1.3 TLS_AES_256_GCM_SHA384"


def assert_works(
    tab: ConsolePage, daemon: Daemon, console: Console, host: Qemu | Xvnc | Wayvnc, *, security: str, transport: str
) -> None:
    """The tab shows what the host says its screen shows, what is typed arrives, and the log names the protection.

    Args:
        security: what the log says of authentication, and
        transport: of encryption.
    """
    reference = host.screendump if isinstance(host, Qemu) else host.picture
    tab.open(console.url)
    tab.wait_for_state("connected")
    tab.click()
    tab.wait_for_picture(reference)
    tab.type_line("Hello, World! 1+1=2")
    host.wait_for_line("Hello, World! 1+1=2")
    tab.wait_for_picture(reference)
    tab.page.close()
    for event in ("console open", "session ended"):
        record = daemon.wait_for_event(event)
        assert {"security": record["security"], "transport": record["transport"]} == {
            "security": security,
            "transport": transport,
        }
