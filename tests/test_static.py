"""The page's files: a fixed map with hashed names, the right headers, compressed where that helps; pages filled in."""

from __future__ import annotations

import gzip
import html
import json
import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import attrs
import pytest

from tests.helpers import built_pages
from trio_cpvm import errors
from trio_cpvm.errors import BadConfiguration, ConsoleError
from trio_cpvm.http import Request, Response
from trio_cpvm.languages import read_languages
from trio_cpvm.static import ConsoleSetup, PageFiles

SCRIPT = b"let x = 1;\n" * 100
CONSOLE = (
    b'<html lang="$lang"><meta name="setup" content="$setup">'
    b'<link href="/novnc/assets/icon.svg"><link href="/novnc/assets/tiny.css">'
    b'<script src="/novnc/assets/console.js"></script>'
)
ERROR = (
    b'<html lang="$lang"><link href="/novnc/assets/tiny.css"><title>Console: $text</title>'
    b"<p>$advice</p><code>$slug</code>"
)
FILES = {
    "console.en.html": CONSOLE,
    "console.de.html": b'<script type="module" src="/novnc/assets/texts-de.js"></script>' + CONSOLE,
    "console.pt-BR.html": CONSOLE,
    "error.en.html": b"<p>Sorry</p>" + ERROR,
    "error.de.html": b"<p>Leider</p>" + ERROR,
    "console.js": SCRIPT,
    "texts-de.js": b"// deutsch",
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


SETUP = ConsoleSetup(name="Web 1", locale="de", idle_timeout_s=300.0, lifetime_s=0, reusable=True)


def asking(path: str = "/", accept_encoding: str | None = None, languages: str = "", query: str = "") -> Request:
    headers = [("accept-language", languages)]
    if accept_encoding is not None:
        headers.append(("accept-encoding", accept_encoding))
    return Request(method="GET", path=path, query=query, headers=tuple(headers))


def links(page: Response) -> list[str]:
    return re.findall(r'(?:href|src)="([^"]+)"', page.body.decode())


def fetch(pages: PageFiles, path: str, accept_encoding: str | None = None) -> Response:
    asset = pages.asset(path)
    assert asset is not None
    return asset.response(asking(path, accept_encoding))


def test_pages_name_their_files_by_content(folder: Path) -> None:
    pages = PageFiles(folder)
    names = links(pages.console_page(asking(), SETUP))
    assert unquote(names[0]) == "data:image/svg+xml,<svg/>"
    for name, stem, ending in zip(names[1:], ("tiny", "console"), ("css", "js"), strict=True):
        assert re.fullmatch(rf"/novnc/assets/{stem}-[0-9a-f]{{12}}\.{ending}", name)
        assert fetch(pages, name).body == FILES[f"{stem}.{ending}"]
    assert links(pages.error_page(ConsoleError(errors.NOT_FOUND))) == [names[1]]
    (folder / "console.js").write_bytes(SCRIPT + b"//")
    later = links(PageFiles(folder).console_page(asking(), SETUP))
    assert later[:2] == names[:2]
    assert later[2] != names[2]


def test_files_have_their_types_and_caching(folder: Path) -> None:
    pages = PageFiles(folder)
    _, css, js = links(pages.console_page(asking(), SETUP))
    immutable = "public, max-age=31536000, immutable"
    for path, content_type, cache_control in [
        (js, "text/javascript; charset=utf-8", immutable),
        (css, "text/css; charset=utf-8", immutable),
        (f"/novnc/assets/icon-{sha256(b'<svg/>').hexdigest()[:12]}.svg", "image/svg+xml", immutable),
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
        "/novnc/assets/console.en.html",
        "/novnc/assets/error.en.html",
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
    assert fetch(pages, links(pages.console_page(asking(), SETUP))[2]).body == SCRIPT
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
    response = fetch(pages, links(pages.console_page(asking(), SETUP))[2], accept_encoding)
    assert (("Content-Encoding", "gzip") in response.headers) is compressed
    assert (gzip.decompress(response.body) if compressed else response.body) == SCRIPT
    assert (len(response.body) < len(SCRIPT)) is compressed


def test_what_compressing_makes_no_smaller_stays_as_it_is(folder: Path) -> None:
    pages = PageFiles(folder)
    response = fetch(pages, links(pages.console_page(asking(), SETUP))[1], "gzip")
    assert response.body == b"a{}"
    assert "Content-Encoding" not in dict(response.headers)


def directives(page: Response) -> dict[str, str]:
    policy = dict(page.headers)["Content-Security-Policy"]
    return {name: value for name, _, value in (part.partition(" ") for part in policy.split("; "))}


def test_both_pages_are_fenced_in(folder: Path) -> None:
    pages = PageFiles(folder)
    for page in (pages.console_page(asking(), SETUP), pages.error_page(ConsoleError(errors.NOT_FOUND))):
        assert page.content_type == "text/html; charset=utf-8"
        assert dict(page.headers)["Cross-Origin-Opener-Policy"] == "same-origin"
        assert directives(page) == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self' data: blob:",
            "connect-src": "'self'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'self'",
        }
    assert dict(pages.console_page(asking(), SETUP).headers)["Cache-Control"] == "no-store"


def test_allowed_origins_may_show_the_console_in_a_frame(folder: Path) -> None:
    pages = PageFiles(folder, frame_ancestors=("https://a.test", "https://b.test:8443"))
    assert (
        directives(pages.console_page(asking(), SETUP))["frame-ancestors"]
        == "'self' https://a.test https://b.test:8443"
    )


def test_error_pages_escape_what_they_say(folder: Path) -> None:
    nasty = attrs.evolve(errors.NOT_FOUND, text='<script>alert("1")</script>', advice="a & b $slug", slug="'>\"")
    body = PageFiles(folder).error_page(ConsoleError(nasty)).body.decode()
    assert "<title>Console: &lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;</title>" in body
    assert "<p>a &amp; b $slug</p>" in body
    assert "<code>&#x27;&gt;&quot;</code>" in body


def test_error_pages_tell_nothing_but_the_reasons_own_words(folder: Path) -> None:
    error = ConsoleError(errors.DRAINING, "DETAIL", server_text="SERVER")
    page = PageFiles(folder).error_page(error)
    assert (page.status, dict(page.headers)["Retry-After"]) == (503, "30")
    assert errors.DRAINING.text in page.body.decode()
    assert b"DETAIL" not in page.body
    assert b"SERVER" not in page.body


@pytest.mark.parametrize("missing", ["console.en.html", "error.en.html", "icon.svg", ""])
def test_a_page_that_is_not_built_is_a_fault_of_the_installation(folder: Path, missing: str) -> None:
    if missing:
        (folder / missing).unlink()
    with pytest.raises(BadConfiguration, match="not built"):
        PageFiles(folder if missing else folder / "nowhere")


# -- what is filled in -------------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """The start tags of a page with their attributes, as a browser reads them."""

    def __init__(self, page: Response) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page.body.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def setup_of(page: Response) -> dict[str, object]:
    (content,) = [names["content"] for tag, names in Tags(page).found if tag == "meta" and names.get("name") == "setup"]
    setup: dict[str, object] = json.loads(content or "")
    return setup


def test_the_page_is_told_about_its_console(folder: Path) -> None:
    page = PageFiles(folder).console_page(asking(languages="de-AT"), attrs.evolve(SETUP, view_only=True))
    assert setup_of(page) == {
        "name": "Web 1",
        "locale": "de",
        "viewOnly": True,
        "toGuest": True,
        "fromGuest": True,
        "idleTimeoutS": 300,
        "lifetimeS": 0,
        "language": "de",
        "reusable": True,
    }


@pytest.mark.parametrize(
    "name",
    [
        "",
        '"><script>alert(1)</script>',
        "'><img src=x onerror=alert(1)>",
        "</head><body>&quot;&#34;&amp;quot;",
        "$setup $lang ${texts} $$ %s {0}",
        '\\" \\u0022 \x00\r\n\t\x1f\x7f\x85',
        "\u2028\u2029\ufeff\u202e<!--",
        "Größe 日本語 😀",
        '"' * 2048,
        "😀" * 2048,
        "/novnc/assets/console.js",
    ],
)
def test_names_stay_names(folder: Path, name: str) -> None:
    pages = PageFiles(folder)
    plain = pages.console_page(asking(), SETUP)
    page = pages.console_page(asking(), attrs.evolve(SETUP, name=name, locale=name))
    assert (setup_of(page)["name"], setup_of(page)["locale"]) == (name, name)
    assert [tag for tag, _ in Tags(page).found] == [tag for tag, _ in Tags(plain).found]
    assert [names for tag, names in Tags(page).found if tag != "meta"] == [
        names for tag, names in Tags(plain).found if tag != "meta"
    ]


@pytest.mark.parametrize("accept_encoding", [None, "gzip", "gzip;q=0"])
def test_the_page_is_made_for_each_request_and_compressed_where_that_is_taken(
    folder: Path, accept_encoding: str | None
) -> None:
    pages = PageFiles(folder)
    for name in ("one", "two"):
        setup = attrs.evolve(SETUP, name=name * 100)
        page = pages.console_page(asking(accept_encoding=accept_encoding), setup)
        plain = pages.console_page(asking(), setup)
        compressed = accept_encoding == "gzip"
        assert (dict(page.headers).get("Content-Encoding") == "gzip") is compressed
        assert (gzip.decompress(page.body) if compressed else page.body) == plain.body
        assert (len(page.body) < len(plain.body)) is compressed
        assert setup_of(plain)["name"] == name * 100
        assert dict(page.headers)["Cache-Control"] == "no-store"
        assert dict(page.headers)["Vary"] == "Accept-Encoding, Accept-Language"


@pytest.mark.parametrize(
    ("languages", "query", "language"),
    [
        ("", "", "en"),
        ("en-GB, de", "", "en"),
        ("de-AT", "", "de"),
        ("pt-br", "", "pt-BR"),
        ("de", "lang=pt-BR", "pt-BR"),
        ("de", "lang=en", "en"),
        ("fr, de;q=0.5", "", "de"),
        ("fr", "lang=ja", "en"),
    ],
)
def test_the_page_comes_in_a_language_that_it_is_built_in(
    folder: Path, languages: str, query: str, language: str
) -> None:
    pages = PageFiles(folder)
    page = pages.console_page(asking(languages=languages, query=query), SETUP)
    assert ("html", {"lang": language}) in Tags(page).found
    assert setup_of(page)["language"] == language
    scripts = [names["src"] or "" for tag, names in Tags(page).found if tag == "script"]
    assert len(scripts) == (2 if language == "de" else 1)
    if language == "de":
        assert re.fullmatch(r"/novnc/assets/texts-de-[0-9a-f]{12}\.js", scripts[0])
        assert fetch(pages, scripts[0]).body == FILES["texts-de.js"]


@pytest.mark.parametrize(("query", "tag", "word"), [("lang=de", "de", "Leider"), ("lang=fr", "en", "Sorry")])
def test_an_error_page_likewise(folder: Path, query: str, tag: str, word: str) -> None:
    language = read_languages()[tag]
    page = PageFiles(folder).error_page(ConsoleError(errors.TOKEN_USED), asking(query=query))
    body = html.unescape(page.body.decode())
    assert f'<p>{word}</p><html lang="{tag}">' in body
    assert f"<title>Console: {language.text(errors.TOKEN_USED)}</title>" in body
    assert f"<p>{language.advice(errors.TOKEN_USED)}</p><code>token-used</code>" in body
    assert dict(page.headers)["Vary"] == "Accept-Language"
    assert page.status == 403


# -- the page as it is built -------------------------------------------------------------------------------------------


def both_pages(tag: str) -> tuple[Response, Response]:
    asked = asking(query=f"lang={tag}")
    pages = built_pages()
    return pages.console_page(asked, SETUP), pages.error_page(ConsoleError(errors.TOKEN_USED), asked)


@pytest.mark.parametrize("tag", read_languages())
def test_the_built_pages_use_only_files_of_their_own(tag: str) -> None:
    for page in both_pages(tag):
        assert ("html", tag) in [(name, attributes.get("lang")) for name, attributes in Tags(page).found]
        names = [name for name in links(page) if not name.startswith("data:image/svg+xml,%3Csvg")]
        assert names
        assert all(built_pages().asset(name) is not None for name in names)


@pytest.mark.parametrize("tag", read_languages())
def test_the_built_pages_have_nothing_inline_that_the_policy_would_stop(tag: str) -> None:
    for page in both_pages(tag):
        text = page.body.decode()
        assert re.findall(r"<style|\bstyle=|\bon[a-z]+=|javascript:|<script(?![^>]*\bsrc=)", text) == []
        assert "{{" not in text


@pytest.mark.parametrize("slug", errors.REASONS)
def test_every_reason_has_its_page(slug: str) -> None:
    body = built_pages().error_page(ConsoleError(errors.REASONS[slug])).body.decode()
    assert f'data-slug="{slug}"' in body
    assert "$" not in body
