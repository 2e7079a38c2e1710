"""The page and its files: a fixed map made at start, hashed, compressed, and never looked up on disk again."""

from __future__ import annotations

import gzip
import hashlib
import html
import string
from importlib import resources
from importlib.resources.abc import Traversable

import attrs

from .errors import BadConfiguration, ConsoleError
from .http import Request, Response
from .http.upgrade import error_response

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


@attrs.frozen
class Asset:
    """One file, ready to be sent."""

    body: bytes = attrs.field(repr=False)
    compressed: bytes = attrs.field(repr=False)
    content_type: str
    cache_control: str

    def response(self, request: Request) -> Response:
        """The file, compressed where the browser takes that and it saves something."""
        small = len(self.compressed) < len(self.body) and _accepts_gzip(request)
        headers = [("Cache-Control", self.cache_control), ("Vary", "Accept-Encoding")]
        if small:
            headers.append(("Content-Encoding", "gzip"))
        return Response(
            status=200,
            body=self.compressed if small else self.body,
            content_type=self.content_type,
            headers=(*headers, ("Cross-Origin-Resource-Policy", "same-origin")),
        )


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
        self._assets: dict[str, Asset] = {}
        try:
            console = (folder / "console.html").read_text("utf-8")
            error = (folder / "error.html").read_text("utf-8")
            for file in folder.iterdir():
                name = self._add(file)
                console = console.replace(ASSET_ROOT + file.name, name)
                error = error.replace(ASSET_ROOT + file.name, name)
        except FileNotFoundError as exc:
            raise BadConfiguration("the console page is not built: run `make page`, or install the package") from exc
        self._console = _asset(console.encode("utf-8"), "text/html; charset=utf-8", "no-store")
        self._error = string.Template(error)
        self._headers = (
            ("Content-Security-Policy", _content_security_policy(frame_ancestors)),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            *([("Strict-Transport-Security", "max-age=31536000")] if tls_only else []),
        )

    def asset(self, path: str) -> Asset | None:
        """The file at that path; only what was there at start exists."""
        return self._assets.get(path)

    def console_page(self, request: Request) -> Response:
        """The console page."""
        page = self._console.response(request)
        return attrs.evolve(page, headers=page.headers + self._headers)

    def error_page(self, error: ConsoleError) -> Response:
        """The page that says why there is no console."""
        reason = error.reason
        words = {"slug": reason.slug, "text": reason.text, "advice": reason.advice}
        page = self._error.substitute({name: html.escape(text) for name, text in words.items()})
        plain = error_response(error)
        return attrs.evolve(
            plain,
            body=page.encode("utf-8"),
            content_type="text/html; charset=utf-8",
            headers=plain.headers + self._headers,
        )

    def _add(self, file: Traversable) -> str:
        """Take a file into the map; its new path."""
        stem, dot, ending = file.name.rpartition(".")
        content_type = _CONTENT_TYPES.get(dot + ending)
        if content_type is None or not stem:
            return ASSET_ROOT + file.name
        body = file.read_bytes()
        if file.name in _UNHASHED:
            path, cache = ASSET_ROOT + file.name, _ONE_DAY
        else:
            path, cache = f"{ASSET_ROOT}{stem}-{hashlib.sha256(body).hexdigest()[:12]}.{ending}", _IMMUTABLE
        self._assets[path] = _asset(body, content_type, cache)
        return path


def _asset(body: bytes, content_type: str, cache_control: str) -> Asset:
    return Asset(body, gzip.compress(body, 9, mtime=0), content_type, cache_control)


def _content_security_policy(frame_ancestors: tuple[str, ...]) -> str:
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data: blob:",
            "font-src 'self'",
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
