"""Several objectives make a score with weights, and a front without."""

from __future__ import annotations

import math

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from measured import make_plan, make_run, make_study

from pytest_msprof import SearchSpace, integers
from pytest_msprof.best_file import write_best
from pytest_msprof.errors import ConfigurationError, MetricMissing
from pytest_msprof.json_files import read_json
from pytest_msprof.tuning.goals import Goals
from pytest_msprof.tuning.outcome import conclude
from pytest_msprof.tuning.samplers import make_sampler
from pytest_msprof.tuning.several import MARKS
from pytest_msprof.tuning.storage import Journals

SIZES = SearchSpace(integers("size", 1, 64, log=True), default={"size": 8})
BOTH = ["output_throughput", "ttft.p50"]
positive = st.floats(1e-3, 1e3)


def tuned(folder, trials=16, *, throughput=lambda size: size, ttft=lambda size: 0.01 * size, **values):
    """Measure a study whose throughput and latency both grow with the size."""
    plan = make_plan(SIZES, **{"search": "auto", "objective": None, "n_trials": trials, **values})
    study = make_study(folder, plan)
    for _ in range(trials):
        proposal = study.ask()
        size = proposal.fields["size"]
        study.tell(proposal, make_run(throughput(size), ttft(size)))
    return study


def never(run_id):
    raise MetricMissing(run_id)


@given(positive, positive, st.floats(0.1, 10))
def test_a_score_weighs_gains_and_not_units(throughput, ttft, unit):
    goals = Goals.of({"output_throughput": 2, "ttft.p50": 1})
    here = {"output_throughput": throughput, "ttft.p50": ttft}

    twice_as_fast = goals.score({**here, "output_throughput": 2 * throughput}) / goals.score(here)
    other_unit = goals.score({**here, "ttft.p50": unit * ttft * 4}) / goals.score({**here, "ttft.p50": unit * ttft})

    assert twice_as_fast == pytest.approx(2 ** (2 / 3))
    assert other_unit == pytest.approx(4 ** (-1 / 3))


@given(st.lists(st.tuples(positive, positive), min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats_in_every_objective(values):
    trials = {number: dict(zip(BOTH, row, strict=True)) for number, row in enumerate(values)}

    front = Goals.of(BOTH).front(trials)

    def beats(one, other):
        return one[0] >= other[0] and one[1] <= other[1] and one != other

    assert list(front) == [n for n, row in enumerate(values) if not any(beats(other, row) for other in values)]


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        ("ttft.p50", "as {metric: weight} or"),
        (["ttft.p50"], "two or more different objectives"),
        (["ttft.p50", "ttft.p50"], "two or more different objectives"),
        ({"ttft.p50": 1, "output_throughput": 0}, "a weight above 0 for objective 'output_throughput', but got 0"),
        ({"ttft.p50": 1, "output_throughput": math.inf}, "a weight above 0"),
        (["ttft.p50", "score"], "what several objectives make together"),
        (["ttft", "output_throughput"], "'ttft' is a distribution"),
    ],
)
def test_objectives_that_cannot_be_weighed_are_refused(objectives, message):
    with pytest.raises(ConfigurationError, match=message):
        make_plan(objective=None, objectives=objectives)


def test_one_objective_and_several_at_once_are_refused():
    with pytest.raises(ConfigurationError, match="objective or objectives, but got both"):
        make_plan(objective="ttft.p50", objectives=BOTH)


def test_a_value_of_zero_has_no_score():
    with pytest.raises(MetricMissing, match=r"output_throughput is 0\.0: a score needs objectives above 0"):
        Goals.of(BOTH).score({"output_throughput": 0.0, "ttft.p50": 1.0})


@pytest.mark.parametrize(("weights", "best"), [((3, 1), 64), ((1, 3), 1)])
def test_the_weights_say_which_end_is_recommended(tmp_path, weights, best):
    study = tuned(tmp_path, objectives=dict(zip(BOTH, weights, strict=True)))

    winner = study.records()[study.ranking()["winner"]]

    assert winner.fields == {"size": best}
    assert winner.value == winner.metrics["score"]


def test_a_search_without_weights_finds_both_ends_of_the_front(tmp_path):
    study = tuned(tmp_path, objectives=BOTH, ttft=lambda size: 0.01 * size**1.5)

    summary = conclude(study, "session", never).summary

    on_front = {study.records()[number].fields["size"] for number in summary.front}
    assert min(on_front) <= 2
    assert max(on_front) >= 48
    assert len(summary.front) == len(study.records())
    assert summary.objective == "score"
    assert summary.objectives == dict.fromkeys(BOTH, 1.0)


def test_only_what_met_the_limits_is_on_the_front_and_in_best_json(tmp_path):
    study = tuned(tmp_path, objectives=BOTH, subject_to={"ttft.p50": 0.2})

    summary = conclude(study, "session", never).summary
    written = read_json(write_best(tmp_path, summary))

    assert summary.front
    assert all(study.records()[number].metrics["ttft.p50"] <= 0.2 for number in summary.front)
    assert [entry["trial"] for entry in written["front"]] == list(summary.front)
    assert written["objectives"] == dict.fromkeys(BOTH, 1.0)
    assert written["front"][0]["metrics"].keys() == {"score", *BOTH}


def test_a_study_of_one_objective_has_no_front(tmp_path):
    study = tuned(tmp_path, 3, objective="output_throughput")

    assert conclude(study, "session", never).summary.front == ()


@pytest.mark.parametrize("search", ["optuna:NSGAIISampler", "optuna:NSGAIIISampler", "optuna:TPESampler", "random"])
def test_samplers_of_optuna_are_asked_about_every_objective(tmp_path, search):
    study = tuned(tmp_path, objectives=BOTH, search=search)
    again = make_study(tmp_path, study.plan)

    front = conclude(again, "session", never).summary.front
    kept = optuna.load_study(study_name=study.name, storage=Journals(tmp_path).storage(study.name)).trials

    assert list(front) == [record.number for record in study.records()]
    assert all(trial.value == study.plan.goals.score(trial.user_attrs["facts"]["metrics"]) for trial in kept)


def test_a_genetic_search_of_a_front_goes_on_where_it_was_interrupted_and_learns_of_crashes(tmp_path):
    search, generations = "optuna:NSGAIISampler", []
    plan = make_plan(SIZES, search=search, objective=None, objectives=BOTH, n_trials=14)
    for turn in range(14):
        study = make_study(tmp_path, plan)
        proposal = study.ask()
        generations.append(next(iter(proposal.trial.user_attrs.get(MARKS, {}).values()), -1))
        if turn in (3, 4):
            study.fail(proposal, "out of memory", "too large")
        else:
            study.tell(proposal, make_run(proposal.fields["size"], 0.01 * proposal.fields["size"]))

    assert generations == sorted(generations)
    assert generations[-1] >= 1


def test_a_sampler_of_one_objective_is_refused_with_what_is_possible():
    class Single(optuna.samplers.RandomSampler):
        def sample_independent(self, study, *given):
            self._raise_error_if_multi_objective(study)
            return super().sample_independent(study, *given)

    plan = make_plan(SIZES, search=Single(), objective=None, objectives=BOTH)

    with pytest.raises(ConfigurationError, match=r"search='Single' looks for one objective, .* give them weights"):
        make_sampler(plan.search, seed=1, plan=plan)
    weighted = make_plan(SIZES, search=Single(), objective=None, objectives=dict.fromkeys(BOTH, 1))
    assert make_sampler(weighted.search, seed=1, plan=weighted) is weighted.search
