"""The line that says how far a study is: what runs, the best so far, the time left, in 80 columns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from measured import make_plan

from pytest_msprof.display import field_values
from pytest_msprof.summary import TrialRecord
from pytest_msprof.tuning.plan import Slot
from pytest_msprof.tuning.progress import WIDTH, progress_lines, seconds_left

KINDS = ("trial", "confirm")
PLAN = make_plan(n_trials=12, confirm=2, subject_to={"ttft.p50": 0.2})


def record(number: int, value: float | None, *, state: str = "measured", took: float = 10.0) -> TrialRecord:
    metrics = {} if value is None else {"output_throughput": value}
    return TrialRecord(number=number, fields={}, state=state, value=value, metrics=metrics, duration=took)


def test_the_first_trial_knows_no_time_and_no_best():
    assert progress_lines(PLAN, Slot("trial"), 0, {}, []) == "trial 0 (1 of 12)\n        the engine's defaults"


def test_a_later_trial_says_its_configuration_the_best_and_the_time_left():
    measured = [record(0, 900.0), record(1, 2000.0, state="infeasible"), record(2, 1503.0)]

    lines = progress_lines(PLAN, Slot("trial", 4), 4, {"size": 8}, [*measured, record(3, None, state="failed")])

    assert lines == "trial 4 (5 of 12), best 1,503 token/s (trial 2), about 2 min left\n        size=8"


def test_nothing_that_met_the_limits_is_no_best():
    lines = progress_lines(PLAN, Slot("trial", 1), 1, {"size": 8}, [record(0, 900.0, state="infeasible")])

    assert "nothing has met the limits yet" in lines


def test_a_confirming_launch_says_whose_and_counts_what_is_left_of_them():
    records = [record(0, 900.0), record(1, 1000.0)]

    lines = progress_lines(PLAN, Slot("confirm", 1, "winner"), 1, {"size": 8}, records, confirmed=3)

    assert lines == "winner again (2 of 2), trial 1, about 30 s left\n        size=8"


def test_confirmations_workers_and_a_budget_in_minutes_count():
    records = [record(number, 900.0) for number in range(2)]

    assert seconds_left(PLAN, Slot("trial", 2), records) == (10 + 6) * 10.0
    assert seconds_left(PLAN, Slot("trial", 2), records, at_once=4) == (3 + 2) * 10.0
    short = make_plan(n_trials=12, confirm=0, minutes=1)
    assert seconds_left(short, Slot("trial", 2), records, elapsed=35.0) == 25.0


def test_failures_that_ended_at_once_do_not_make_the_rest_look_short():
    records = [record(0, 900.0, took=60.0), *(record(n, None, state="failed", took=1.0) for n in range(1, 6))]

    assert seconds_left(make_plan(n_trials=7, confirm=0), Slot("trial", 6), records) == 60.0


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=8), st.integers(0, 2999), st.sampled_from(KINDS))
def test_no_line_is_wider_than_a_terminal_and_nothing_of_the_configuration_is_lost(fields, number, kind):
    records = [record(number, 1e5 + number, took=5000.0) for number in range(number % 40)]
    plan = make_plan(n_trials=3000, confirm=20)

    lines = progress_lines(plan, Slot(kind, number % 20, "runner-up"), number, fields, records)

    assert max(map(len, f"msprof: {lines}".splitlines())) <= WIDTH
    if fields:
        assert "".join(lines.split()).endswith("".join(field_values(fields).split()))
