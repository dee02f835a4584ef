"""The workbook: figures that compute, text that stays text."""

from __future__ import annotations

import math

import numpy as np
import openpyxl
import pytest
from report_samples import hostile_session, large_session, launches, sample_session, sample_study

from msprof_reports.xlsx import write_xlsx
from pytest_msprof.distributions import SteadyState
from pytest_msprof.metrics import describe, summarize

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0")


def book_of(summary, folder):
    return openpyxl.load_workbook(write_xlsx(summary, folder))


def rows_of(sheet) -> list[dict[str, object]]:
    head, *rows = sheet.iter_rows(values_only=True)
    return [dict(zip(head, row, strict=True)) for row in rows]


@pytest.fixture
def book(tmp_path):
    return book_of(sample_session(), tmp_path)


def test_the_sheets_come_in_the_order_of_the_questions(book):
    first = ["Summary", "Studies", "Search", "Effects", "Comparisons"]
    assert book.sheetnames == [*first, "Runs", "Distributions", "Environment"]


def test_the_summary_begins_with_what_was_found(book):
    assert book["Summary"]["B2"].value == "1 of 3 comparisons regressed"


def test_every_sheet_keeps_its_heading_in_sight_and_can_be_filtered(book):
    for sheet in book:
        assert sheet.freeze_panes == "A2"
        assert sheet.auto_filter.ref == sheet.dimensions
        assert all(8 <= column.width <= 60 for column in sheet.column_dimensions.values())


def test_a_trial_is_a_row_with_a_column_for_each_field(book):
    winner, *_, failed = rows_of(book["Studies"])
    assert (winner["trial"], winner["role"], winner["num_blocks"]) == (7, "winner", 112)
    assert winner["continuous_batching"] is True
    assert winner["ttft.p50 (s)"] == pytest.approx(0.0601)
    assert (failed["state"], failed["failure"]) == ("failed", "out of memory")
    assert failed["output_throughput (token/s)"] is None
    assert "DefaultCPUAllocator" in failed["end of the log"]


def test_the_search_is_told_trial_by_trial_over_trials_and_minutes(book):
    rows = rows_of(book["Search"])
    study = sample_study()
    assert [row["trial"] for row in rows] == [trial.number for trial in study.trials]
    assert [row["trials so far"] for row in rows] == list(range(1, 13))
    assert [row["best so far"] for row in rows][:5] == [None, 1138, 1138, 1503, 1503]
    assert rows[-1]["best so far"] == 1648
    assert rows[-1]["minutes so far"] == pytest.approx(sum(trial.duration for trial in study.trials) / 60)
    assert rows[4]["value"] is None


def test_each_study_that_found_something_is_drawn_over_trials_and_over_minutes(tmp_path):
    failed = sample_study(name="failed", trials=sample_study().trials[4:5], winner=None)
    studies = (failed, sample_study(), sample_study(name="test_other"))

    sheet = book_of(sample_session(studies=studies), tmp_path)["Search"]

    drawn = [[series.yVal.numRef.f for series in chart.series] for chart in sheet._charts]
    assert (
        drawn
        == [["'Search'!$H$3:$H$14", "'Search'!$G$3:$G$14"]] * 2 + [["'Search'!$H$15:$H$26", "'Search'!$G$15:$G$26"]] * 2
    )
    across = [chart.series[0].xVal.numRef.f for chart in sheet._charts]
    assert across[:2] == ["'Search'!$C$3:$C$14", "'Search'!$D$3:$D$14"]


def test_what_fields_do_are_figures_of_the_objective(book):
    study = sample_study()
    rows = [row for row in rows_of(book["Effects"]) if row["field"] == study.effects[0].field]
    assert [row["value"] for row in rows] == [point.value for point in study.effects[0].points]
    assert rows[0]["mean"] == pytest.approx(study.effects[0].points[0].mean)
    assert rows[0]["importance"] == pytest.approx(study.effects[0].importance)


def test_the_summary_says_why_the_search_stopped_what_it_left_out_and_who_broke_the_limits(book):
    facts = {row["fact"].rpartition(": ")[2]: row["value"] for row in rows_of(book["Summary"])}
    assert facts["stopped"] == sample_study().stopped
    assert facts["default"] == "limits missed in 4 of 4 launches"
    assert facts["not tried"] == sample_study().untried[-1]
    assert facts["config.yaml"].startswith("model:")


def test_times_stay_seconds_with_every_digit_and_changes_are_shown_as_percent(book):
    rows = rows_of(book["Comparisons"])
    expected = sample_session().comparisons[2].deltas[1]
    found = next(row for row in rows if row["case"].endswith("16]") and row["metric"] == "ttft.p50")
    assert (found["before"], found["change"]) == (pytest.approx(expected.golden), pytest.approx(expected.change))
    cells = {cell.value: cell for cell in book["Comparisons"][1]}
    assert "%" in book["Comparisons"].cell(2, cells["change"].column).number_format


def test_studies_are_compared_with_their_default_in_the_same_columns(book):
    first = rows_of(book["Comparisons"])[0]
    assert (first["compared with"], first["metric"], first["metric verdict"]) == (
        "default",
        "output_throughput",
        "improved",
    )


def test_comparisons_stand_worst_first(book):
    verdicts = [row["verdict"] for row in rows_of(book["Comparisons"]) if row["compared with"] == "golden"]
    assert verdicts == sorted(verdicts, key=["regressed", "unchanged"].index)


def test_a_run_says_what_was_asked_and_what_came_out(book):
    run = rows_of(book["Runs"])[0]
    assert (run["concurrency"], run["success_rate"], run["ttft.p99 (s)"], run["fields"]) == (
        1,
        1,
        None,
        "engine defaults",
    )


def test_percentiles_have_their_intervals_and_the_steady_state_rows_of_its_own(tmp_path):
    samples = np.linspace(0.05, 0.15, 400)
    whole = describe(samples)
    steady = SteadyState(start=1, end=9, running=16, requests=300, distributions={"ttft": summarize(samples[50:350])})
    measured = {
        "distributions": {"ttft": whole.distribution},
        "intervals": {f"ttft.{q}": bounds for q, bounds in whole.intervals.items()},
        "steady": steady,
    }
    run = sample_session().runs[0].model_copy(update=measured)
    session = sample_session().model_copy(update={"runs": (run,)})
    of_whole, of_steady = rows_of(book_of(session, tmp_path)["Distributions"])
    assert (of_whole["part"], of_whole["metric"], of_whole["n"]) == ("whole run", "ttft (s)", 400)
    assert of_whole["p50, low"] < of_whole["p50"] < of_whole["p50, high"]
    assert (of_whole["p99.9"], of_whole["p99.9, low"]) == (None, None)
    assert (of_steady["part"], of_steady["n"], of_steady["p50, low"]) == ("steady state", 300, None)


def test_environments_stand_side_by_side(book):
    facts = {row["fact"]: row for row in rows_of(book["Environment"])}
    assert facts["version"]["transformers"] == "5.23.0"
    assert facts["pytest_msprof"]["session"] == "0.1.0"
    assert facts["hardware.cores"]["transformers"] == 2


def test_text_is_never_a_formula_and_comes_back_as_it_was(tmp_path):
    book = book_of(hostile_session(FORMULAS), tmp_path)
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert "f" not in {cell.data_type for cell in cells}
    assert [row["case"] for row in rows_of(book["Runs"])] == list(FORMULAS)
    assert all(cell.quotePrefix for cell in cells if cell.value in FORMULAS)


def test_what_a_cell_cannot_hold_is_replaced_or_cut(tmp_path):
    names = ("bell \x07 and \udcff", "x" * 40_000)
    runs = rows_of(book_of(hostile_session(names), tmp_path)["Runs"])
    assert runs[0]["case"] == "bell \ufffd and \ufffd"
    assert len(runs[1]["case"]) == 32_767


def test_no_figure_is_an_empty_cell(tmp_path):
    run = launches(1500, 0.03, seed=1, n=1)[0]
    broken = run.model_copy(update={"metrics": {"output_throughput": math.nan, "success_rate": math.inf}})
    found = rows_of(book_of(sample_session(runs=(broken,)), tmp_path)["Runs"])[0]
    assert found["output_throughput (token/s)"] is found["success_rate"] is None


def test_nested_values_become_text(tmp_path):
    trial = sample_study().trials[1].model_copy(update={"fields": {"sizes": [1, 2], "nested": {"a": 1}}})
    row = rows_of(book_of(sample_session(studies=(sample_study(trials=(trial,)),)), tmp_path)["Studies"])[0]
    assert (row["sizes"], row["nested"]) == ("[1, 2]", '{"a": 1}')


def test_an_empty_session_is_a_workbook_too(tmp_path):
    book = book_of(sample_session(studies=(), comparisons=(), runs=(), environment={}), tmp_path)
    assert book["Summary"]["B2"].value == "Nothing was measured"


def test_hundreds_of_rows_are_all_there(tmp_path):
    book = book_of(large_session(200), tmp_path)
    assert len(rows_of(book["Studies"])) == len(rows_of(book["Runs"])) == 200


def test_the_workbook_is_written_whole(tmp_path):
    write_xlsx(sample_session(), tmp_path)
    assert [found.name for found in tmp_path.iterdir()] == ["report.xlsx"]
