"""Tune an engine over the fields of its settings; run by `pytest-msprof optimizer`."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_msprof.optimizer_study import OBJECTIVE, current

STUDY = current()


@pytest.mark.tune(
    STUDY.space,
    workload=STUDY.workload,
    objective=OBJECTIVE,
    subject_to=STUDY.subject_to,
    n_trials=STUDY.n_trials,
    search=STUDY.search,
)
def test_optimizer(trial: Any, launch_service: Any, load_generator: Any, record: Any) -> None:
    """Start one configuration, send the load, and tell the study what came of it."""
    with launch_service(trial.fields) as service:
        for workload in trial.workloads():
            trial.tell(record(load_generator.run(workload, service)))
