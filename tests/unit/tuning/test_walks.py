"""The searches by rule: what they go through, what they take for better, and that each of them ends."""

from __future__ import annotations

import itertools

import pytest
from measured import make_plan, make_run, make_study

from pytest_msprof import SearchSpace, choice, floats, integers, quotient, ratio, share, steps
from pytest_msprof.errors import ConfigurationError, LoadError
from pytest_msprof.summary import TrialRecord
from pytest_msprof.tuning.lattice import levels
from pytest_msprof.tuning.walks import Exhausted, standing

WALKS = ("brute", "manual", "quick", "pso")
SPACE = SearchSpace(
    choice("batching", [False, True]),
    integers("blocks", 8, 10, log=True, when="batching"),
    integers("tokens", 0, 3),
    choice("kind", ["bf16", "fp32", "fp8"]),
    default={"batching": False, "tokens": 0, "kind": "bf16"},
    where=["tokens < 3 or kind != 'fp32'"],
)


def searched(study, throughput, *, ttft=lambda _: 0.1, most=400):
    """Tell a study everything it asks for until it ends; return what it asked and why it ended."""
    asked = []
    try:
        while len(asked) < most:
            proposal = study.ask()
            asked.append(proposal.fields)
            value = throughput(proposal.fields)
            if value is None:
                study.fail(proposal, "out of memory", "CUDA out of memory")
            else:
                study.tell(proposal, make_run(value, ttft(proposal.fields)))
    except Exhausted as reason:
        return asked, str(reason)
    return asked, ""


def spread(fields):
    return 100.0 + fields.get("blocks", 0) + 10 * fields["tokens"] + (5 if fields["kind"] == "fp8" else 0)


@pytest.mark.parametrize("search", WALKS)
def test_every_walk_begins_with_the_default_ends_and_measures_nothing_twice(tmp_path, search):
    asked, reason = searched(make_study(tmp_path, make_plan(SPACE, search=search, n_trials=60)), spread, most=2000)

    assert asked[0] == {"batching": False, "tokens": 0, "kind": "bf16"}
    assert reason
    assert all(one != other for one, other in itertools.combinations(asked, 2))
    assert not any(SPACE.violations(fields) for fields in asked)


@pytest.mark.parametrize("search", WALKS)
def test_a_walk_that_was_interrupted_goes_on_as_if_it_had_not_been(tmp_path, search):
    plan = make_plan(SPACE, search=search, n_trials=60)
    straight, _ = searched(make_study(tmp_path / "straight", plan), spread, most=24)

    first, _ = searched(make_study(tmp_path / "torn", plan), spread, most=9)
    rest, _ = searched(make_study(tmp_path / "torn", plan), spread, most=len(straight) - 9)

    assert first + rest == straight


@pytest.mark.parametrize("search", WALKS)
def test_two_workers_of_a_walk_never_measure_the_same(tmp_path, search):
    plan = make_plan(SPACE, search=search, n_trials=60)
    one, other = make_study(tmp_path, plan), make_study(tmp_path, plan, worker=1)

    fields = [study.ask().fields for _ in range(3) for study in (one, other)]

    assert all(first != second for first, second in itertools.combinations(fields, 2))


def test_manual_goes_through_all_lists_falsy_values_included(tmp_path):
    space = SearchSpace(choice("flag", [False, True]), choice("size", [0, 1]), choice("extra", [[], ["a"]]))

    asked, reason = searched(make_study(tmp_path, make_plan(space, search="manual", n_trials=10)), lambda _: 1.0)

    assert len(asked) == 9
    assert {"flag": False, "size": 0, "extra": []} in asked
    assert reason == "all 8 listed configurations were measured"


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (SearchSpace(floats("share", 0, 1)), "search='manual' goes through lists.*'share'"),
        (SPACE, "measures all 44 configurations, default included, but n_trials is 4"),
    ],
)
def test_manual_refuses_what_it_cannot_go_through(tmp_path, space, message):
    with pytest.raises(ConfigurationError, match=message):
        make_study(tmp_path, make_plan(space, search="manual"))


def test_brute_makes_the_finest_grid_that_the_budget_holds_bounds_included(tmp_path):
    space = SearchSpace(integers("seqs", 3, 100, log=True), floats("share", 0.1, 0.9))

    asked, _ = searched(make_study(tmp_path, make_plan(space, search="brute", n_trials=17)), lambda _: 1.0)

    seqs, shares = sorted({fields["seqs"] for fields in asked[1:]}), sorted({fields["share"] for fields in asked[1:]})
    assert len(asked) == 17
    assert (seqs[0], seqs[-1], shares[0], shares[-1]) == (3, 100, 0.1, 0.9)
    assert len(seqs) == len(shares) == 4


def test_brute_draws_from_a_grid_that_is_too_large(tmp_path):
    space = SearchSpace(*(choice(f"option{number}", [False, True]) for number in range(40)))

    asked, _ = searched(make_study(tmp_path, make_plan(space, search="brute", n_trials=12)), lambda _: 1.0, most=12)

    assert all(0 < sum(fields.values()) < 40 for fields in asked[1:])


def test_quick_climbs_to_the_top_of_a_slope_and_ends_there(tmp_path):
    space = SearchSpace(integers("seqs", 1, 512, log=True), steps("tokens", 0, 16, 1), default={"seqs": 1, "tokens": 0})

    asked, reason = searched(
        make_study(tmp_path, make_plan(space, search="quick", n_trials=200)),
        lambda fields: 1000.0 - abs(fields["seqs"] - 300) - 10 * abs(fields["tokens"] - 5),
    )

    best = max(asked, key=lambda fields: -abs(fields["seqs"] - 300) - 10 * abs(fields["tokens"] - 5))
    assert best == {"seqs": 256, "tokens": 5}
    assert reason == "no neighbour of the best point is better"
    assert len(asked) < 60


def test_quick_ends_where_its_best_point_sits_on_a_bound(tmp_path):
    space = SearchSpace(integers("seqs", 1, 64, log=True), default={"seqs": 64})

    asked, reason = searched(
        make_study(tmp_path, make_plan(space, search="quick", n_trials=200)), lambda fields: fields["seqs"]
    )

    assert [fields["seqs"] for fields in asked] == [64, 32]
    assert reason


@pytest.mark.parametrize("search", ["quick", "pso"])
def test_a_crash_is_never_better_than_a_slow_configuration_nor_a_fast_one_that_breaks_a_limit(tmp_path, search):
    space = SearchSpace(integers("seqs", 1, 1024, log=True), default={"seqs": 2})
    plan = make_plan(space, search=search, subject_to={"ttft.p50": 0.2}, n_trials=40)
    study = make_study(tmp_path, plan)

    searched(
        study,
        lambda fields: None if fields["seqs"] > 300 else float(fields["seqs"]),
        ttft=lambda fields: 0.1 if fields["seqs"] <= 20 else 0.1 + fields["seqs"] / 100,
        most=40,
    )

    best = min(study.records(), key=lambda record: standing(record, plan))
    assert best.state == "measured"
    assert best.fields["seqs"] in (16, 17, 18, 19, 20)


def test_what_failed_stands_behind_what_missed_a_limit_and_that_behind_what_met_it():
    plan = make_plan(subject_to={"ttft.p50": 0.2})
    met = TrialRecord(number=1, fields={}, state="measured", value=0.0, metrics={"ttft.p50": 0.1})
    missed = TrialRecord(number=2, fields={}, state="infeasible", value=900.0, metrics={"ttft.p50": 0.201})
    far = TrialRecord(number=3, fields={}, state="infeasible", value=999.0, metrics={"ttft.p50": 2.0})
    failed = TrialRecord(number=4, fields={}, state="failed", failure=LoadError.__name__)

    ranked = sorted([failed, far, missed, met], key=lambda record: standing(record, plan))

    assert ranked == [met, missed, far, failed]


@pytest.mark.parametrize(
    ("field", "most", "expected"),
    [
        (integers("n", 5, 100, log=True), 9, (5, 8, 16, 32, 64, 100)),
        (integers("n", 1, 1024, log=True), 3, (1, 32, 1024)),
        (integers("n", 1, 3), 9, (1, 2, 3)),
        (integers("n", 0, 10), 3, (0, 5, 10)),
        (floats("n", 0.5, 3, log=True), 9, (0.5, 1.0, 2.0, 3.0)),
        (steps("n", 0, 100, 25), 3, (0, 50, 100)),
        (choice("n", ["c", "a", "b"]), 2, ("c", "a", "b")),
        (ratio("n", "m", 0.25, 0.75), 3, (0.25, 0.5, 0.75)),
    ],
)
def test_the_levels_of_a_field_hold_both_bounds(field, most, expected):
    assert levels(field, most) == expected


@pytest.mark.parametrize("search", ["brute", "quick", "pso"])
def test_a_walk_knows_fields_that_follow_from_others_again(tmp_path, search):
    space = SearchSpace(
        integers("devices", 1, 8),
        quotient("rest", 64, "devices"),
        ratio("few", "devices", 0, 1),
        share("part", "devices"),
    )

    asked, _ = searched(
        make_study(tmp_path, make_plan(space, search=search, n_trials=30)),
        lambda fields: 1.0 + fields.get("few", 0),
        most=30,
    )

    assert all(one != other for one, other in itertools.combinations(asked, 2))
