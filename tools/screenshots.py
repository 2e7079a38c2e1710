"""Takes the pictures of docs/page.rst: ``make screenshots``, after ``make real`` has brought Chromium.

The machine in them is the demo's.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
CHROMIUM = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server")
DESKTOP, PHONE = (1120, 640), (390, 780)

CONFIGURATION = """\
server.listen = ["127.0.0.1:0"]
admin.listen = "127.0.0.1:0"
access.enabled = true
"""
MACHINES = """\
[machines.web-1]
name = "Web 1"
host = "192.0.2.5"
port = 5901

[machines.web-2]
name = "Web 2"
host = "192.0.2.6"
port = 5901
state = "paused"

[machines.db-1]
name = "Database"
host = "192.0.2.7"
port = 5901
state = "stopped"
"""


@contextmanager
def running(*arguments: str, url: str, stream: str = "stdout") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``trio-cpvm`` with these arguments, and the URL that it prints: the pattern's group."""
    pipe = {stream: subprocess.PIPE, "stderr" if stream == "stdout" else "stdout": subprocess.DEVNULL}
    command = [sys.executable, "-m", "trio_cpvm", *arguments]
    process = subprocess.Popen(command, text=True, **pipe)  # type: ignore[call-overload]
    try:
        yield process, next(found[1] for line in getattr(process, stream) if (found := re.search(url, line)))
    finally:
        process.terminate()
        process.wait()


def new_page(browser: Browser, *, dark: bool = False, phone: bool = False, login: str = "") -> Page:
    width, height = PHONE if phone else DESKTOP
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        has_touch=phone,
        is_mobile=phone,
        http_credentials={"username": "alice", "password": login} if login else None,
    )
    return context.new_page()


def open_console(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_selector("html[data-state=connected]")
    page.wait_for_selector("#meter", state="visible")
    page.wait_for_timeout(500)  # the picture


def take(page: Page, name: str) -> None:
    page.screenshot(path=IMAGES / f"{name}.png")


def take_console(browser: Browser) -> None:
    with running("demo", "--listen", "127.0.0.1:0", url=r"(http://\S+token\S+)") as (demo, url):
        page = new_page(browser)
        open_console(page, url)
        page.keyboard.type("uname -a | grep -i linux")
        page.wait_for_timeout(300)
        take(page, "connected")
        page.click("#keys-button")
        take(page, "keys")
        page.keyboard.press("Escape")
        page.click("#clipboard-button")
        page.select_option("#layout", "de")
        page.fill("#clipboard-text", "curl -s https://example.org/install.sh | sh  # año nuevo")
        page.click("#type")
        take(page, "clipboard")
        german = new_page(browser, dark=True)
        open_console(german, f"{url}&lang=de")
        german.click("#view-button")
        take(german, "view")
        phone = new_page(browser, dark=True, phone=True)
        open_console(phone, url)
        phone.tap("#keys-button")
        take(phone, "phone")
        open_console(page, url)  # one viewer at a time
        demo.terminate()
        page.wait_for_selector("#again", state="visible")
        take(page, "ended")


def take_list(browser: Browser, folder: Path) -> None:
    """The list of machines."""
    for name, text in (("trio-cpvm.toml", CONFIGURATION), ("machines.toml", MACHINES)):
        (folder / name).write_text(text, "utf-8")
    command = [sys.executable, "-m", "trio_cpvm"]
    subprocess.run([*command, "keygen", "--output", str(folder / "token-key.json")], check=True)
    caller = subprocess.run(
        [*command, "access", "new-caller", "alice", "--machines", "*"], check=True, capture_output=True, text=True
    )
    callers = folder / "callers.toml"
    callers.touch(mode=0o600)
    callers.write_text(caller.stdout, "utf-8")
    key = re.search(r"key +(\S+)", caller.stderr)
    assert key is not None
    serve = ("serve", "--config", str(folder / "trio-cpvm.toml"))
    with running(*serve, url=r"listening +url=(\S+)", stream="stderr") as (_, url):
        page = new_page(browser, login=key[1])
        page.goto(url)
        take(page, "machines")


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(CHROMIUM))
        take_console(browser)
        take_list(browser, Path(folder))
        browser.close()


if __name__ == "__main__":
    main()
