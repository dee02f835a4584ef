"""The JSON body of each request: what is asked, and the options of engine, workload and request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from msprof_plugins.load.dialects import Dialect
from pytest_msprof.interfaces import Target
from pytest_msprof.requests import Request
from pytest_msprof.workload import Workload

__all__ = ["Bodies"]

FORCING = ("ignore_eos", "min_tokens")
"""Options that make an engine go on where the model would end."""


CONFIG = "generation_config"
"""How `transformers serve` is told: JSON inside the JSON, in the place of the model's own configuration."""


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
        options, sampling = dict(self._target.request_options(output_tokens)), self._workload.sampling
        if not self._workload.ignore_eos:
            options = _unforced(options)
        if sampling and CONFIG in options:
            options[CONFIG] = _sampled(options[CONFIG], sampling)
        return {**options, **sampling}


def _unforced(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return *options* that let the model end; a generation config would put the model's own aside."""
    kept = {name: value for name, value in options.items() if name not in (*FORCING, CONFIG)}
    if CONFIG in options:
        kept |= {"temperature": 0, "max_tokens": json.loads(options[CONFIG])["max_new_tokens"]}
    return kept


def _sampled(config: str, sampling: Mapping[str, Any]) -> str:
    """Return a generation config that samples; what stands beside it in the body does not switch that on."""
    return json.dumps({**json.loads(config), **sampling, "do_sample": sampling.get("temperature", 1) != 0})
