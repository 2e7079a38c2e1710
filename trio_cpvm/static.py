"""The page and its files: a fixed map made at start, hashed, compressed, and never looked up on disk again.

The console page and the error page are templates, one for each language; what is filled in is what the token says for
the user's eyes, and the reason.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import json
import string
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from urllib.parse import quote

import attrs

from .errors import BadConfiguration, ConsoleError
from .http import Request, Response
from .http.language import choose_language
from .http.upgrade import error_response
from .languages import ENGLISH, read_languages

ASSET_ROOT = "/novnc/assets/"

_CONTENT_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
#: Names that other files point to as they are.
_UNHASHED = ("licences.txt",)
_IMMUTABLE = "public, max-age=31536000, immutable"
_ONE_DAY = "public, max-age=86400"
_HTML = "text/html; charset=utf-8"
_ICON = "icon.svg"


@attrs.frozen
class Asset:
    """One file, ready to be sent."""

    body: bytes = attrs.field(repr=False)
    compressed: bytes = attrs.field(repr=False)
    content_type: str
    cache_control: str
    vary: str = "Accept-Encoding"

    def response(self, request: Request) -> Response:
        """The file, compressed where the browser takes that and it saves something."""
        small = len(self.compressed) < len(self.body) and _accepts_gzip(request)
        headers = [("Cache-Control", self.cache_control), ("Vary", self.vary)]
        if small:
            headers.append(("Content-Encoding", "gzip"))
        return Response(
            status=200,
            body=self.compressed if small else self.body,
            content_type=self.content_type,
            headers=(*headers, ("Cross-Origin-Resource-Policy", "same-origin")),
        )


@attrs.frozen(kw_only=True)
class ConsoleSetup:
    """What the console page is told about its console; all of it is for the user's eyes.

    Attributes:
        name: what the console is called; empty: what the VNC server calls itself.
        locale: the guest's keyboard, as the platform names it; empty if unknown.
        view_only: the user may look, and no more.
        to_guest: the user's clipboard may go to the machine.
        from_guest: the machine's clipboard may come to the user.
        idle_timeout_s: seconds without input after which it ends; 0 for no limit.
        lifetime_s: seconds after which it ends; 0 for no limit.
        reusable: the same token may open it again.
    """

    name: str = ""
    locale: str = ""
    view_only: bool = False
    to_guest: bool = True
    from_guest: bool = True
    idle_timeout_s: float = 0
    lifetime_s: float = 0
    reusable: bool = False

    def to_json(self, language: str) -> str:
        """Compact JSON, as the page reads it; the names are a contract with its ``setup`` element."""
        names = {
            "name": self.name,
            "locale": self.locale,
            "viewOnly": self.view_only,
            "toGuest": self.to_guest,
            "fromGuest": self.from_guest,
            "idleTimeoutS": self.idle_timeout_s,
            "lifetimeS": self.lifetime_s,
            "language": language,
            "reusable": self.reusable,
        }
        return json.dumps(names, separators=(",", ":"), ensure_ascii=False)


class PageFiles:
    """The console page, the error page and their files.

    Args:
        folder: where the built page is; by default what was built into the package.
        frame_ancestors: further origins whose pages may show the console in a frame.
        tls_only: the proxy speaks nothing but TLS, and browsers are to remember that (RFC 6797).

    Raises:
        BadConfiguration: the page has not been built.
    """

    def __init__(
        self, folder: Traversable | None = None, frame_ancestors: tuple[str, ...] = (), *, tls_only: bool = False
    ) -> None:
        folder = folder if folder is not None else resources.files("trio_cpvm") / "_page"
        self._folder = folder
        self._assets: dict[str, Asset] = {}
        try:
            self._names = dict(self._add(file) for file in folder.iterdir() if not file.name.endswith(".html"))
            icon = (folder / _ICON).read_bytes()
            self._names[ASSET_ROOT + _ICON] = "data:image/svg+xml," + quote(icon)  # one request less
            self._console = _templates(folder, "console", self._names)
            self._error = _templates(folder, "error", self._names)
        except FileNotFoundError as exc:
            raise BadConfiguration("the console page is not built: run `make page`, or install the package") from exc
        self._languages = read_languages()
        self._headers = (
            ("Content-Security-Policy", _content_security_policy(frame_ancestors)),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            *([("Strict-Transport-Security", "max-age=31536000")] if tls_only else []),
        )

    def asset(self, path: str) -> Asset | None:
        """The file at that path; only what was there at start exists."""
        return self._assets.get(path)

    def console_page(self, request: Request, setup: ConsoleSetup) -> Response:
        """The console page, in the best language that it has texts in."""
        language = choose_language(request, self._console, otherwise=ENGLISH)
        words = {"lang": language, "setup": setup.to_json(language)}
        page = _fill(self._console[language], words)
        packed = gzip.compress(page, 6, mtime=0) if _accepts_gzip(request) else page
        answer = Asset(page, packed, _HTML, "no-store", "Accept-Encoding, Accept-Language").response(request)
        return attrs.evolve(answer, headers=answer.headers + self._headers)

    def error_page(self, error: ConsoleError, request: Request | None = None) -> Response:
        """The page that says why there is no console, in the best language there is for the request."""
        tag = choose_language(request, self._error, otherwise=ENGLISH) if request is not None else ENGLISH
        language, reason = self._languages.get(tag, self._languages[ENGLISH]), error.reason
        words = {
            "lang": tag,
            "slug": reason.slug,
            "text": language.text(reason),
            "advice": language.advice(reason),
        }
        page = _fill(self._error[tag], words)
        plain = error_response(error)
        return attrs.evolve(
            plain,
            body=page,
            content_type=_HTML,
            headers=(*plain.headers, ("Vary", "Accept-Language"), *self._headers),
        )

    def template(self, name: str) -> string.Template:
        """Another page of the folder, with the hashed names of its files in it.

        Raises:
            BadConfiguration: it has not been built.
        """
        try:
            text = (self._folder / name).read_text("utf-8")
        except FileNotFoundError as exc:
            raise BadConfiguration(f"{name} is not built: run `make page`, or install the package") from exc
        for plain, hashed in self._names.items():
            text = text.replace(f'"{plain}"', f'"{hashed}"')
        return string.Template(text)

    def html(self, body: str) -> Response:
        """A page made just now, with the headers that all pages have."""
        return Response(
            status=200,
            body=body.encode("utf-8"),
            content_type=_HTML,
            headers=(("Vary", "Accept-Language"), *self._headers),
        )

    def _add(self, file: Traversable) -> tuple[str, str]:
        """Take a file into the map; its path in the templates, and the one it is served at."""
        stem, dot, ending = file.name.rpartition(".")
        path = ASSET_ROOT + file.name
        content_type = _CONTENT_TYPES.get(dot + ending)
        if content_type is None or not stem:
            return path, path
        body = file.read_bytes()
        new_path, cache = f"{ASSET_ROOT}{stem}-{hashlib.sha256(body).hexdigest()[:12]}.{ending}", _IMMUTABLE
        if file.name in _UNHASHED:
            new_path, cache = path, _ONE_DAY
        self._assets[new_path] = Asset(body, gzip.compress(body, 6, mtime=0), content_type, cache)
        return path, new_path


def _templates(folder: Traversable, name: str, new_names: Mapping[str, str]) -> dict[str, string.Template]:
    """The pages of that name by language: ``console.en.html``, ``console.de.html``. English is there.

    Raises:
        FileNotFoundError: it is not.
    """
    found = {}
    for file in folder.iterdir():
        if file.name.startswith(f"{name}.") and file.name.endswith(".html"):
            page = file.read_text("utf-8")
            for old, new in new_names.items():
                page = page.replace(old, new)
            found[file.name.removeprefix(f"{name}.").removesuffix(".html")] = string.Template(page)
    if ENGLISH not in found:
        raise FileNotFoundError(f"{name}.{ENGLISH}.html")
    return found


def _fill(template: string.Template, words: Mapping[str, str]) -> bytes:
    return template.substitute({name: html.escape(text) for name, text in words.items()}).encode("utf-8")


def _content_security_policy(frame_ancestors: tuple[str, ...]) -> str:
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data: blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            " ".join(["frame-ancestors 'self'", *frame_ancestors]),
        ]
    )


def _accepts_gzip(request: Request) -> bool:
    """Whether gzip is named and not ruled out by ``;q=0`` (RFC 9110 section 12.5.3)."""
    for item in request.header_items("accept-encoding"):
        coding, _, weight = item.partition(";")
        if coding.strip().lower() == "gzip":
            return weight.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
