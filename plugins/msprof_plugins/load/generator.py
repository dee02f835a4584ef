"""The load generator `builtin`: plans the requests, runs the load, sums up."""

from __future__ import annotations

from msprof_plugins.load.report import measurement_of
from msprof_plugins.load.share import Share
from pytest_msprof.errors import UnknownName
from pytest_msprof.interfaces import LoadGenerator, LoadJob
from pytest_msprof.requests import plan
from pytest_msprof.results import Measurement

__all__ = ["StreamingLoad"]

PATIENCE = 10.0
"""Seconds without any answer after which a load is given up."""


class StreamingLoad(LoadGenerator):
    """Streams completions and chats over kept connections, in this process.

    Definitions are those of `pytest_msprof.metrics`. The clock of a request starts with its first
    byte on an open connection; a success has status 200, content, an end that says so, and no error.
    """

    def __init__(self, *, patience: float = PATIENCE) -> None:
        self.patience = patience

    def generate(self, job: LoadJob) -> Measurement:
        """Send the load and measure.

        Raises `LoadError` when no request succeeded. An interrupt hands on what was measured first.
        """
        if job.fields:
            raise UnknownName("field of load generator 'builtin'", next(iter(job.fields)), ())
        share = self._share(job)
        outcome = share.run()
        return measurement_of(job, share.plan, outcome, place=share.origin.place, patience=self.patience)

    def warm_up(self, job: LoadJob) -> None:
        """Send the warm-up requests of *job* only, for a program that then sends the rest."""
        self._share(job).warm_up()

    def _share(self, job: LoadJob) -> Share:
        planned = plan(job.workload, tokenizer=job.target.tokenizer, repeat=job.repeat, step=job.step)
        return Share(job, planned, patience=self.patience)
