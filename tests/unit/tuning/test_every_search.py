"""Any search in any space: what it proposes is a configuration of the space, new, and kept as it was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from measured import make_plan, make_run
from optuna.storages import InMemoryStorage

from pytest_msprof import SearchSpace, choice, floats, integers, quotient, ratio, share, steps
from pytest_msprof.errors import ConfigurationError, InvalidSpace
from pytest_msprof.ids import digest, new_id
from pytest_msprof.tuning.plan import TunePlan
from pytest_msprof.tuning.study import Exhausted, TuneStudy

ANYWHERE = ("auto", "random", "optuna", "brute", "quick", "pso")
TRIALS = 9
CALM = settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def fields_of(draw: st.DrawFn, name: str, when: str) -> Any:
    """Return one field of any kind that is searched by itself."""
    low = draw(st.integers(1, 20))
    high = low + draw(st.integers(1, 200))
    kind = draw(st.sampled_from(["int", "log", "float", "steps", "numbers", "words"]))
    if kind in ("int", "log"):
        return integers(name, low, high, log=kind == "log", when=when)
    if kind == "float":
        return floats(name, low / 7, high / 3 + 3, log=draw(st.booleans()), when=when)
    if kind == "steps":
        return steps(name, low, high, draw(st.integers(1, 30)), when=when)
    if kind == "numbers":
        return choice(name, sorted(draw(st.sets(st.integers(0, 64), min_size=1, max_size=5))), when=when)
    return choice(name, draw(st.lists(st.sampled_from(["", "a", False, 0, None, 1.5]), unique_by=repr, min_size=1)))


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """Return a space with dependent fields, absent fields and conditions, where such a one exists."""
    fields = [choice("on", [False, True])]
    fields += [draw(fields_of(name, draw(st.sampled_from(["", "on"])))) for name in "abc"[: draw(st.integers(1, 3))]]
    follows = draw(st.sampled_from(["nothing", "ratio", "quotient", "share"]))
    if follows != "nothing":
        fields.append(integers("whole", 1, draw(st.integers(2, 40))))
        fields.append(
            {"ratio": ratio("part", "whole", 0.1, 0.8), "share": share("part", "whole")}.get(
                follows, quotient("part", 24, "whole")
            )
        )
    numeric = [entry.name for entry in fields if entry.name not in ("on", "part") and entry.dtype in ("int", "float")]
    where = [f"{name} > {draw(st.integers(1, 12))}" for name in numeric if draw(st.booleans())]
    try:
        return SearchSpace(*fields, where=where)
    except InvalidSpace:
        assume(False)
        raise


@st.composite
def small_spaces(draw: st.DrawFn) -> SearchSpace:
    """Return a space of at most eighteen configurations, some of which a condition forbids."""
    options = st.sets(st.integers(0, 9), min_size=1, max_size=3).map(sorted)
    few, many = draw(options), draw(options)
    return SearchSpace(
        choice("on", [False, True]),
        choice("few", few, when=draw(st.sampled_from(["", "on"]))),
        choice("many", many),
        where=draw(st.sampled_from([[], [f"few != {few[0]} or many != {many[-1]} or on"]])),
    )


def opened(plan: TunePlan) -> TuneStudy:
    return TuneStudy(InMemoryStorage(), "study", plan, session_id=new_id())


def searched(study: TuneStudy) -> list[dict[str, Any]]:
    """Return what a study proposes while everything can be measured."""
    proposed = []
    try:
        for _ in range(study.plan.n_trials):
            proposal = study.ask()
            proposed.append(proposal.fields)
            study.tell(proposal, make_run(100.0 + int(digest(proposal.fields)[:3], 16)))
    except Exhausted:
        pass
    return proposed


@pytest.mark.parametrize("search", ANYWHERE)
@CALM
@given(space=spaces(), seed=st.integers(0, 5))
def test_every_proposal_is_a_configuration_of_the_space_and_new(search: str, space: SearchSpace, seed: int) -> None:
    study = opened(make_plan(space, search=search, n_trials=TRIALS, seed=seed))

    default, *proposed = searched(study)

    assert default == dict(space.default)
    for values in proposed:
        assert space.violations(values) == []
        assert space.resolve(values) == values
        for entry in space.searched:
            assert (entry.name in values) == space.is_active(entry.name, values)
            if entry.name in values and not entry.following:
                assert entry.contains(values[entry.name])
    assert len({digest(values) for values in (default, *proposed)}) == 1 + len(proposed)
    assert [record.fields for record in study.records()] == [default, *proposed]


@CALM
@given(space=spaces())
def test_the_same_values_lead_to_what_was_chosen_and_back(space: SearchSpace) -> None:
    for values in searched(opened(make_plan(space, search="random", n_trials=TRIALS)))[1:]:
        chosen = space.parameters(values)
        assert space.resolve(chosen) == values
        assert all(space[name].contains(value) for name, value in chosen.items())


@pytest.mark.parametrize("search", ["auto", "random", "optuna", "brute", "manual"])
@settings(CALM, max_examples=6)
@given(space=small_spaces())
def test_every_configuration_of_a_small_space_is_reached(search: str, space: SearchSpace) -> None:
    every = {digest(values): values for values in space.configurations()} | {digest({**space.default}): None}
    study = opened(make_plan(space, search=search, n_trials=len(every) + 1))
    study.stopped = lambda: ""  # type: ignore[method-assign]  # else the model ends a search that promises nothing

    assert {digest(values) for values in searched(study)} == every.keys()


@CALM
@given(space=spaces())
def test_manual_goes_through_lists_or_says_which_field_is_none(space: SearchSpace) -> None:
    plan = make_plan(space, search="manual", n_trials=4000)
    endless = [entry.name for entry in space.searched if entry.scale.count is None]
    if endless:
        with pytest.raises(ConfigurationError, match=f"'{endless[0]}' is "):
            opened(plan)
    else:
        assume((space.size() or 0) < plan.n_trials)
        opened(plan)
