"""The noise between launches of one configuration, measured earlier: it stands in for missing launches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pytest_msprof.errors import ConfigurationError
from pytest_msprof.evidence import by_launch
from pytest_msprof.results import Run
from pytest_msprof.verdicts import MIN_LAUNCHES

__all__ = ["Floor", "floor_of", "floor_of_runs"]


class Floor(NamedTuple):
    """The noise between launches, and whose it is."""

    noise: Mapping[str, float]
    """Standard deviation between launches on the log scale, by metric."""
    told: str = "launches measured earlier"
    """Which launches show it, as a verdict says it."""


def floor_of_runs(runs: Sequence[Run], names: Iterable[str]) -> Floor | None:
    """Return the noise of the metrics *names* between the launches of *runs*, None where they are fewer than 4."""
    launches = {run.launch_id for run in runs}
    if len(launches) < MIN_LAUNCHES:
        return None
    first, last = min(run.started_at for run in runs), max(run.started_at for run in runs)
    days = dict.fromkeys((f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}"))
    try:
        noise = floor_of({name: by_launch(runs, name) for name in names})
    except ConfigurationError:
        return None
    return Floor(noise, f"{len(launches)} launches that this machine measured earlier ({' to '.join(days)})")


def floor_of(launches: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, float]:
    """Return the standard deviation between launches on the log scale, by metric; values of 0 have none.

    A deviation from few launches is uncertain itself: it is widened so that a normal interval with
    it is as wide as Student's with the true one's estimate (Student, Biometrika 6, 1908).

    Raises `ConfigurationError` where no metric has 4 launches.
    """
    from scipy.special import ndtri, stdtrit

    found = {}
    for name, loads in launches.items():
        if len(loads) < MIN_LAUNCHES or any(value <= 0 for values in loads for value in values):
            continue
        means = np.array([np.mean(np.log(values)) for values in loads])
        widened = float(stdtrit(len(means) - 1, 0.975) / ndtri(0.975))
        found[name] = float(means.std(ddof=1)) * widened
    if not found:
        most = max(map(len, launches.values()), default=0)
        raise ConfigurationError(f"a noise floor needs {MIN_LAUNCHES} launches of one configuration, but got {most}")
    return found
