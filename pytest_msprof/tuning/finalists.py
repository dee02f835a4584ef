"""Which trials are confirmed: the two that are most likely the best feasible ones, and the default."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pytest_msprof.tuning.plan import ROLES, Role, TunePlan
from pytest_msprof.tuning.ranking import Measured, ranked
from pytest_msprof.tuning.trial_log import facts_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from pytest_msprof.tuning.prior import Earlier

__all__ = ["Finalists", "measured_of"]


class Finalists:
    """Ranks the trials of a plan, anew when there are more of them."""

    def __init__(self, plan: TunePlan, earlier: Callable[[], Sequence[Earlier]] = tuple) -> None:
        self._plan = plan
        self._earlier = earlier
        """Trials of the study whose place this one takes, asked for when they are needed."""
        self._found: dict[Role, int] = {}
        self._among = -1

    def among(self, finished: Sequence[FrozenTrial]) -> dict[Role, int]:
        """Return the numbers of the finalists among the trials that have finished."""
        if len(finished) != self._among:
            self._found, self._among = self._ranked(finished), len(finished)
        return dict(self._found)

    def _ranked(self, finished: Sequence[FrozenTrial]) -> dict[Role, int]:
        known = measured_of(self._plan, finished)
        order = ranked([trial for _, trial in known], maximize=self._plan.maximize, earlier=self._earlier())
        best = [known[place][0] for place in order]
        found: dict[Role, int] = dict(zip(ROLES[:2], best, strict=False))
        if any(number == 0 for number, _ in known):
            found["default"] = 0
        return found


def measured_of(plan: TunePlan, finished: Sequence[FrozenTrial]) -> list[tuple[int, Measured]]:
    """Return the trials that were measured, by their numbers, as models of the space read them."""
    return [
        (
            trial.user_attrs["number"],
            Measured(
                trial.params, trial.distributions, trial.value or 0.0, plan.violations(facts_of(trial)["metrics"])
            ),
        )
        for trial in finished
        if _was_measured(trial)
    ]


def _was_measured(trial: FrozenTrial) -> bool:
    """Say whether there is something to confirm: what failed would fail again, what was left behind stays there."""
    return trial.value is not None and "metrics" in facts_of(trial)
