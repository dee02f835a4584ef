"""How near to the best configuration a search is after so many benchmark runs.

    python benchmarks/search_quality.py [--quick] [--seeds 10] [--runs 50] [--problems simulated …]
        [--searches auto …] [--group serving|others|narrow|held-out] [--plot FILE.svg]

Every search runs on every problem with the noise of one run, and each benchmark run counts, also those
that look for the load of one configuration. Prints the mean % of the optimum after 10, 20, 30 and 50
runs, with the 95 % interval of the mean over seeds; the share of runs that crashed; and how often what
four fresh launches confirmed truly breaks a limit. What counts is the true value of the configuration
that a search would recommend then; 0 where it breaks a limit. No search was tuned on `--group others`, six
problems made as hard as those of a published comparison, and on `--group held-out`, a single one; `--group narrow`
takes problems unlike serving on which little is found.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path as Path_
from typing import Any, NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices: threads would only wait for each other

import numpy as np
import optuna
from bench import Bench, Spent
from curves import plot
from held_out import HELD_OUT
from narrow_problems import NARROW
from other_problems import OTHERS
from problems import Problem
from search_problems import PROBLEMS
from searches import SEARCHES

from pytest_msprof.tuning.ranking import Launched, winner_of

SHOWN = (10, 20, 30, 50)
GROUPS = {"serving": PROBLEMS, "others": OTHERS, "narrow": NARROW, "held-out": (HELD_OUT,)}
NEEDED = {"optuna-gp": "torch", "botorch": "optuna_integration"}
"""Packages that searches are made of, for those that not everybody has."""
LAUNCHES = 4
STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 8: 2.36, 10: 2.26, 20: 2.09, 40: 2.02}
"""Seeds → the 97.5 % quantile of Student's t for their mean."""
Array = np.ndarray[Any, Any]


class Path(NamedTuple):
    """What one search came to."""

    worth: list[float]
    """% of the optimum after each of the shown numbers of runs."""
    crashed: float
    """Share of its runs."""
    confirmed: bool
    broken: bool
    """Whether what was confirmed truly breaks a limit."""


def follow(problem: Problem, name: str, seed: int, shown: Sequence[int]) -> Path:
    """Run one search to the end of its budget, and confirm what it found."""
    bench = Bench(problem, seed, max(shown), shown)
    with suppress(Spent):
        SEARCHES[name](bench, seed)
    crashed = len(bench.crashed) / max(bench.runs, 1)
    bench.finish()
    winner = _confirmed(bench)
    worth = [100 * value / problem.optimum() for value in bench.worth]
    return Path(worth, crashed, winner is not None, winner is not None and problem.worth(winner) == 0)


def _confirmed(bench: Bench) -> Mapping[str, Any] | None:
    """Launch winner, runner-up and default afresh, and decide as a session does."""
    candidates = list(bench.ranking())[:2]
    if not candidates:
        return None
    points = [bench.problem.default, *candidates]
    launched = [_launched(bench, number, point) for number, point in enumerate(points)]
    chosen = winner_of([*launched[1:], launched[0]], searched=1, maximize=True)
    return None if chosen is None else points[chosen]


def _launched(bench: Bench, number: int, point: Mapping[str, Any]) -> Launched:
    results = bench.launches(point, LAUNCHES)
    values = tuple(result.value for result in results)
    return Launched(number, values, failed=0, broken=sum(result.strain > 1 for result in results))


def main() -> None:
    """Run every search on the same seeds; print a table a problem, and one of the means."""
    args = _arguments()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    problems = [problem for problem in GROUPS[args.group] if any(name in problem.name for name in args.problems)]
    shown = [runs for runs in SHOWN if runs <= args.runs]
    found: dict[str, list[list[Path]]] = {name: [] for name in args.searches}
    for problem in problems:
        _header(f"{problem.name} ({problem.crashing():.0%} of the space crashes)", shown)
        for name in args.searches:
            found[name].append([follow(problem, name, seed, shown) for seed in range(args.seeds)])
            print(_row(name, found[name][-1:]), flush=True)
    if len(problems) > 1:
        _header(f"mean of {len(problems)} problems", shown)
        for name, paths in found.items():
            print(_row(name, paths))
    if args.plot:
        curves = {name: _curve(paths) for name, paths in found.items()}
        args.plot.write_text(plot(shown, curves, title=f"Mean of {len(problems)} problems, {args.seeds} seeds"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=50, choices=SHOWN)
    parser.add_argument("--group", default="serving", choices=GROUPS)
    parser.add_argument("--problems", nargs="+", default=[""], help="parts of their names")
    installed = [name for name in SEARCHES if find_spec(NEEDED.get(name, "optuna"))]
    parser.add_argument("--searches", nargs="+", default=installed, choices=SEARCHES)
    parser.add_argument("--plot", type=Path_, help="an SVG of the means over runs")
    parser.add_argument("--quick", action="store_true", help="two analytic problems, two seeds, 20 runs: a minute")
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.runs, args.problems = 2, 20, ["scheduling", "edge"]
    return args


def _header(title: str, shown: Sequence[int]) -> None:
    print(f"\n{title}")
    columns = "".join(f"{runs:>14}" for runs in shown)
    print(f"{'% of the optimum after':<24}{columns}{'crashed':>10}{'broken':>10}")


def _row(name: str, paths: Sequence[Sequence[Path]]) -> str:
    mean, error = _curve(paths)
    shown = "".join(f"{f'{one:.1f} ± {other:.1f}':>14}" for one, other in zip(mean, error, strict=True))
    every = [path for of_problem in paths for path in of_problem]
    crashed = np.mean([path.crashed for path in every])
    broken = sum(path.broken for path in every)
    return f"{name:<24}{shown}{crashed:>10.0%}{f'{broken}/{sum(path.confirmed for path in every)}':>10}"


def _curve(paths: Sequence[Sequence[Path]]) -> tuple[Array, Array]:
    """Return the mean over problems and seeds, and half its 95 % interval over seeds."""
    of_seeds = np.mean([[path.worth for path in of_problem] for of_problem in paths], axis=0)
    count = len(of_seeds)
    error = STUDENT.get(count, 1.96) * of_seeds.std(axis=0, ddof=1) / count**0.5 if count > 1 else of_seeds[0] * 0
    return of_seeds.mean(axis=0), error


if __name__ == "__main__":
    main()
