"""The audit's page in a real browser: its script sorts and filters, its policy holds, and it fits its window."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("jinja2", reason="Jinja2 is not installed")

from xep419.auditing import Auditor

pytestmark = [pytest.mark.interop, pytest.mark.any_isa]

ROOT = Path(__file__).parents[2]
OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --hide-scrollbars --virtual-time-budget=2000"
).split()
HOSTILE = (
    "<s xmlns='http://x/&lt;script>document.title=&quot;owned&quot;&lt;/script>'>"
    "<a xmlns='urn:xmpp:zebra'/><a xmlns='urn:xmpp:zebra'/><a xmlns='urn:xmpps:aardvark'/>"
    "<feature var='&lt;img src=x onerror=document.title=&quot;owned&quot;>'/></s>"
)

Browse = Callable[..., bytes]


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """Opens a page in a browser of its own, which ends when it has done what the options say."""
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")

    def run(page: Path, *options: str) -> bytes:
        command = [program, *OPTIONS, f"--user-data-dir={tmp_path}/profile", *options, page.as_uri()]
        return subprocess.run(command, capture_output=True, check=True, timeout=120).stdout

    return run


def with_script(html: str, script: str) -> str:
    """The page with a script of the test's at its end: what a user's keys and pointer would do."""
    return html.replace("</body>", f"<script>{script}</script></body>")


@pytest.fixture
def html() -> str:
    auditor = Auditor()
    auditor.read(HOSTILE)
    for path in sorted((ROOT / "examples" / "recorded").glob("*.xml")):
        auditor.read(path)
    return auditor.report().to_html()


@pytest.fixture
def dump(browse: Browse, tmp_path: Path) -> Callable[[str], str]:
    def rendered(html: str) -> str:
        page = tmp_path / "page.html"
        page.write_text(html, "utf-8")
        return browse(page, "--dump-dom").decode()

    return rendered


def rows(dom: str) -> list[tuple[str, int]]:
    """Name and count of each row of the table of names that is shown."""
    table = dom[dom.index('id="names-table"') : dom.index('id="sources-title"')]
    found = re.findall(r'<tr( hidden="")?><th scope="row"><code>(.*?)</code>.*?data-value="(\d+)"', table, re.DOTALL)
    return [(name, int(count)) for hidden, name, count in found if not hidden]


def pressed(heading: int, times: int = 1) -> str:
    button = f"document.querySelectorAll('#names-table th button')[{heading}]"
    return f"for (let i = 0; i < {times}; i++) {{ {button}.focus(); document.activeElement.click(); }}"


def test_hostile_names_run_nothing(dump: Callable[[str], str], html: str) -> None:
    dom = dump(html)
    assert "<title>xep419 audit: " in dom
    assert "owned" not in dom[: dom.index("</title>")]
    assert "http://x/&lt;script&gt;document.title=" in dom


def test_the_policy_lets_nothing_be_loaded(dump: Callable[[str], str], html: str) -> None:
    script = (
        "addEventListener('securitypolicyviolation', (e) => document.title += ' refused ' + e.effectiveDirective);"
        "const i = new Image(); i.src = 'https://example.invalid/x.png'; document.body.append(i);"
        "fetch('https://example.invalid/').catch(() => {});"
    )
    title = re.search("<title>(.*?)</title>", dump(with_script(html, script)))
    assert title is not None
    assert title[1].count("refused") == 2
    assert "img-src" in title[1]
    assert "connect-src" in title[1]


@pytest.mark.parametrize(
    ("heading", "column", "way"), [(0, 0, "ascending"), (4, 1, "descending")], ids=["by name", "by count"]
)
def test_pressing_a_heading_sorts_and_pressing_it_again_turns_the_order(
    dump: Callable[[str], str], html: str, heading: int, column: int, way: str
) -> None:
    before = rows(dump(html))
    assert len(before) > 100
    for times, expected in ((1, way), (2, {"ascending": "descending", "descending": "ascending"}[way])):
        dom = dump(with_script(html, pressed(heading, times)))
        keys = [row[column] for row in rows(dom)]
        assert keys == sorted((row[column] for row in before), reverse=expected == "descending")
        assert sorted(rows(dom)) == sorted(before)
        assert dom.count("aria-sort=") - dom.count("[aria-sort=") == 1
        assert f'aria-sort="{expected}"' in dom[dom.index('id="names-table"') :]
        assert re.search(rf'role="status">Sorted by (name|count), {expected}\.<', dom)


def test_the_filter_hides_the_other_rows_and_says_how_many_stay(dump: Callable[[str], str], html: str) -> None:
    script = "const f = document.getElementById('filter'); f.value = 'ZEBRA'; f.dispatchEvent(new Event('input'));"
    dom = dump(with_script(html, script))
    assert rows(dom) == [("urn:xmpp:zebra", 2)]
    assert 'role="status">1 row.<' in dom


def test_without_scripts_everything_is_there_but_the_buttons(dump: Callable[[str], str], html: str) -> None:
    still = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    dom = dump(still)
    assert rows(dom) == rows(dump(html))
    assert "<button" not in dom
    assert '<div class="filter" hidden' in dom


@pytest.mark.parametrize("width", [500, 1100])
def test_no_window_scrolls_sideways(
    dump: Callable[[str], str], browse: Browse, html: str, tmp_path: Path, width: int
) -> None:
    script = "document.title = document.documentElement.scrollWidth - document.documentElement.clientWidth;"
    page = tmp_path / "page.html"
    page.write_text(with_script(html, script), "utf-8")
    assert b"<title>0</title>" in browse(page, f"--window-size={width},900", "--dump-dom")


@pytest.mark.parametrize(("scheme", "dark"), [(0, True), (1, False)], ids=["dark", "light"])
def test_a_screenshot_has_the_colours_asked_for(
    browse: Browse, html: str, tmp_path: Path, scheme: int, dark: bool
) -> None:
    page, shot = tmp_path / "page.html", tmp_path / "shot.png"
    script = "document.title = getComputedStyle(document.body).backgroundColor;"
    page.write_text(with_script(html, script), "utf-8")
    options = (f"--blink-settings=preferredColorScheme={scheme}", "--window-size=1100,1400")
    browse(page, *options, f"--screenshot={shot}")
    assert struct.unpack(">II", shot.read_bytes()[16:24]) == (1100, 1400)
    title = re.search(rb"<title>rgb\((\d+), (\d+), (\d+)\)", browse(page, *options, "--dump-dom"))
    assert title is not None
    assert (sum(map(int, title.groups())) < 3 * 128) is dark
