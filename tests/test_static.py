"""The page's files: a fixed map with hashed names, the right headers, compressed where that helps, escaped errors."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import attrs
import pytest

from tests.helpers import built_pages
from trio_cpvm import errors
from trio_cpvm.errors import BadConfiguration, ConsoleError
from trio_cpvm.http import Request, Response
from trio_cpvm.static import PageFiles

SCRIPT = b"let x = 1;\n" * 100
FILES = {
    "console.html": (
        b'<link href="/novnc/assets/icon.svg"><link href="/novnc/assets/tiny.css">'
        b'<script src="/novnc/assets/console.js"></script>'
    ),
    "error.html": b'<link href="/novnc/assets/tiny.css"><title>$text</title><p>$advice</p><code>$slug</code>',
    "console.js": SCRIPT,
    "tiny.css": b"a{}",
    "icon.svg": b"<svg/>",
    "licences.txt": b"MIT " * 100,
    "console.js.map": b"{}",
    "README": b"",
    ".js": b"",
    ".sources.sha256": b"0",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def asking(path: str = "/", accept_encoding: str | None = None) -> Request:
    headers = (("accept-encoding", accept_encoding),) if accept_encoding is not None else ()
    return Request(method="GET", path=path, headers=headers)


def links(page: Response) -> list[str]:
    return re.findall(r'(?:href|src)="([^"]+)"', page.body.decode())


def fetch(pages: PageFiles, path: str, accept_encoding: str | None = None) -> Response:
    asset = pages.asset(path)
    assert asset is not None
    return asset.response(asking(path, accept_encoding))


def test_pages_name_their_files_by_content(folder: Path) -> None:
    pages = PageFiles(folder)
    names = links(pages.console_page(asking()))
    for name, stem, ending in zip(names, ("icon", "tiny", "console"), ("svg", "css", "js"), strict=True):
        assert re.fullmatch(rf"/novnc/assets/{stem}-[0-9a-f]{{12}}\.{ending}", name)
        assert fetch(pages, name).body == FILES[f"{stem}.{ending}"]
    assert links(pages.error_page(ConsoleError(errors.NOT_FOUND))) == [names[1]]
    (folder / "console.js").write_bytes(SCRIPT + b"//")
    later = links(PageFiles(folder).console_page(asking()))
    assert later[:2] == names[:2]
    assert later[2] != names[2]


def test_files_have_their_types_and_caching(folder: Path) -> None:
    pages = PageFiles(folder)
    icon, css, js = links(pages.console_page(asking()))
    immutable = "public, max-age=31536000, immutable"
    for path, content_type, cache_control in [
        (js, "text/javascript; charset=utf-8", immutable),
        (css, "text/css; charset=utf-8", immutable),
        (icon, "image/svg+xml", immutable),
        ("/novnc/assets/licences.txt", "text/plain; charset=utf-8", "public, max-age=86400"),
    ]:
        response = fetch(pages, path)
        assert (response.status, response.content_type) == (200, content_type)
        assert dict(response.headers) == {
            "Cache-Control": cache_control,
            "Vary": "Accept-Encoding",
            "Cross-Origin-Resource-Policy": "same-origin",
        }


@pytest.mark.parametrize(
    "path",
    [
        "/novnc/assets/",
        "/novnc/assets",
        "/novnc/assets/console.js",
        "/novnc/assets/console.html",
        "/novnc/assets/error.html",
        "/novnc/assets/console.js.map",
        "/novnc/assets/README",
        "/novnc/assets/.js",
        "/novnc/assets/.sources.sha256",
        "/novnc/assets/../assets/licences.txt",
        "/novnc/assets/../../etc/passwd",
        "/novnc/assets//etc/passwd",
        "/novnc/assets/%2e%2e/licences.txt",
        "/novnc/assets/licences.txt/",
        "/novnc/assets/licences.txt%00",
        "/novnc/assets/LICENCES.txt",
    ],
)
def test_nothing_else_exists(folder: Path, path: str) -> None:
    assert PageFiles(folder).asset(path) is None


def test_files_are_never_looked_up_again(folder: Path) -> None:
    pages = PageFiles(folder)
    for file in folder.iterdir():
        file.unlink()
    assert fetch(pages, links(pages.console_page(asking()))[2]).body == SCRIPT
    assert pages.error_page(ConsoleError(errors.NOT_FOUND)).status == 404


@pytest.mark.parametrize(
    ("accept_encoding", "compressed"),
    [
        ("gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("br , GZIP", True),
        ("gzip;q=0.001", True),
        ("gzip; q=1", True),
        (None, False),
        ("", False),
        ("identity", False),
        ("br", False),
        ("x-gzip-like", False),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("gzip;Q=0.000", False),
        ("br, gzip ; q = 0", False),
    ],
)
def test_files_are_compressed_for_browsers_that_take_it(
    folder: Path, accept_encoding: str | None, compressed: bool
) -> None:
    pages = PageFiles(folder)
    response = fetch(pages, links(pages.console_page(asking()))[2], accept_encoding)
    assert (("Content-Encoding", "gzip") in response.headers) is compressed
    assert (gzip.decompress(response.body) if compressed else response.body) == SCRIPT
    assert (len(response.body) < len(SCRIPT)) is compressed


def test_what_compressing_makes_no_smaller_stays_as_it_is(folder: Path) -> None:
    pages = PageFiles(folder)
    response = fetch(pages, links(pages.console_page(asking()))[1], "gzip")
    assert response.body == b"a{}"
    assert "Content-Encoding" not in dict(response.headers)


def directives(page: Response) -> dict[str, str]:
    policy = dict(page.headers)["Content-Security-Policy"]
    return {name: value for name, _, value in (part.partition(" ") for part in policy.split("; "))}


def test_both_pages_are_fenced_in(folder: Path) -> None:
    pages = PageFiles(folder)
    for page in (pages.console_page(asking()), pages.error_page(ConsoleError(errors.NOT_FOUND))):
        assert page.content_type == "text/html; charset=utf-8"
        assert dict(page.headers)["Cross-Origin-Opener-Policy"] == "same-origin"
        assert directives(page) == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self' data: blob:",
            "font-src": "'self'",
            "connect-src": "'self'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'self'",
        }
    assert dict(pages.console_page(asking()).headers)["Cache-Control"] == "no-store"


def test_allowed_origins_may_show_the_console_in_a_frame(folder: Path) -> None:
    pages = PageFiles(folder, frame_ancestors=("https://a.test", "https://b.test:8443"))
    assert directives(pages.console_page(asking()))["frame-ancestors"] == "'self' https://a.test https://b.test:8443"


def test_error_pages_escape_what_they_say(folder: Path) -> None:
    nasty = attrs.evolve(errors.NOT_FOUND, text='<script>alert("1")</script>', advice="a & b $slug", slug="'>\"")
    body = PageFiles(folder).error_page(ConsoleError(nasty)).body.decode()
    assert "<title>&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;</title>" in body
    assert "<p>a &amp; b $slug</p>" in body
    assert "<code>&#x27;&gt;&quot;</code>" in body


def test_error_pages_tell_nothing_but_the_reasons_own_words(folder: Path) -> None:
    error = ConsoleError(errors.DRAINING, "DETAIL", server_text="SERVER")
    page = PageFiles(folder).error_page(error)
    assert (page.status, dict(page.headers)["Retry-After"]) == (503, "30")
    assert errors.DRAINING.text in page.body.decode()
    assert b"DETAIL" not in page.body
    assert b"SERVER" not in page.body


@pytest.mark.parametrize("missing", ["console.html", "error.html", ""])
def test_a_page_that_is_not_built_is_a_fault_of_the_installation(folder: Path, missing: str) -> None:
    if missing:
        (folder / missing).unlink()
    with pytest.raises(BadConfiguration, match="not built"):
        PageFiles(folder if missing else folder / "nowhere")


# -- the page as it is built -------------------------------------------------------------------------------------------


def test_the_built_pages_use_only_files_of_their_own() -> None:
    pages = built_pages()
    for page in (pages.console_page(asking()), pages.error_page(ConsoleError(errors.TOKEN_USED))):
        names = links(page)
        assert len(names) >= 2
        assert all(pages.asset(name) is not None for name in names)


def test_the_built_pages_have_nothing_inline_that_the_policy_would_stop() -> None:
    pages = built_pages()
    for page in (pages.console_page(asking()), pages.error_page(ConsoleError(errors.TOKEN_USED))):
        text = page.body.decode()
        assert re.findall(r"<style|\bstyle=|\bon[a-z]+=|javascript:|<script(?![^>]*\bsrc=)", text) == []


@pytest.mark.parametrize("slug", errors.REASONS)
def test_every_reason_has_its_page(slug: str) -> None:
    body = built_pages().error_page(ConsoleError(errors.REASONS[slug])).body.decode()
    assert f'data-slug="{slug}"' in body
    assert "$" not in body
