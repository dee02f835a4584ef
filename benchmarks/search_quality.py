"""How near to the best configuration a search is after so many benchmark runs.

    python benchmarks/search_quality.py [--seeds 10] [--runs 50] [--problems smooth …] [--samplers ours …] [--held-out]

Every search gets the default first, on every problem of `search_problems`, with the noise of one run.
Prints the mean % of the optimum after 10, 20, 30 and 50 runs, with the 95 % interval of the mean over
seeds, and the share of runs that crashed. What counts is the true value of the configuration that the
search would recommend then; 0 where it breaks a limit. `--held-out` takes the one problem that no search
was tuned on instead.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import TrialState
from search_problems import HELD_OUT, PROBLEMS, Problem

from pytest_msprof.tuning import ConstrainedGPSampler
from pytest_msprof.tuning.plan import TIGHTENED
from pytest_msprof.tuning.ranking import Measured, ranked

SHOWN = (10, 20, 30, 50)
STARTUP = 6


def _constraints(trial: optuna.trial.FrozenTrial) -> Sequence[float]:
    return tuple(trial.user_attrs.get("excess", (1.0,)))


def _optunas_gp(seed: int) -> BaseSampler:
    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP, constraints_func=_constraints)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "ours": lambda seed: ConstrainedGPSampler(seed=seed, constraints_func=_constraints),
    "tpe": lambda seed: TPESampler(
        seed=seed, multivariate=True, group=True, n_startup_trials=STARTUP, constraints_func=_constraints
    ),
    "optuna-gp": _optunas_gp,
    "sobol": lambda seed: QMCSampler(seed=seed, scramble=True),
    "random": lambda seed: RandomSampler(seed=seed),
}


class Path(NamedTuple):
    """What one search came to after each of its runs."""

    worth: list[float]
    crashes: int


def search(problem: Problem, name: str, seed: int, runs: int) -> Path:
    """Run one search; return the true value of what it would recommend after each of `SHOWN`."""
    sampler = SAMPLERS[name](seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(dict(problem.default))
    noise, measured, crashes, worth = np.random.default_rng(seed), [], 0, []
    for done in range(1, runs + 1):
        trial = study.ask(dict(problem.space))
        try:
            value, ratios = problem.measure(trial.params, noise)
        except MemoryError:
            crashes += 1
            _crash(study, trial, len(problem_limits(problem)), learns=name == "ours")
        else:
            measured.append(Measured(trial.params, trial.distributions, value, _excess(ratios)))
            margin = 1 - TIGHTENED if name == "ours" else 1.0
            trial.set_user_attr("excess", [ratio / margin - 1 for ratio in ratios])
            study.tell(trial, value)
        if done in SHOWN:
            worth.append(problem.worth(_recommended(measured, learns=name == "ours")))
    return Path(worth, crashes)


def problem_limits(problem: Problem) -> Sequence[float]:
    """Return one ratio a limit, for counting them."""
    return problem.truth(**problem.default)[1]


def _excess(ratios: Sequence[float]) -> Mapping[str, float]:
    return {str(place): ratio - 1 for place, ratio in enumerate(ratios)}


def _recommended(measured: Sequence[Measured], *, learns: bool) -> Mapping[str, Any] | None:
    """Return the best trial that met the limits: by the posterior mean for ours, else by its one run."""
    if learns:
        return next((measured[place].parameters for place in ranked(measured, maximize=True)), None)
    held = [trial for trial in measured if trial.feasible]
    return max(held, key=lambda trial: trial.value).parameters if held else None


def _crash(study: optuna.Study, trial: optuna.Trial, limits: int, *, learns: bool) -> None:
    """Tell a crash as the harness does: FAIL where it is learned from, else the worst, infeasible."""
    if learns:
        study.tell(trial, state=TrialState.FAIL)
        return
    trial.set_user_attr("excess", [1.0] * limits)
    worst = [other.value for other in study.trials if other.value is not None]
    study.tell(trial, min(worst, default=0.0))


def main() -> None:
    """Run every search on the same seeds and print a table a problem, and one of the means."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--problems", nargs="+", default=[problem.name for problem in PROBLEMS])
    parser.add_argument("--samplers", nargs="+", default=["ours", "tpe", "sobol", "random"], choices=SAMPLERS)
    parser.add_argument("--held-out", action="store_true")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    problems = [HELD_OUT] if args.held_out else [entry for entry in PROBLEMS if entry.name in args.problems]
    shown = [runs for runs in SHOWN if runs <= args.runs]
    means: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in args.samplers}
    for problem in problems:
        best = problem.optimum()
        print(f"\n{problem.name} ({problem.crashing():.0%} of the space crashes)")
        print(f"{'% of the optimum after':<24}" + "".join(f"{runs:>14}" for runs in shown) + f"{'crashed':>10}")
        for name in args.samplers:
            paths = [search(problem, name, seed, args.runs) for seed in range(args.seeds)]
            worth = 100 / best * np.array([path.worth for path in paths])
            means[name].append(worth)
            print(_row(name, worth), f"{np.mean([path.crashes for path in paths]) / args.runs:>9.0%}", flush=True)
    if len(problems) > 1:
        print(f"\nmean of {len(problems)} problems")
        for name, found in means.items():
            print(_row(name, np.mean(found, axis=0)))


def _row(name: str, worth: np.ndarray[Any, Any]) -> str:
    mean, error = (
        worth.mean(axis=0),
        1.96 * worth.std(axis=0, ddof=1) / len(worth) ** 0.5 if len(worth) > 1 else worth[0] * 0,
    )
    return f"{name:<24}" + "".join(f"{f'{one:.1f} ± {other:.1f}':>14}" for one, other in zip(mean, error, strict=True))


if __name__ == "__main__":
    main()
