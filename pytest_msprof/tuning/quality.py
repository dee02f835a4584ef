"""Whether a configuration still answers as the default does, so that none wins by answering wrongly."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_msprof.errors import ConfigurationError
from pytest_msprof.metric_table import AGREEMENT, QUALITY
from pytest_msprof.probe import Answers, agreement, ask_probes

if TYPE_CHECKING:
    from pytest_msprof.service import Service
    from pytest_msprof.tuning.study import TuneStudy

__all__ = ["Judge", "Scorers"]

REFERENCE = "reference"
"""The study's attribute that holds what the default answered."""
PAUSE = 0.2
Scorers = Callable[["Service", tuple[str, ...]], Mapping[str, float]]
"""Asks plugins for figures of the answers, by the names that a study limits."""


class Judge:
    """Measures what one trial's service answers, once a launch, for the metrics that the plan names."""

    def __init__(self, study: TuneStudy, number: int, scorers: Scorers) -> None:
        self._study, self._number, self._scorers = study, number, scorers
        self._found: dict[str, dict[str, float]] = {}

    def __call__(self, service: Service) -> Mapping[str, float]:
        """Return the metrics of the answers of *service*; empty where the plan names none."""
        if service.launch_id not in self._found:
            self._found[service.launch_id] = self._measured(service)
        return self._found[service.launch_id]

    def _measured(self, service: Service) -> dict[str, float]:
        wanted = self._study.plan.metrics
        found = {AGREEMENT: self._agreement(service)} if AGREEMENT in wanted else {}
        names = tuple(name.partition(".")[2] for name in wanted if name.startswith(f"{QUALITY}."))
        if names:
            found |= {f"{QUALITY}.{name}": value for name, value in self._scorers(service, names).items()}
        return found

    def _agreement(self, service: Service) -> float:
        """Return how far the answers are the reference's, over how far the reference is its own when asked twice."""
        answers = ask_probes(service)
        reference = self._reference(service, answers)
        return min(1.0, agreement(reference["answers"], answers) / float(reference["itself"]))

    def _reference(self, service: Service, answers: Answers) -> dict[str, Any]:
        """Return what the default answered; where it does not start, what the first one that does answered."""
        while self._number and self._known() is None and self._study.is_measuring(0):
            time.sleep(PAUSE)  # another worker has the default
        if (known := self._known()) is not None:
            return known
        itself = agreement(answers, ask_probes(service))
        if not itself:
            raise ConfigurationError(
                f"{service.engine} answers the same greedy question differently each time, so {AGREEMENT!r} says "
                f"nothing; subject_to={{{AGREEMENT!r}: None}} leaves it out"
            )
        return self._study.settle(REFERENCE, {"number": self._number, "answers": answers, "itself": itself})

    def _known(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._study.attributes.get(REFERENCE)
        return found
