"""How every study here measures a trial: on a service of its own, with the loads that the trial asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from pytest_msprof import Loader, Run, Service, Trial

__all__ = ["Launch", "Record", "measure"]

Launch: TypeAlias = "Callable[[Mapping[str, object]], AbstractContextManager[Service]]"
Record: TypeAlias = "Callable[[Run], Run]"


def measure(trial: Trial, launch_service: Launch, load_generator: Loader, record: Record) -> None:
    """Send the loads of *trial* to a service with its fields."""
    with launch_service(trial.fields) as service:
        for workload in trial.workloads():
            trial.tell(record(load_generator.run(workload, service)))
