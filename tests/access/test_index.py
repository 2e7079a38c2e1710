"""The index page: each machine once, names as text, links that lead to the endpoint, and all words in one file."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from importlib import resources

import attrs
import pytest

from tests.helpers import built_pages
from trio_cpvm.access.index import IndexPage, load_texts
from trio_cpvm.access.machines import Machine, MachineState
from trio_cpvm.http import Request
from trio_cpvm.languages import read_languages

NASTY = "<script>alert(1)</script>&\"'$x${y}"


def machine(machine_id: str, name: str, state: MachineState = MachineState.RUNNING) -> Machine:
    return Machine(id=machine_id, name=name, state=state)


ASKED = Request(method="GET", path="/")


def page(*machines: Machine, caller: str = "alice", asked: Request = ASKED) -> str:
    return IndexPage(built_pages()).response(machines, caller, asked).body.decode()


class Tags(HTMLParser):
    """Which tags a page has, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attributes if tag == "a" and name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_machine_is_there_with_state_and_link() -> None:
    tags = Tags(
        page(
            machine("vm-1", "Web 1"),
            machine("vm-2", "vm-2", MachineState.PAUSED),
            machine("vm 3&4", "DB", MachineState.STOPPED),
        )
    )
    for text in ("Web 1", "vm-1", "Running", "vm-2", "Paused", "DB", "vm 3&4", "Stopped", "Logged in as alice"):
        assert text in tags.text
    assert tags.links == [
        "/client/console?cmd=access&vm=vm-1&websocketconsole=true",
        "/client/console?cmd=access&vm=vm-2&websocketconsole=true",
    ]
    assert tags.text.count("Open console – ") == 2


def test_an_id_in_a_link_is_encoded() -> None:
    assert Tags(page(machine("a b&c=d#+", "x"))).links == [
        "/client/console?cmd=access&vm=a+b%26c%3Dd%23%2B&websocketconsole=true"
    ]


@pytest.mark.parametrize("where", ["id", "name", "caller"])
def test_names_are_text(where: str) -> None:
    values = {"id": "vm", "name": "Web", "caller": "alice", where: NASTY}
    tags = Tags(page(machine(values["id"], values["name"]), caller=values["caller"]))
    assert "script" not in tags.tags
    assert NASTY in tags.text


def test_a_page_without_machines_says_so() -> None:
    assert 'data-machines="none"' in page()
    assert 'data-machines="some"' in page(machine("a", "a"))


def test_it_has_the_headers_of_all_pages_and_its_own_files() -> None:
    pages = built_pages()
    response = IndexPage(pages).response([], "alice", ASKED)
    headers = dict(response.headers)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response.content_type == "text/html; charset=utf-8"
    text = response.body.decode()
    files = re.findall(r'href="(/novnc/assets/[^"]+)"', text)
    assert len(files) == 2
    assert all(pages.asset(file) is not None for file in files)
    assert "style=" not in text
    assert "<script" not in text


def test_all_words_come_from_the_file() -> None:
    """What is left of the template without them has no letters."""
    template = (resources.files("trio_cpvm") / "_page" / "index.html").read_text("utf-8")
    body = re.sub(r"<!--.*?-->|<[^>]*>|\$\{?\w+\}?", "", template, flags=re.DOTALL)
    assert body.split() == []
    wanted = set(re.findall(r"\$\{?(\w+)\}?", template)) - {"lang", "rows", "filled"}
    own = {"open", "caller-view-only", *(f"state-{state}" for state in MachineState)}
    for texts in load_texts().values():
        assert texts.keys() == wanted | own


def test_the_words_are_plain_texts() -> None:
    for texts in load_texts().values():
        assert all(text and unescape(text) == text for text in texts.values())
        assert texts["caller"].count("{caller}") == texts["caller-view-only"].count("{caller}") == 1


def test_who_may_only_look_is_told() -> None:
    text = IndexPage(built_pages()).response([], "carol", ASKED, view_only=True).body.decode()
    assert "Logged in as carol, view only" in text
    assert "view only" not in page()


def test_it_speaks_the_languages_of_the_other_pages() -> None:
    assert load_texts().keys() == read_languages().keys()
    german = attrs.evolve(ASKED, headers=(("accept-language", "de-AT, en;q=0.5"),))
    text = page(machine("a", "a"), asked=german)
    assert '<html lang="de"' in text
    assert "Angemeldet als alice" in text
    assert "Konsole öffnen" in text
    assert '<html lang="en"' in page(machine("a", "a"))
