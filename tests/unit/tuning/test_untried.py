"""What a study did not try: said with the reason, and not said where everything was tried."""

from __future__ import annotations

from measured import make_plan

from pytest_msprof import SearchSpace, choice, integers
from pytest_msprof.summary import TrialRecord
from pytest_msprof.tuning.untried import untried

SPACE = SearchSpace(
    integers("seqs", 1, 256, log=True),
    choice("kernel", ["x", "y", "z"]),
    choice("cache", [False, True], when="kernel == 'z'"),
    where=["seqs > 1 or kernel == 'x'"],
)


def record(number: int, **fields: object) -> TrialRecord:
    return TrialRecord(number=number, fields=fields, state="measured", value=1.0)


def test_values_and_stretches_without_a_trial_are_named():
    found = untried(
        make_plan(SPACE, n_trials=2), [record(0, seqs=1, kernel="x"), record(1, seqs=8, kernel="y")], [], ""
    )

    assert "kernel: z" in found
    assert "cache: no configuration that was tried has it" in found
    assert "seqs: nothing from 8 to 256" in found


def test_trials_that_are_left_over_have_the_reason():
    records = [record(0, seqs=1, kernel="x")]

    assert "3 of 4 trials: no neighbour is better" in untried(make_plan(SPACE), records, [], "no neighbour is better")
    assert "3 of 4 trials: the session ended before them" in untried(make_plan(SPACE), records, [], "")


def test_configurations_that_are_left_have_the_same_reason_as_the_trials_that_are():
    records = [record(0, size=1)]
    plan = make_plan(SearchSpace(integers("size", 1, 64)), n_trials=12)

    found = untried(plan, records, [], "the budget of 5 minutes ended")

    assert found[:2] == (
        "11 of 12 trials: the budget of 5 minutes ended",
        "63 of 64 configurations: the budget of 5 minutes ended",
    )
    assert untried(make_plan(plan.space, n_trials=1), records, [], "")[0] == (
        "63 of 64 configurations: the budget is 1 trial"
    )


def test_proposals_that_broke_a_condition_are_counted_with_one_of_them():
    refused = [{"seqs": 1, "kernel": "y"}, {"seqs": 1, "kernel": "z"}]

    found = untried(make_plan(SPACE), [record(0, seqs=1, kernel="x")], refused, "")

    assert (
        "2 proposals, refused before a start: \"seqs > 1 or kernel == 'x'\" with kernel='z', seqs=1 is not met" in found
    )


def test_what_was_cut_off_before_is_said():
    space = SearchSpace(integers("seqs", 1, 8), left_out=["seqs above 8: no memory for more"])

    assert "seqs above 8: no memory for more" in untried(make_plan(space), [record(0, seqs=1)], [], "")
    assert space.digest() == SearchSpace(integers("seqs", 1, 8)).digest()


def test_a_space_of_which_everything_was_tried_leaves_nothing_to_say():
    space = SearchSpace(choice("size", [1, 2]))

    assert untried(make_plan(space, n_trials=2), [record(0, size=1), record(1, size=2)], [], "") == ()
    assert untried(make_plan(space), [], [], "") == ()
