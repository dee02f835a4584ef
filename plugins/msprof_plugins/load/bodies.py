"""The JSON body of each request: what is asked, and the options of engine, workload and request."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from msprof_plugins.load.dialects import Dialect
from pytest_msprof.interfaces import Target
from pytest_msprof.requests import Request
from pytest_msprof.workload import Workload

__all__ = ["Bodies"]

FORCING = ("ignore_eos", "min_tokens")
"""Options that make an engine go on where the model would end."""


class Bodies:
    """Makes bodies in one dialect for one target."""

    def __init__(self, dialect: Dialect, workload: Workload, target: Target) -> None:
        self._dialect, self._workload, self._target = dialect, workload, target
        self._options = lru_cache(maxsize=1024)(self._options_for)

    def body(self, request: Request) -> dict[str, Any]:
        """Return the body of *request*; a field that is None is left out, and what the request says itself wins."""
        options = self._options(request.output_tokens)
        body = self._dialect.body(request, model=request.model or self._target.model, options=options)
        body |= {**self._workload.extra_body, **request.extra}
        return {name: value for name, value in body.items() if value is not None}

    def path(self, request: Request) -> str:
        """Return where *request* goes."""
        return self._dialect.path_for(request.model or self._target.model)

    def _options_for(self, output_tokens: int) -> dict[str, Any]:
        options = dict(self._target.request_options(output_tokens))
        if not self._workload.ignore_eos:
            options = {name: value for name, value in options.items() if name not in FORCING}
        return {**options, **self._workload.sampling}
