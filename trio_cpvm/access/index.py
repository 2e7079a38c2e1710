"""The index page: the machines that somebody may open, each with a link to its console. No script in it.

Its words come from ``messages/index/`` alone, a file for each language; a machine's name gets into the page as escaped
text only.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from urllib.parse import urlencode

from ..http import Request, Response
from ..http.language import choose_language
from ..languages import ENGLISH
from ..static import PageFiles
from .machines import Machine, MachineState

CONSOLE_PATH = "/client/console"


class IndexPage:
    """Makes the page.

    Args:
        pages: has its template and files.

    Raises:
        BadConfiguration: the page has not been built.
    """

    def __init__(self, pages: PageFiles) -> None:
        self._pages = pages
        self._template = pages.template("index.html")
        self._texts = load_texts()

    def response(
        self, machines: Sequence[Machine], caller: str, request: Request, *, view_only: bool = False
    ) -> Response:
        """The page.

        Args:
            machines: what the caller may open.
            caller: who that is.
            request: says which language the caller reads.
            view_only: the caller may look, and no more.
        """
        language = choose_language(request, self._texts, otherwise=ENGLISH)
        texts = self._texts[language]
        words = {name: html.escape(text) for name, text in texts.items()}
        words["lang"] = language
        words["caller"] = html.escape(texts["caller-view-only" if view_only else "caller"].format(caller=caller))
        words["rows"] = "\n".join(_row(machine, texts) for machine in machines)
        words["filled"] = "some" if machines else "none"
        return self._pages.html(self._template.substitute(words))


def load_texts() -> Mapping[str, Mapping[str, str]]:
    """The page's words by language."""
    texts: dict[str, Mapping[str, str]] = {}
    for file in (resources.files("trio_cpvm") / "messages" / "index").iterdir():
        texts[file.name.removesuffix(".json")] = json.loads(file.read_text("utf-8"))
    return texts


def _row(machine: Machine, texts: Mapping[str, str]) -> str:
    name, machine_id = html.escape(machine.name), html.escape(machine.id)
    state = html.escape(texts[f"state-{machine.state}"])
    same = machine.name == machine.id
    return (
        f'<tr data-vm="{machine_id}">'
        f'<th scope="row"><bdi>{name}</bdi>{"" if same else f" <small>{machine_id}</small>"}</th>'
        f'<td><span class="machine-state" data-is="{machine.state}">{state}</span></td>'
        f"<td>{_link(machine, texts, name)}</td></tr>"
    )


def _link(machine: Machine, texts: Mapping[str, str], name: str) -> str:
    """A stopped machine has no link, since it would lead to an error page."""
    if machine.state is MachineState.STOPPED:
        return ""
    query = urlencode({"cmd": "access", "vm": machine.id, "websocketconsole": "true"})
    href = html.escape(f"{CONSOLE_PATH}?{query}")
    return f'<a class="open" href="{href}">{html.escape(texts["open"])}<span class="unseen"> – {name}</span></a>'
