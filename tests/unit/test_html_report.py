"""The page: the verdict first, honest about evidence, deaf to what names contain."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from report_samples import CHAT, even_study, hostile_session, launches, measured_run, sample_session, sample_study

from msprof_reports import charts, pytest_msprof_write_report
from msprof_reports.courses import course_chart
from msprof_reports.effect_charts import effect_chart
from msprof_reports.findings import ranked
from msprof_reports.html import render, write_html
from msprof_reports.study_charts import front_chart, minutes_chart
from pytest_msprof.comparison import Tolerance, compare
from pytest_msprof.distributions import Distribution, SteadyState
from pytest_msprof.series import Series

HOSTILE = ("<script>alert(1)</script>", "\"><img src=x onerror='alert(1)'>", "{{ 7*7 }} & </style>", "x" * 10_000)


class Outline(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(**changes) -> Outline:
    return Outline(render(sample_session(**changes)))


def test_the_first_heading_is_the_verdict_with_what_is_bad_first():
    heading = re.search(r"<h1>(.*?)</h1>", render(sample_session()), re.DOTALL).group(1)
    lines = re.findall(r">\s*([^<>]+?)\s*</a>", heading)
    assert lines[0] == "1 of 3 comparisons regressed"
    assert re.fullmatch(r"\+3\d\d% output_throughput over the default", lines[1])


def test_a_study_that_found_nothing_better_says_so_plainly():
    page = page_of(studies=(even_study(),))
    assert "Not distinguishable from the default" in page.text
    assert "over the default" not in page.text


@pytest.mark.parametrize(
    ("verdict", "headline"),
    [
        ("unchanged", "Meets the constraints, which the default misses"),
        ("incomparable", "No verdict against the default"),
    ],
)
def test_a_headline_names_the_default_once(verdict, headline):
    study = sample_study()
    objective, *others = study.deltas
    told = study.model_copy(update={"deltas": (objective.model_copy(update={"verdict": verdict}), *others)})
    page = page_of(studies=(told,), comparisons=())
    assert headline in page.text
    assert f"{headline} over" not in page.text


@pytest.mark.parametrize(
    ("changes", "headline"),
    [
        ({"winner": None}, "Nothing met the constraints"),
        ({"winner": 0}, "Keep the default"),
        ({"trials": ()}, "Nothing was measured yet"),
        ({"confirmations": (), "deltas": ()}, "Best of one launch each, not confirmed"),
        ({"deltas": ()}, "Not compared with the default"),
    ],
)
def test_each_outcome_of_a_study_has_its_headline(changes, headline):
    assert headline in page_of(studies=(sample_study(**changes),), comparisons=()).text


def test_a_study_of_which_every_trial_failed_says_how_many():
    crashed = tuple(trial for trial in sample_study().trials if trial.state == "failed")
    study = sample_study(trials=crashed, winner=None, confirmations=(), deltas=(), command="")
    assert "All 1 trial failed" in page_of(studies=(study,), comparisons=()).text


def test_the_command_of_the_winner_is_ready_for_a_shell():
    page = render(sample_session())
    command = re.search(r"<pre class=\"command\"[^>]*><code>(.*?)</code>", page, re.DOTALL).group(1)
    assert command.startswith(
        "OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 /srv/.engines/transformers/bin/transformers \\\n  serve"
    )
    assert command.endswith("--cb-num-blocks 112 \\\n  --cb-max-batch-tokens 1024")


def test_a_failed_trial_shows_its_class_and_the_end_of_its_log():
    page = page_of()
    assert "out of memory: transformers ended with exit code -9" in page.text
    assert "can't allocate memory: you tried to allocate 17179869184 bytes" in page.text


def test_every_trial_has_a_mark_in_the_chart_and_a_row_in_the_table():
    page = Outline(charts.trial_chart(sample_study()))
    marks = [attrs for tag, attrs in page.tags if tag == "circle" and "dot" in (attrs.get("class") or "")]
    crosses = [attrs for tag, attrs in page.tags if "cross failed" in (attrs.get("class") or "")]
    assert (len(marks), len(crosses)) == (11, 1)


def test_the_search_is_drawn_over_the_minutes_that_its_trials_took():
    study = sample_study()
    dots = [attrs for tag, attrs in Outline(minutes_chart(study)).tags if tag == "circle"]
    assert [round(float(dot["cx"].rstrip("%"))) for dot in dots] == [13, 25, 58]
    assert minutes_chart(study.model_copy(update={"trials": ()})) == ""


def test_the_front_is_what_no_trial_beats_in_both():
    study = sample_study()
    page = Outline(front_chart(study, "output_throughput", "ttft.p50"))
    assert len([tag for tag, _ in page.tags if tag == "circle"]) == 11
    assert "limit" in page.text
    assert "what no trial beats in both: 3, 7" in page_of().text
    assert front_chart(study, "output_throughput", "energy") == ""


def test_latencies_that_are_far_apart_stand_on_a_logarithmic_axis():
    page = Outline(front_chart(sample_study(), "output_throughput", "ttft.p50"))
    ticks = [attrs["x"] for tag, attrs in page.tags if tag == "text" and attrs["y"] == "196"]
    assert len(ticks) == 7
    assert "0.05 0.1 0.2 0.5 1 2 5" in page.text


def test_several_objectives_are_drawn_against_the_first():
    study = sample_study(objective="score", objectives={"output_throughput": 1.0, "ttft.p50": 2.0}, front=(3, 7))
    assert "output_throughput , token/s, against ttft.p50 , s" in page_of(studies=(study,)).text


def test_a_trial_that_was_left_behind_stands_after_the_measured_ones_with_its_reason():
    study = sample_study()
    reason = "clearly behind trial 7 in the first 12 requests"
    left = study.trials[1].model_copy(update={"state": "behind", "value": None, "metrics": {}, "reason": reason})
    trials = (study.trials[0], left, *study.trials[2:])

    places = [trial.state for trial in ranked(study.model_copy(update={"trials": trials}))]

    assert places.index("behind") > len(places) - 1 - places[::-1].index("measured")
    text = page_of(studies=(sample_study(trials=trials),)).text
    assert "○ behind" in text
    assert reason in text


def test_each_field_has_a_chart_with_its_importance_and_the_doubt_about_it():
    study = sample_study()
    first = study.effects[0]
    page = Outline(effect_chart(study, first))
    assert {"polygon", "polyline"} <= {tag for tag, _ in page.tags}
    assert f"False: {first.points[0].mean:,.0f} token/s" in page.text
    assert f"continuous_batching {first.importance:.0%} ({first.low:.0%} to {first.high:.0%})" in page_of().text


def test_what_stopped_the_search_and_what_it_left_out_are_said():
    text = page_of().text
    assert "The search stopped: the expected improvement stayed below 1 % for 10 suggestions." in text
    assert "num_blocks: nothing from 8 to 22" in text
    assert "Default: limits missed in 4 of 4 launches." in text


def test_the_config_file_of_the_winner_can_be_copied():
    assert 'The same as a file: config.yaml model: "models/tiny-qwen2" port: 8000' in page_of().text


def test_every_confirmation_launch_is_one_dot():
    dots = [attrs for tag, attrs in page_of().tags if tag == "circle" and "launch" in (attrs.get("class") or "")]
    assert len(dots) == 12


def test_a_comparison_shows_both_figures_the_interval_and_what_could_have_been_seen():
    page = page_of(studies=())
    assert re.search(
        r"-13\.\d% -1\d\.\d% to -1\d\.\d% 1,505 token/s 1,300 token/s ± 5% . regressed 4 \+ 4 ± 8\.0%",
        page.text.replace("\N{MINUS SIGN}", "-"),
    )


def test_the_worst_comparison_stands_first():
    assert page_of(studies=()).text.index("test_chat[transformers-16]") < page_of(studies=()).text.index(
        "transformers-1]"
    )


def test_too_few_launches_are_not_called_a_verdict():
    runs = launches(1500, 0.03, seed=1, n=2)
    page = page_of(studies=(), comparisons=(compare(runs, runs, Tolerance({"ttft.p50": 0.1})),))
    assert "without enough evidence" in page.text
    assert "--msprof-repeat 4" in page.text


def test_a_first_session_says_that_it_became_golden():
    runs = launches(1500, 0.03, seed=1)
    found = compare(runs, [], Tolerance({"ttft.p50": 0.1}))
    page = page_of(studies=(), comparisons=(found,), golden_recorded=("test_chat",))
    assert "Golden recorded for 1 case" in page.text
    assert "Nothing to compare with yet" in page.text
    assert "regress" not in page.text


def test_a_run_that_lost_requests_says_how_many_and_why():
    run = launches(1500, 0.03, seed=1, n=1)[0]
    lossy = run.model_copy(update={"metrics": {**run.metrics, "success_rate": 0.979}, "errors": {"timeout": 1}})
    page = page_of(studies=(), comparisons=(), runs=(lossy,))
    assert "97.9%" in page.text
    assert "1 \N{MULTIPLICATION SIGN} timeout" in page.text


def test_a_percentile_that_the_sample_cannot_support_is_absent():
    page = page_of(studies=(), comparisons=(), runs=launches(1500, 0.03, seed=1, n=1))
    row = page.text[page.text.index("Runs case") :]
    assert re.search(r"100% \d\d\.\d ms — 1\d\.\d ms", row)


def test_environments_stand_side_by_side_and_differences_inside_one_are_folded():
    run = launches(1500, 0.03, seed=1, n=1)[0]
    other = run.model_copy(update={"engine": "vllm", "environment": {"version": "0.32.0"}, "launch_id": "other"})
    newer = run.model_copy(update={"environment": {**run.environment, "version": "5.24.0"}})
    page = page_of(studies=(), comparisons=(), runs=(run, other, newer))
    assert "fact session transformers vllm" in page.text
    assert re.search(r"version — 2 values 5\.23\.0 5\.24\.0 0\.32\.0", page.text)


def test_names_are_text_wherever_they_come_from():
    page = Outline(render(hostile_session(HOSTILE)))
    assert {"script", "img"}.isdisjoint(tag for tag, _ in page.tags)
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert HOSTILE[0] in "".join(page.words)
    assert "{{ 7*7 }}" in "".join(page.words)


def test_the_page_needs_nothing_but_itself():
    page = page_of()
    assert {"script", "link", "img", "iframe"}.isdisjoint(tag for tag, _ in page.tags)
    assert all((attrs.get("href") or "#").startswith("#") for _, attrs in page.tags)
    assert "url(" not in render(sample_session())


def test_links_lead_to_parts_of_the_page():
    page = page_of(golden_recorded=("a",))
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {attrs["href"].lstrip("#") for _, attrs in page.tags if attrs.get("href")} <= ids


def test_an_empty_session_is_a_page_too():
    page = page_of(studies=(), comparisons=(), runs=(), environment={})
    assert "Nothing was measured" in page.text


def test_a_study_with_an_unknown_metric_and_no_figures_is_shown():
    trial = sample_study().trials[0].model_copy(update={"value": float("nan"), "metrics": {}})
    study = sample_study(objective="energy", trials=(trial,), winner=0, subject_to={"energy": 3.0}, workload=CHAT)
    page = page_of(studies=(study,), comparisons=())
    assert "nan" not in render(sample_session(studies=(study,))).replace("finance", "")
    assert "energy" in page.text


def test_the_page_is_written_whole(tmp_path):
    path = write_html(sample_session(), tmp_path / "reports")
    assert path.read_text(encoding="utf-8").endswith("</html>")
    assert [found.name for found in path.parent.iterdir()] == ["report.html"]


def test_text_that_is_no_unicode_does_not_stop_the_report(tmp_path):
    path = write_html(sample_session(rootdir="/srv/\udcff"), tmp_path)
    assert "/srv/?" in path.read_text(encoding="utf-8")


def test_the_hook_writes_the_reports_it_knows_and_leaves_others_alone(tmp_path):
    summary = sample_session()
    assert pytest_msprof_write_report("html", summary, tmp_path).suffix == ".html"
    assert pytest_msprof_write_report("xlsx", summary, tmp_path).suffix == ".xlsx"
    assert pytest_msprof_write_report("grafana", summary, tmp_path) is None


def watched(name: str, *values: float):
    run = measured_run(900, 0.05)
    return run.with_series({name: Series(np.arange(float(len(values))), np.array(values))})


def test_the_course_of_a_run_is_drawn_with_the_most_of_each_quantity():
    page = page_of(runs=(watched("server.kv_usage", 0.0, 0.25, 0.5),), studies=(), comparisons=())
    (line,) = (attrs for tag, attrs in page.tags if tag == "polyline")
    assert line["points"] == "0,24 50,12 100,0"
    assert "50%" in page.text


def test_the_steady_part_of_a_run_is_told_apart_from_the_whole():
    steady = SteadyState(start=1.0, end=9.0, running=16, requests=30, metrics={"output_throughput": 950.0})
    run = watched("running", 1.0, 16.0, 16.0).model_copy(update={"steady": steady})
    text = page_of(runs=(run,), studies=(), comparisons=()).text
    assert "Steady from 1.00 s to 9.00 s with 16 running: output_throughput 950 token/s." in text


def test_the_percentiles_of_a_run_stand_with_their_intervals():
    found = {"n": 40.0, "mean": 0.0741, "p50": 0.0717, "p90": 0.0912}
    measured = {"distributions": {"ttft": Distribution(found)}, "intervals": {"ttft.p50": (0.0701, 0.0734)}}
    run = watched("running", 1.0).model_copy(update=measured)
    text = page_of(runs=(run,), studies=(), comparisons=()).text
    assert "whole run" in text
    assert "70.1–73.4" in text


def test_what_was_not_seen_is_left_out_of_the_line():
    chart = course_chart(watched("ttft.p50", math.nan, 0.1, math.nan, 0.2))
    assert 'points="0,12 100,0"' in chart
    assert "200 ms" in chart


def test_a_long_course_is_thinned():
    chart = course_chart(watched("running", *range(1, 5000)))
    assert len(re.search('points="(.*?)"', chart)[1].split()) == 120


@pytest.mark.parametrize("values", [(), (1.0, 2.0), (0.0, 0.0, 0.0), (math.nan, math.nan, math.nan)])
def test_a_course_that_shows_nothing_is_not_drawn(values):
    assert course_chart(watched("running", *values)) == ""


def test_names_of_quantities_are_escaped():
    assert "<b>" not in course_chart(watched("<b>.power", 1.0, 2.0, 3.0))


def test_a_run_without_a_verdict_says_why():
    run = measured_run(900, 0.05).model_copy(update={"client_limited": "one loop was busy"})
    assert "the client was the bottleneck: one loop was busy" in page_of(runs=(run,), studies=(), comparisons=()).text
