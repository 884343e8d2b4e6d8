"""The HTML page of an audit: whole in itself, safe from what it shows, and readable without its script."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

pytest.importorskip("jinja2")

import xep419
from xep419.auditing.page import MOST_ROWS, figure, visible

pytestmark = pytest.mark.any_isa

HOSTILE = "http://x/&lt;script>alert(1)&lt;/script>&quot; onload=&quot;alert(1)\u202e&lt;!--"
ENCRYPTED = (
    "<message from='&lt;b>@x' id='&lt;/code>&lt;img src=x>'><x xmlns='jabber:x:encrypted'>B64</x>"
    "<body>&lt;script>alert(2)&lt;/script></body></message>"
)
#: attributes that load something, or run it
LOADING = {"src", "srcset", "data", "action", "formaction", "poster", "background", "ping", "xlink:href"}
VOID = {"meta", "input", "br", "link", "img", "base"}


class Page(HTMLParser):
    """The elements and texts of a page; end tags must match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(*sources: str) -> Page:
    return Page(html_of(*sources))


def html_of(*sources: str) -> str:
    auditor = xep419.auditing.Auditor()
    for source in sources:
        auditor.read(source)
    return auditor.report().to_html()


@pytest.fixture(scope="module")
def page() -> Page:
    return page_of(f"<s xmlns='{HOSTILE}'>{ENCRYPTED}<a xmlns='urn:xmpps:b'/></t>", "<message/>")


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    assert not {name for name, _ in page.tags} & {"link", "img", "iframe", "object", "embed", "base", "audio", "video"}
    for _, attributes in page.tags:
        assert not LOADING & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("href") or "#").startswith("#")
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttpRequest|import\(", html_of("<message/>"))


def test_what_it_shows_cannot_become_markup(page: Page) -> None:
    assert len(page.all("script")) == 1
    shown = "".join(page.text)
    assert 'http://x/<script>alert(1)</script>" onload="alert(1)\\u202e<!--' in shown
    assert "<script>alert(2)</script>" in shown
    assert "</code><img src=x>" in shown


def test_tables_and_charts_can_be_read_without_seeing_them(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        for name in ("aria-labelledby", "aria-describedby", "for"):
            assert set((attributes.get(name) or "").split()) <= set(ids)
    charts = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(charts) == len(page.all("title")) - 1 == len(page.all("desc")) == 9
    assert all(heading.get("scope") in ("row", "col") for heading in page.all("th"))
    assert all(table.get("aria-labelledby") for table in page.all("table"))
    assert all(
        svg.get("role") == "img" or svg.get("aria-hidden") or svg.get("viewbox") == "0 0 8 8" for svg in page.all("svg")
    )
    (root,) = page.all("html")
    assert root["lang"] == "en"


def test_the_figures_are_the_reports(page: Page) -> None:
    shown = re.sub(r"\s+", " ", " ".join(page.text))
    report = xep419.audit(f"<s xmlns='{HOSTILE}'>{ENCRYPTED}<a xmlns='urn:xmpps:b'/></t>")
    covered, clear = report.encrypted.covered, report.encrypted.clear
    assert f"{covered} of {covered + clear} bytes" in shown
    assert "1 insecure, 1 secure" in shown
    assert "the end tag </s> is expected, not </t>" in shown
    assert f"claims {report.size + len('<message/>')} bytes, hides 0" in shown


def test_an_empty_report_is_a_page() -> None:
    shown = " ".join(page_of("<message/>").text)
    assert "No namespace name under" in shown
    assert "Problems" not in shown


def test_bytes_that_are_not_utf8_are_shown_as_escapes() -> None:
    page = xep419.audit(b"<a xmlns='http://\xff'/>").to_html()
    assert "http://\\xff" in page
    page.encode()


def test_a_table_of_very_many_names_is_cut_and_says_so() -> None:
    names = "".join(f"<a xmlns='urn:xmpp:{at}'/>" for at in range(MOST_ROWS + 2))
    page = page_of(f"<s>{names}</s>")
    assert sum(attributes.get("scope") == "row" for attributes in page.all("th")) == MOST_ROWS + 1  # and the source
    assert f"{figure(MOST_ROWS)} rows of {figure(MOST_ROWS + 2)}; the JSON has all" in "".join(page.text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a b", "a b"), ("\x00\x1b[0m", "\\x00\\x1b[0m"), ("\u2028\u202e", "\\u2028\\u202e"), ("é😀", "é😀")],
)
def test_letters_that_do_not_show_are_escaped(text: str, expected: str) -> None:
    assert visible(text) == expected


def test_without_jinja2_the_page_alone_is_missing() -> None:
    code = (
        "import sys; sys.modules['jinja2'] = None; import xep419; report = xep419.audit(b'<a/>'); report.to_json()\n"
        "try: report.to_html()\n"
        "except ImportError as error: assert str(error).endswith(\"pip install 'xep419[audit]'\"), error\n"
        "else: raise AssertionError"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
