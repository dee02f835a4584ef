"""What demands at least the memory of a configuration that ran out of it is not tried, and costs no trial."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from measured import make_plan, make_run, make_study

from pytest_msprof import SearchSpace, choice, integers
from pytest_msprof.errors import UnknownName
from pytest_msprof.summary import TrialRecord
from pytest_msprof.tuning.memory_edge import MemoryEdge
from pytest_msprof.tuning.study import Exhausted

SPACE = SearchSpace(
    integers("cache", 1, 8).marked(memory="more"),
    choice("split", [1, 2, 4]).marked(memory="less"),
    choice("graphs", [False, True]).marked(memory="either"),
    choice("kind", ["a", "b"]),
)
point = st.fixed_dictionaries(
    {
        "cache": st.integers(1, 8),
        "split": st.sampled_from([1, 2, 4]),
        "graphs": st.booleans(),
        "kind": st.sampled_from("ab"),
    }
)


def failed(fields, **facts):
    return TrialRecord(number=3, fields=fields, state="failed", **{"failure": "out of memory", **facts})


def edge_of(fields, *, any_load=True, space=SPACE, **facts):
    edge = MemoryEdge(space, any_load=any_load)
    edge.learn([failed(fields, **facts)])
    return edge


@given(point, point)
def test_a_configuration_is_refused_where_it_demands_at_least_as_much_in_every_field_that_says_so(ran_out, other):
    demands = (
        other["cache"] >= ran_out["cache"]
        and other["split"] <= ran_out["split"]
        and other["graphs"] == ran_out["graphs"]
    )

    assert edge_of(ran_out).crossed(other) == (3 if demands else None)


def test_a_space_without_marks_refuses_nothing():
    space = SearchSpace(integers("cache", 1, 8))

    assert edge_of({"cache": 1}, space=space).crossed({"cache": 8}) is None


def test_what_the_engine_chose_cannot_be_compared():
    space = SearchSpace(integers("cache", 1, 8).marked(memory="more"))

    assert edge_of({}, space=space).crossed({"cache": 8}) is None
    assert edge_of({"cache": 1}, space=space).crossed({}) is None


@pytest.mark.parametrize(
    ("facts", "crossed"),
    [
        ({}, 3),
        ({"failure": "crashed under load"}, None),
        ({"reason": "ValueError: ... larger than the available KV cache memory (0.1 GiB)"}, None),
        ({"reason": "ValueError: No available memory for the cache blocks"}, None),
        ({"reason": "ValueError: Available memory on node 0 (21/23 GiB) is less than requested memory for kv"}, 3),
    ],
)
def test_only_memory_that_did_not_suffice_counts_and_not_a_cache_that_was_too_small(facts, crossed):
    space = SearchSpace(integers("cache", 1, 8).marked(memory="more"))

    assert edge_of({"cache": 4}, space=space, **facts).crossed({"cache": 5}) == crossed


@pytest.mark.parametrize(("before_load", "crossed"), [(True, 3), (False, None)])
def test_where_each_trial_finds_its_own_load_only_failures_before_it_count(before_load, crossed):
    space = SearchSpace(integers("cache", 1, 8).marked(memory="more"))
    edge = edge_of({"cache": 4}, space=space, any_load=False, before_load=before_load)

    assert edge.crossed({"cache": 4}) == crossed


def test_what_was_refused_is_said():
    edge = edge_of({"cache": 4, "split": 2, "graphs": True, "kind": "a"})

    (said,) = edge.describe()

    assert said.endswith("trial 3, which ran out of it: cache ≥ 4, split ≤ 2, graphs = True")


def test_an_unknown_direction_is_refused_with_the_possible_ones():
    with pytest.raises(UnknownName, match=r"memory of field 'cache'.*'mor'.*more"):
        integers("cache", 1, 8).marked(memory="mor")


@pytest.mark.parametrize("search", ["auto", "random", "quick", "brute", "pso", "optuna"])
def test_no_search_starts_what_demands_more_than_what_ran_out_of_memory(tmp_path, search):
    space = SearchSpace(
        integers("cache", 1, 16).marked(memory="more"), integers("batch", 1, 4), default={"cache": 2, "batch": 1}
    )
    study = make_study(tmp_path, make_plan(space, search=search, n_trials=20))
    edge, crossings = 17, 0
    with suppress(Exhausted):
        for _ in range(20):
            proposal = study.ask()
            cache = proposal.fields["cache"]
            crossings += cache >= edge
            if cache > 6:
                edge = min(edge, cache)
                study.fail(proposal, "out of memory", "CUDA out of memory", before_load=True)
            else:
                study.tell(proposal, make_run(100.0 * cache + proposal.fields["batch"]))
    assert edge <= 16
    assert crossings == 0


def test_a_space_of_which_only_too_much_is_left_is_exhausted_and_says_why(tmp_path):
    space = SearchSpace(choice("cache", [1, 2, 4, 8]).marked(memory="more"), default={"cache": 2})
    study = make_study(tmp_path, make_plan(space, n_trials=9))
    study.fail(study.ask(), "out of memory", "CUDA out of memory", before_load=True)
    study.tell(study.ask(), make_run(1.0))

    with pytest.raises(Exhausted, match=r"not tried: what demands at least the memory of trial 0, .*: cache ≥ 2$"):
        study.ask()

    assert [record.fields["cache"] for record in study.records()] == [2, 1]
