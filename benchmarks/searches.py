"""Every search that the benchmark compares, as a function that measures until its budget is spent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import optuna
from bench import Bench, Result, Spent
from comparators import brute, quick, swarm
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState
from problems import LOAD, Found, Problem

from pytest_msprof.tuning import ConstrainedGPSampler
from pytest_msprof.tuning.bracket import Bracket
from pytest_msprof.tuning.plan import TIGHTENED
from pytest_msprof.tuning.prior import Earlier
from pytest_msprof.tuning.ranking import Measured, ranked

__all__ = ["SEARCHES"]

STARTUP = 6


def _constraints(trial: FrozenTrial) -> Sequence[float]:
    return tuple(trial.user_attrs.get("excess", (1.0,)))


def _ours(seed: int) -> BaseSampler:
    return ConstrainedGPSampler(seed=seed, constraints_func=_constraints)


def _optunas_gp(seed: int) -> BaseSampler:
    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP, constraints_func=_constraints)


def _botorch(seed: int) -> BaseSampler:
    from optuna_integration import BoTorchSampler

    made: BaseSampler = BoTorchSampler(seed=seed, n_startup_trials=STARTUP, constraints_func=_constraints)
    return made


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=STARTUP, constraints_func=_constraints)


def sampled(make: Callable[[int], BaseSampler], bench: Bench, seed: int) -> None:
    """Let a sampler of Optuna's choose configuration and load; a crash is told as the harness tells it."""
    study = _study(make(seed))
    learns = isinstance(study.sampler, ConstrainedGPSampler)
    study.enqueue_trial(dict(bench.problem.default))
    measured: list[Measured] = []
    if learns:
        bench.ranking = lambda: _ranked(measured, getattr(study.sampler, "earlier", ()))
    while True:
        trial = study.ask(dict(bench.problem.space))
        try:
            found = bench.run(trial.params)
        except MemoryError:
            _crash(study, trial, learns=learns)
            continue
        _tell(study, trial, found, measured)


def warmed(bench: Bench, seed: int) -> None:
    """Search as `sampled` does, after a study of 30 runs of heavier requests on a slower machine."""
    before = Bench(_heavier(bench.problem), seed + 1000, 30, ())
    with suppress(Spent):
        sampled(_ours, before, seed)
    earlier = [
        *(Earlier(found.parameters, found.value, _excess(found)) for found in before.results),
        *(Earlier(parameters, None, {}) for parameters in before.crashed),
    ]

    def make(seed: int) -> BaseSampler:
        sampler = ConstrainedGPSampler(seed=seed, constraints_func=_constraints)
        sampler.earlier = earlier
        return sampler

    sampled(make, bench, seed)


def _heavier(problem: Problem) -> Problem:
    """Return *problem* where a request weighs as much as one and a half, on a machine of 0.7 times the speed."""

    def truth(**parameters: Any) -> Found:
        load = {LOAD: round(1.5 * parameters[LOAD])} if LOAD in parameters else {}
        value, ratios = problem.truth(**{**parameters, **load})
        return 0.7 * value, tuple(ratio / 0.7 for ratio in ratios)

    return replace(problem, name=f"{problem.name}, heavier", truth=truth)


def _study(sampler: BaseSampler) -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=sampler)


def _tell(study: optuna.Study, trial: optuna.Trial, found: Result, measured: list[Measured]) -> None:
    excess = _excess(found)
    measured.append(Measured(trial.params, trial.distributions, found.value, excess))
    trial.set_user_attr("excess", list(excess.values()))
    study.tell(trial, found.value)


def _excess(found: Result) -> dict[str, float]:
    return {str(place): ratio - 1 for place, ratio in enumerate(found.ratios)}


def _crash(study: optuna.Study, trial: optuna.Trial, *, learns: bool) -> None:
    if learns:
        study.tell(trial, state=TrialState.FAIL)
        return
    trial.set_user_attr("excess", [1.0, 1.0])
    worst = [other.value for other in study.trials if other.value is not None]
    study.tell(trial, min(worst, default=0.0))


def _ranked(measured: Sequence[Measured], earlier: Sequence[Earlier]) -> list[Mapping[str, Any]]:
    return [measured[place].parameters for place in ranked(measured, maximize=True, earlier=earlier)]


def bracketed(bench: Bench, seed: int) -> None:
    """Search configurations with our sampler; find the largest load of each on its live service."""
    problem = bench.problem
    if LOAD not in problem.space:
        sampled(_ours, bench, seed)
        return
    space = {name: entry for name, entry in problem.space.items() if name != LOAD}
    study, measured, loads = _study(_ours(seed)), list[Measured](), list[int]()
    study.enqueue_trial({name: value for name, value in problem.default.items() if name != LOAD})

    def ranking() -> list[Mapping[str, Any]]:
        order = ranked(measured, maximize=True)
        return [{**measured[place].parameters, LOAD: loads[place]} for place in order]

    bench.ranking = ranking
    while True:
        trial = study.ask(space)
        best = ranking()
        start = best[0][LOAD] if best else problem.default[LOAD]
        try:
            load, found = _largest_load(bench, trial.params, start, _value_of(measured, loads, best))
        except MemoryError:
            _crash(study, trial, learns=True)
            continue
        loads.append(load)
        _tell(study, trial, found, measured)


def _value_of(measured: Sequence[Measured], loads: Sequence[int], best: Sequence[Mapping[str, Any]]) -> float | None:
    """Return what the best configuration so far brought, None where there is none."""
    if not best:
        return None
    known = [{**trial.parameters, LOAD: load} for trial, load in zip(measured, loads, strict=True)]
    return measured[known.index(dict(best[0]))].value


def _largest_load(
    bench: Bench, parameters: Mapping[str, Any], start: float, to_beat: float | None
) -> tuple[int, Result]:
    entry: Any = bench.problem.space[LOAD]
    bracket = Bracket(start, least=entry.low, most=entry.high, to_beat=to_beat)
    seen: dict[float, Result] = {}
    while (load := bracket.load) is not None:
        seen[load] = bench.run({**parameters, LOAD: round(load)})
        bracket.tell(seen[load].strain / (1 - TIGHTENED), seen[load].value)
    return round(bracket.answer), seen[bracket.answer]


SEARCHES: dict[str, Callable[[Bench, int], None]] = {
    "auto, load inside": bracketed,
    "auto": partial(sampled, _ours),
    "auto, warm start": warmed,
    "optuna-gp": partial(sampled, _optunas_gp),
    "botorch": partial(sampled, _botorch),
    "tpe": partial(sampled, _tpe),
    "sobol": partial(sampled, lambda seed: QMCSampler(seed=seed, scramble=True)),
    "random": partial(sampled, lambda seed: RandomSampler(seed=seed)),
    "pso": swarm,
    "quick": quick,
    "brute": brute,
}
