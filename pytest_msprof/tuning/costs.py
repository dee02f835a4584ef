"""What a trial takes: a start and a run, or a run alone where the service that runs already will do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_msprof.ids import digest
from pytest_msprof.results import Run, Value
from pytest_msprof.tuning.proposals import configured, parameters
from pytest_msprof.tuning.trial_log import facts_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from pytest_msprof.space import SearchSpace

__all__ = ["Costs", "facts_of_launch", "seconds_of"]

DEARER = 2.0
"""Times that a trial with a start must take longer than one without before anything depends on it."""
READY_AFTER = "ready_after"
"""Where the environment of a run says how many seconds its service took to start."""


def facts_of_launch(run: Run) -> dict[str, Value]:
    """Return what a trial remembers of the launch that it measured: which one, and the seconds of its start."""
    return {"launch": run.launch_id, "start_seconds": run.environment.get(READY_AFTER)}


class _Took(NamedTuple):
    """How long a trial took whose service this study started, or found running."""

    seconds: float
    start: float
    """Seconds of its start, 0 where the service ran already."""


class Costs:
    """Knows how much longer a trial takes that starts a service than one that finds it running.

    Everything is read from the log, so that a resumed study counts the same: the service that runs
    is that of the trial measured last, even if it was another process that started it.
    """

    def __init__(self, space: SearchSpace, is_load_side: Callable[[str], bool], worker: int = 0) -> None:
        self._space, self._is_load_side, self._worker = space, is_load_side, worker
        sides = {entry.name: is_load_side(entry.name) for entry in space.searched}
        self._server_side = [name for name, is_load in sides.items() if not is_load]
        self.can_differ = len({*sides.values()}) > 1
        """Whether the space has both fields that need a start and fields that do not."""
        self._key = ""
        self.factor = 1.0
        """How many times longer a trial with a start takes, 1 up to twice as long.

        The middle of its octave stands for it: timings scatter, and proposals should not.
        """
        self.running: dict[str, Any] = {}
        """The parameters that a trial must share to need no start; empty where nothing runs."""
        self.served = 0
        """Trials that the service which runs was measured for."""

    def learn(self, finished: Sequence[FrozenTrial]) -> None:
        """Read the finished trials, in the order of their numbers; a worker's service is that of its own last one."""
        self.factor, self.running, self.served = 1.0, {}, 0
        own = [trial for trial in finished if facts_of(trial).get("worker", 0) == self._worker]
        if (fields := _fields_running(own)) is None:
            return
        self.factor = _factor(seconds_of(finished))
        self._key = self._key_of(fields)
        given = parameters(self._space, fields)
        self.running = {name: given[name] for name in self._server_side if name in given}
        launches = [facts_of(trial).get("launch") for trial in own]
        self.served = launches.count(next(filter(None, reversed(launches))))

    def of(self, given: Mapping[str, Any]) -> float:
        """Return what a trial with the parameters *given* takes, as a multiple of one without a start."""
        return 1.0 if self.factor > 1 and self._needs_no_start(given) else self.factor

    def _needs_no_start(self, given: Mapping[str, Any]) -> bool:
        if any(given.get(name) != value for name, value in self.running.items()):
            return False
        return self._key_of(configured(self._space, given)) == self._key

    def _key_of(self, fields: Mapping[str, Value]) -> str:
        return digest({name: value for name, value in fields.items() if not self._is_load_side(name)})


def _fields_running(trials: Sequence[FrozenTrial]) -> dict[str, Value] | None:
    """Return the fields of the service that runs, None where none does: a failure ends it."""
    for trial in reversed(trials):
        if facts_of(trial).get("failure"):
            return None
        if "launch" in facts_of(trial):
            fields: dict[str, Value] = trial.user_attrs["fields"]
            return fields
    return None


def _taken(trials: Sequence[FrozenTrial]) -> list[_Took]:
    """Return what the trials took; the first of a launch is the one that waited for its start."""
    found, launches = [], set()
    for facts in map(facts_of, trials):
        if (launch := facts.get("launch")) is None or facts.get("start_seconds") is None:
            continue
        start = 0.0 if launch in launches else facts["start_seconds"]
        launches.add(launch)
        if "metrics" in facts:  # a trial that was left behind took less than a whole one
            found.append(_Took(facts["duration"], start))
    return found


class Seconds(NamedTuple):
    """Medians over the trials of a study."""

    start: float
    """From the command until the service is ready."""
    run: float
    """The rest of a trial."""
    both: float
    """A trial that starts a service."""


def seconds_of(finished: Sequence[FrozenTrial]) -> Seconds | None:
    """Return how long starts and runs take, None where no trial told."""
    taken = _taken(finished)
    started = [took for took in taken if took.start]
    alone = [took.seconds for took in taken if not took.start] or [took.seconds - took.start for took in started]
    if not started or (run := median(alone)) <= 0:
        return None
    return Seconds(median(took.start for took in started), run, median(took.seconds for took in started))


def _factor(took: Seconds | None) -> float:
    """Return how many times longer a start makes a trial; 1 where it is little, or nothing is known of it."""
    ratio = took.both / took.run if took else 1.0
    return 2.0 ** (math.floor(math.log2(ratio)) + 0.5) if ratio > DEARER else 1.0
