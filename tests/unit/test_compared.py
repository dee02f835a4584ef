"""The files of a comparison: the original's layout, figures that compute, a dashboard that runs."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import openpyxl
import pytest
from report_samples import launches, sample_session

from msprof_reports.compared import write_comparison
from msprof_reports.compared.curves import portraits
from msprof_reports.compared.dashboard import STATISTICS
from msprof_reports.compared.junit import write_junit
from msprof_reports.compared.markdown import markdown
from msprof_reports.compared.page import render
from msprof_reports.compared.workbook import difference, write_workbook
from pytest_msprof.cli import main
from pytest_msprof.errors import MetricMissing
from pytest_msprof.samples import Sample, Samples
from pytest_msprof.side_by_side import SideBySide
from pytest_msprof.side_comparison import compare_sources
from pytest_msprof.sources import Figures, Source, read_side
from pytest_msprof.sources.quantities import quantity, span

SIZES = "Batches: how many of each size"
DOCS = Path(__file__).parents[2] / "docs"
DATA = Path(__file__).parents[1] / "data" / "compare"
FILES = {
    "compare_result.xlsx",
    "compare_result.db",
    "compare_visualization.json",
    "compare_result.json",
    "compare_junit.xml",
    "compare_report.md",
    "compare_report.html",
}
HOSTILE = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2",
    "@SUM(A1)",
    "<script>alert(1)</script>",
    "\"'`|",
    "x" * 10_000,
    "延迟",
    "\x07",
]


@pytest.fixture(scope="module")
def found() -> SideBySide:
    sides = [read_side(DATA / "analysed" / side, lambda path: None) for side in ("input", "golden")]
    return compare_sources(*sides)


@pytest.fixture(scope="module")
def written(found: SideBySide, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    write_comparison(found, folder)
    return folder


def test_every_file_is_written_and_nothing_else_is_left(written: Path):
    assert {path.name for path in written.iterdir()} == FILES


@pytest.mark.parametrize(
    ("golden", "current", "shown"),
    [(1.0, 0.9, "0.1|-10%"), (1.0, 1.2, "0.2|20%"), (0.0, 1.0, "1|—"), (2.0, 2.0, "0|0%"), (None, 1.0, "missing")],
)
def test_a_difference_is_relative_to_golden(golden: float | None, current: float, shown: str):
    assert difference(golden, current) == shown


def test_the_workbook_has_the_sheets_of_the_original_first_and_three_rows_a_metric(written: Path):
    book = openpyxl.load_workbook(written / "compare_result.xlsx")
    assert book.sheetnames == ["service", "request", "batch", "spans", "summary", "verdicts"]
    rows = list(book["request"].values)
    assert rows[0][:8] == ("Metric", "Data Source", "Average", "Max", "Min", "P50", "P90", "P99")
    assert [row[1] for row in rows[1:4]] == ["input_data", "golden_data", "Difference"]
    assert rows[1][0] == "first_token_latency (ms)"
    assert rows[1][2] == pytest.approx(20.4789)
    assert rows[2][2] == pytest.approx(18.4742)
    assert rows[3][2] == "2.0047|10.8513%"
    assert rows[3][8:10] == pytest.approx((2.0047, 0.108514), rel=1e-4)
    assert book["request"].freeze_panes == "A2"


def test_the_database_holds_figures_and_one_row_a_statistic(written: Path):
    with closing(sqlite3.connect(written / "compare_result.db")) as connection:
        row = connection.execute(
            "SELECT golden_data, input_data, difference, relative, typeof(relative), verdict FROM request "
            "WHERE metric = 'ttft' AND statistic = 'p90'"
        ).fetchone()
        sizes = connection.execute("SELECT side, SUM(batches) FROM batch_size GROUP BY side").fetchall()
        runs = connection.execute("SELECT side, kind FROM runs ORDER BY id").fetchall()
    assert row[:4] == pytest.approx((21.9108, 23.7334, 1.8226, 0.083183), rel=1e-4)
    assert row[4:] == ("real", "incomparable")
    assert sizes == [("golden_data", 148), ("input_data", 154)]
    assert runs == [("golden_data", "analysed folder"), ("input_data", "analysed folder")]


def model(written: Path) -> dict:
    return json.loads((written / "compare_visualization.json").read_text())


def test_the_dashboard_is_one_that_grafana_knows(written: Path):
    sdk = pytest.importorskip("grafana_foundation_sdk.models.dashboard")
    parsed = sdk.Dashboard.from_json(model(written))
    assert parsed.schema_version >= 40
    assert parsed.uid is None
    assert [variable.name for variable in parsed.templating.list_val] == ["datasource", "statistic"]
    assert len(parsed.panels) == len(model(written)["panels"])


def test_every_query_of_the_dashboard_runs_and_all_dimensions_have_panels(written: Path):
    panels = model(written)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    queries = [target["queryText"] for panel in panels for target in panel["targets"]]
    with closing(sqlite3.connect(f"file:{written / 'compare_result.db'}?mode=ro", uri=True)) as connection:
        for query in queries:
            for statistic in STATISTICS:
                assert connection.execute(query.replace("$statistic", statistic)).fetchall(), query
    assert all(any(f"FROM {table}" in query for query in queries) for table in ("service", "request", "batch"))


def columns(folder: Path, table: str) -> dict[str, dict[str, float]]:
    """Read a summary as a person would: by metric and column."""
    with (folder / f"{table}_summary.csv").open(encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    return {row["Metric"]: {name: float(value) for name, value in row.items() if name != "Metric"} for row in found}


def by_numpy(side: str) -> dict[str, float]:
    """Return the p90 of every metric of an analysed folder, computed without this package."""
    folder = DATA / "analysed" / side
    found = {name: row["P90"] for table in ("request", "batch") for name, row in columns(folder, table).items()}
    found |= {name: row["Value"] for name, row in columns(folder, "service").items()}
    with closing(sqlite3.connect(folder / "profiler.db")) as connection:
        for kind in ("Prefill", "Decode"):
            rows = connection.execute(
                "SELECT during_time FROM batch WHERE name = 'modelExec' AND batch_type = ?", (kind,)
            )
            found[f"{kind.lower()}_exec_time (ms)"] = np.percentile(np.array(rows.fetchall()), 90)
        rates = np.array(connection.execute("SELECT kvcache_usage_rate FROM kvcache").fetchall(), dtype=np.float64)
        found["kvcache_usage_rate"] = np.percentile(rates, 90)
        sizes = connection.execute("SELECT batch_size FROM batch WHERE name = 'modelExec'").fetchall()
    for size, count in zip(*np.unique(np.array(sizes).astype(int), return_counts=True), strict=True):
        found[str(size)] = count
    return found


def shown(written: Path) -> dict[str, list[dict[str, object]]]:
    """Run every panel as Grafana does, for p90; return the rows by title."""
    found = {}
    with closing(sqlite3.connect(f"file:{written / 'compare_result.db'}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        for panel in model(written)["panels"]:
            (target,) = panel["targets"]
            rows = connection.execute(target["rawQueryText"].replace("$statistic", "p90"))
            found[panel["title"]] = [dict(row) for row in rows]
    return found


def test_every_panel_shows_what_numpy_finds_in_the_files(written: Path):
    golden, current = by_numpy("golden"), by_numpy("input")
    panels = shown(written)
    assert panels.pop("Verdict")[0]["verdict"] == "incomparable"
    checked = 0
    for rows in panels.values():
        for row in rows:
            name = row.get("metric") or row["size"]
            then, now = golden.get(name, 0.0), current.get(name, 0.0)
            if "golden_data" in row:
                assert (row["golden_data"], row["input_data"]) == pytest.approx((then, now)), name
            if "relative" in row:
                assert row["relative"] == pytest.approx((now - then) / then), name
            checked += 1
    assert checked == 2 * len(columns(DATA / "analysed" / "golden", "service")) + 2 * 12 + len(panels[SIZES])
    assert {row["size"] for row in panels[SIZES]} == {name for name in golden | current if name.isdigit()}


def test_spans_have_panels_of_their_own(tmp_path: Path):
    sides = [read_side(DATA / "raw" / side, lambda path: None) for side in ("input", "golden")]
    write_comparison(compare_sources(*sides), tmp_path)
    with closing(sqlite3.connect(next((DATA / "raw" / "golden").rglob("*.db")))) as connection:
        query = "SELECT endTimestamp - timestamp FROM Mstx WHERE json_extract(message, '$.name') = 'forward'"
        forward = np.array(connection.execute(query).fetchall()) / 1e6
    rows = {row["metric"]: row for row in shown(tmp_path)["Spans: $statistic, golden and input"]}
    assert rows["forward"]["golden_data"] == pytest.approx(np.percentile(forward, 90))


def test_panels_do_not_overlap(written: Path):
    taken = set()
    for panel in model(written)["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not taken & cells
        assert place["x"] + place["w"] <= 24
        taken |= cells


def hostile() -> SideBySide:
    figures = Figures()
    for name in HOSTILE:
        figures.add(quantity("request", name), {"p50": 1.0})
    side = [Source(Path(os.fsdecode(b"/a\xffb/<b>|`")), "=kind", figures, notes=("=note\ud800",))]
    return compare_sources(side, side)


def test_names_from_a_file_are_text_everywhere(tmp_path: Path):
    write_comparison(hostile(), tmp_path)
    book = openpyxl.load_workbook(tmp_path / "compare_result.xlsx")
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert all(cell.data_type != "f" for cell in cells)
    assert {"=1+1", "@SUM(A1)"} <= {cell.value for cell in cells}
    text = (tmp_path / "compare_report.md").read_text()
    assert "<script>" not in text
    assert "<script>" not in (tmp_path / "compare_report.html").read_text()
    assert max(map(len, text.splitlines())) < 1000
    with closing(sqlite3.connect(tmp_path / "compare_result.db")) as connection:
        labels = {label for (label,) in connection.execute("SELECT label FROM request")}
    assert labels == set(HOSTILE)


def test_the_page_says_the_verdict_first_and_draws_every_launch(written: Path):
    assert "<h1><a" in (page := (written / "compare_report.html").read_text())
    assert page.index("Incomparable") < page.index("input tokens: 3092 in input")
    sides = [[Source(Path(f"{side}{n}"), "kind", figures(1 + 0.01 * n)) for n in range(5)] for side in "ab"]
    assert render(compare_sources(*sides)).count('class="launch"') == 10


def test_the_page_draws_both_distributions_and_the_launches_in_time(found: SideBySide):
    page = render(found)
    assert page.count('class="golden"') == page.count('class="input"') >= 5
    assert "launch by launch" not in page
    sides = [[Source(Path(f"{side}{n}"), "kind", figures(1 + 0.01 * n)) for n in range(2)] for side in "ab"]
    drawn = list(portraits(compare_sources(*sides)))
    assert drawn[0].distribution == ""
    assert drawn[0].history.count(" mark") == 4
    assert "golden: 1.00ms, 1.01ms; input: 1.00ms, 1.01ms" in drawn[0].history


def figures(value: float) -> Figures:
    found = Figures()
    found.add(quantity("request", "first_token_latency (ms)"), {"p50": value})
    return found


def test_the_json_is_read_back_as_it_was(written: Path, found: SideBySide):
    text = (written / "compare_result.json").read_text()
    assert SideBySide.model_validate_json(text) == found
    assert json.loads(text)["schema_version"] == 1


def test_the_schema_of_the_json_is_the_documented_one(written: Path, found: SideBySide):
    documented = json.loads((DOCS / "compare_result.schema.json").read_text())
    assert documented == SideBySide.model_json_schema(), "write SideBySide.model_json_schema() to that file again"
    assert set(json.loads((written / "compare_result.json").read_text())) == set(documented["properties"])


def junit(comparison: SideBySide, path: Path) -> ET.Element:
    write_junit(comparison, path)
    (suite,) = ET.parse(path).getroot()
    return suite


def told(element: ET.Element) -> dict[str, str]:
    return {entry.get("name"): entry.get("value") for entry in element.find("properties")}


def test_junit_has_a_case_a_figure_that_decides_and_its_facts_as_properties(tmp_path: Path):
    now, then = ([Source(Path(f"{x}{n}"), "kind", figures(x + 0.01 * n)) for n in range(5)] for x in (2, 1))
    suite = junit(compare_sources(now, then), tmp_path / "junit.xml")
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("1", "1", "0")
    assert told(suite)["msprof.verdict"] == "regressed"
    (case,) = suite.findall("testcase")
    assert (case.get("classname"), case.get("name")) == ("compare.request", "request.ttft.p50")
    assert told(case)["msprof.launches"] == "5+5"
    assert case.find("failure").get("type") == "regressed"


def test_junit_fails_what_is_incomparable_and_skips_what_lacks_evidence(tmp_path: Path, found: SideBySide):
    suite = junit(found, tmp_path / "junit.xml")
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert "input tokens: 3092 in input" in suite.find("testcase/failure").get("message")
    alone = [Source(Path("a"), "kind", figures(1.0))]
    suite = junit(compare_sources(alone, alone), tmp_path / "junit.xml")
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "1")
    assert junit(hostile(), tmp_path / "junit.xml").get("failures") == "0"


def test_a_run_has_a_frame_of_its_requests():
    samples = Samples.of([Sample(0, 0, ttft=0.1, latency=0.5, output_tokens=5), Sample(0, 1, error="timeout")])
    (run,) = launches(60, 0.03, seed=1, n=1)
    frame = run.with_samples(samples).to_frame()
    assert list(frame.ttft)[:1] == [0.1]
    assert frame.tpot[0] == pytest.approx(0.1)
    assert list(frame.error) == ["", "timeout"]
    with pytest.raises(MetricMissing, match="has no requests"):
        run.to_frame()


def many(count: int) -> SideBySide:
    side = Figures()
    for number in range(count):
        side.add(span(f"span {number}"), {"mean": 1.0 + number})
    return compare_sources([Source(Path("a"), "raw spans", side)], [Source(Path("b"), "raw spans", side)])


def test_no_sheet_is_longer_than_20000_rows_and_what_is_left_out_is_said(tmp_path: Path):
    write_workbook(many(6_700), tmp_path / "long.xlsx")
    book = openpyxl.load_workbook(tmp_path / "long.xlsx", read_only=True)
    rows = list(book["spans"].values)
    assert len(rows) == 1 + 3 * 6_666 + 1
    assert rows[-1][0].startswith("34 further metrics")
    assert "compare_result.db" in rows[-1][0]


def test_markdown_fits_into_a_comment_whatever_there_is_to_tell():
    assert len(markdown(many(3_000))) < 65_536
    assert "2900 more stand in compare_result.json" in markdown(many(3_000))


def test_a_crash_of_a_report_does_not_look_like_a_regression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("msprof_reports.compared.dashboard.write_dashboard", lambda *_: 1 / 0)
    side = str(DATA / "raw" / "golden")
    assert main(["compare", side, side, "--output-path", str(tmp_path)]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_frame_has_one_row_a_figure(found: SideBySide):
    frame = found.to_frame()
    assert len(frame) == len(found.rows)
    assert set(frame.dimension) == {"service", "request", "batch"}


def test_the_comparison_of_a_suite_has_a_frame_as_well():
    comparison = sample_session().comparisons[0]
    frame = comparison.to_frame()
    assert list(frame.metric) == [delta.metric for delta in comparison.deltas]
    assert {"change", "low", "high", "verdict"} <= set(frame.columns)


def test_the_summary_of_a_github_job_gets_the_markdown(
    found: SideBySide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    (tmp_path / "summary.md").write_text("before\n")
    write_comparison(found, tmp_path / "out")
    text = (tmp_path / "summary.md").read_text()
    assert text.startswith("before\n### ⚠️ Serving performance: incomparable")


def test_a_folder_that_cannot_be_written_ends_with_2_and_leaves_the_old_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    side = str(DATA / "raw" / "golden")
    (tmp_path / "file").write_text("mine")
    assert main(["compare", side, side, "--output-path", str(tmp_path / "file")]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_leaves_no_half_written_file(found: SideBySide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_comparison(found, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("msprof_reports.compared.dashboard.write_dashboard", full)
    with pytest.raises(OSError, match="No space left"):
        write_comparison(found, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
