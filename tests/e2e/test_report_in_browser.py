"""The page in a real browser: it fits every screen, can be read in both schemes, and runs nothing."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from report_samples import (
    even_study,
    hostile_session,
    large_session,
    sample_comparison,
    sample_session,
)

from msprof_reports.compared.page import write_page
from msprof_reports.html import write_html

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium"),
]

DARK, LIGHT = 0, 1
PHONE, DESK = 380, 1280
HOSTILE = (
    "<script>window.owned = 1; document.title = 'owned'</script>",
    "\"'><img src=x onerror='owned=1'>",
    "x" * 10_000,
)
SESSIONS = {
    "sample": sample_session,
    "two rows": lambda: sample_session(studies=(even_study(),), comparisons=sample_session().comparisons[:1]),
    "many rows": large_session,
    "hostile names": lambda: hostile_session(HOSTILE),
    "nothing": lambda: sample_session(studies=(), comparisons=(), runs=()),
}
COMPARISONS = {
    "comparison": lambda: sample_comparison(("first_token_latency (ms)", "total_time (ms)")),
    "comparison of 200 metrics": lambda: sample_comparison([f"metric_{number}" for number in range(200)]),
    "comparison of hostile names": lambda: sample_comparison(HOSTILE),
}

PROBE = """
<!DOCTYPE html><body><iframe src="report.html" style="width:WIDTHpx;height:900px;border:0"></iframe>
<script>
const frame = document.querySelector("iframe");
frame.onload = () => {
  const view = frame.contentWindow, page = frame.contentDocument, root = page.documentElement;
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const light = text => channels(text).slice(0, 3).map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = node => {
    for (; node; node = node.parentElement) {
      const colour = view.getComputedStyle(node).backgroundColor;
      if (channels(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const contrast = node => {
    const ink = view.getComputedStyle(node)[node instanceof view.SVGElement ? "fill" : "color"];
    const [low, high] = [light(ink), light(ground(node))].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const texts = [...page.body.querySelectorAll("*")].filter(
    node => [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim()) && node.tagName !== "title");
  const marks = [...page.querySelectorAll("svg circle")].filter(mark => mark.checkVisibility());
  document.body.textContent = JSON.stringify({
    title: page.title,
    owned: view.owned ?? null,
    overflow: root.scrollWidth - root.clientWidth,
    height: root.scrollHeight,
    ground: ground(page.body),
    contrast: Math.min(...texts.map(contrast)),
    requests: view.performance.getEntriesByType("resource").length,
    outside: marks.filter(mark => {
      const box = mark.getBoundingClientRect(), frame = mark.ownerSVGElement.getBoundingClientRect();
      return box.right < frame.left || box.left > frame.right || box.bottom < frame.top || box.top > frame.bottom;
    }).length,
    marks: marks.length,
    drawn: page.querySelectorAll(".portrait .drawn[role=img]").length,
    unreachable: [...page.querySelectorAll(".scroll, summary, pre")].filter(node => node.tabIndex < 0).length,
    opened: [...page.querySelectorAll("details")].map(node => {
      node.querySelector("summary").click();
      return node.open && node.getBoundingClientRect().height > 0;
    }).every(Boolean),
  });
};
</script>
"""


def chromium(*options: str) -> str:
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.fixture(scope="module")
def look_at(tmp_path_factory):
    """Return what the browser makes of a session's report in a frame of some width."""

    @cache
    def look(session: str, *, width: int, scheme: int = LIGHT) -> dict[str, object]:
        return measure(session, tmp_path_factory.mktemp("page"), width=width, scheme=scheme)

    return look


def measure(session: str, folder: Path, *, width: int, scheme: int) -> dict[str, object]:
    if session in COMPARISONS:
        write_page(COMPARISONS[session](), folder / "report.html")
    else:
        write_html(SESSIONS[session](), folder)
    probe = folder / "probe.html"
    probe.write_text(PROBE.replace("WIDTH", str(width)), encoding="utf-8")
    page = chromium(
        f"--user-data-dir={folder / 'profile'}",
        f"--blink-settings=preferredColorScheme={scheme}",
        f"--window-size={width + 100},1000",
        "--allow-file-access-from-files",
        "--virtual-time-budget=10000",
        "--dump-dom",
        probe.as_uri(),
    )
    found = re.search(r"<body[^>]*>(\{.*\})</body>", page, re.DOTALL)
    assert found, page[-2000:]
    return json.loads(html.unescape(found.group(1)))


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("session", [*SESSIONS, *COMPARISONS])
def test_the_page_fits_the_screen_and_only_tables_scroll_sideways(session, width, look_at):
    assert look_at(session, width=width)["overflow"] <= 0


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_every_text_has_the_contrast_that_accessibility_asks_for(scheme, look_at):
    assert look_at("sample", width=DESK, scheme=scheme)["contrast"] >= 4.5


def test_the_page_is_dark_where_the_reader_prefers_dark(look_at):
    light = look_at("two rows", width=DESK, scheme=LIGHT)
    dark = look_at("two rows", width=DESK, scheme=DARK)
    assert (light["ground"], dark["ground"]) == ("rgb(255, 255, 255)", "rgb(20, 23, 27)")


def test_hostile_names_run_nothing_and_load_nothing(look_at):
    found = look_at("hostile names", width=DESK)
    assert found["owned"] is None
    assert "owned" not in found["title"]
    assert found["requests"] == 0


def test_ten_thousand_characters_do_not_push_the_rest_out_of_reach(look_at):
    assert look_at("hostile names", width=DESK)["height"] < 10_000


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_every_mark_lies_inside_its_chart(width, look_at):
    found = look_at("sample", width=width)
    assert found["marks"] >= 11 + 12 + 9
    assert found["outside"] == 0


def test_what_is_folded_opens_and_all_that_scrolls_is_reached_by_keyboard(look_at):
    found = look_at("sample", width=DESK)
    assert found["opened"]
    assert found["unreachable"] == 0


@pytest.mark.parametrize("page", ["session", *COMPARISONS])
def test_the_page_prints(page, tmp_path):
    if page in COMPARISONS:
        write_page(COMPARISONS[page](), path := tmp_path / "report.html")
    else:
        path = write_html(sample_session(), tmp_path)
    chromium(f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={tmp_path / 'page.pdf'}", path.as_uri())
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_a_comparison_can_be_read_in_both_schemes_and_by_keyboard_and_runs_nothing(scheme, look_at):
    seen = look_at("comparison of hostile names", width=DESK, scheme=scheme)
    assert seen["contrast"] >= 4.5
    assert (seen["owned"], seen["requests"], seen["unreachable"], seen["outside"]) == (None, 0, 0, 0)
    assert seen["opened"]
    assert seen["height"] < 10_000


def test_a_comparison_draws_each_metric_with_both_distributions_and_its_launches(look_at):
    assert look_at("comparison", width=DESK)["drawn"] == 2 * 2
    assert look_at("comparison of 200 metrics", width=PHONE)["drawn"] == 200 * 2
