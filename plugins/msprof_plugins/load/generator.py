"""The load generator `builtin`: plans the requests, runs the load, sums up."""

from __future__ import annotations

from msprof_plugins.load.crew import Crew
from msprof_plugins.load.division import workers_for
from msprof_plugins.load.report import measurement_of
from msprof_plugins.load.share import Outcome, Share
from pytest_msprof.errors import ConfigurationError, UnknownName
from pytest_msprof.interfaces import LoadGenerator, LoadJob
from pytest_msprof.requests import Plan, plan
from pytest_msprof.results import Measurement

__all__ = ["StreamingLoad"]

FIELDS = ("workers",)
PATIENCE = 10.0
"""Seconds without any answer after which a load is given up."""


class StreamingLoad(LoadGenerator):
    """Streams completions and chats over kept connections, in this process or in several where one is not enough.

    Definitions are those of `pytest_msprof.metrics`. The clock of a request starts with its first
    byte on an open connection; a success has status 200, content, an end that says so, and no error.

    The load-side field `workers` says how many processes send; without it the load decides.
    """

    def __init__(self, *, patience: float = PATIENCE) -> None:
        self.patience = patience

    def generate(self, job: LoadJob) -> Measurement:
        """Send the load and measure.

        Raises `LoadError` when no request succeeded. An interrupt hands on what was measured first.
        """
        planned = self._plan(job)
        share = Share(job, planned, patience=self.patience)
        workers = _workers(job, planned)
        outcome = share.run() if workers == 1 else self._divided(share, job, planned, workers)
        return measurement_of(job, planned, outcome, place=share.origin.place, patience=self.patience)

    def warm_up(self, job: LoadJob) -> None:
        """Send the warm-up requests of *job* only, for a program that then sends the rest."""
        Share(job, self._plan(job), patience=self.patience).warm_up()

    def _divided(self, share: Share, job: LoadJob, planned: Plan, workers: int) -> Outcome:
        share.warm_up()
        with Crew(job, planned, workers=workers, patience=self.patience) as crew:
            return crew.run()

    def _plan(self, job: LoadJob) -> Plan:
        return plan(job.workload, tokenizer=job.target.tokenizer, repeat=job.repeat, step=job.step)


def _workers(job: LoadJob, planned: Plan) -> int:
    """Return how many processes send; raises what says that a field is none of ours, or makes no sense."""
    for name in job.fields:
        if name not in FIELDS:
            raise UnknownName("field of load generator 'builtin'", name, FIELDS)
    most = min(planned.concurrency or len(planned.requests), len(planned.requests))
    asked = job.fields.get("workers")
    if asked is None:
        return workers_for(job.workload, planned)
    if not isinstance(asked, int) or not 1 <= asked <= most:
        raise ConfigurationError(f"workers of this load may be 1 to {most}, but got {asked!r}")
    talks = job.workload.sessions or (job.workload.trace and any(request.turn for request in planned.requests))
    if asked > 1 and (talks or (job.workload.duration and planned.due is None)):
        raise ConfigurationError("talks, and closed loops that a duration ends, are sent by one worker")
    return asked
