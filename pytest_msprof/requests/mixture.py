"""Spreading requests over several models, or over the adapters of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pytest_msprof.requests.draws import uniforms_between
from pytest_msprof.requests.request import Request

__all__ = ["Mixture"]


class Mixture:
    """Names drawn by their weights; a talk stays with its model, and a request that names one keeps it."""

    def __init__(self, weights: Mapping[str, float], key: str) -> None:
        self._names, self._key = list(weights), key
        self._edges = np.cumsum(list(weights.values())) / (sum(weights.values()) or 1.0)
        self._seen = 0

    def spread(self, requests: list[Request]) -> list[Request]:
        """Return the next requests with their models."""
        if not (self._names and requests):
            return requests
        begin, self._seen = self._seen, self._seen + len(requests)
        numbers = np.array(
            [place if request.session < 0 else request.session for place, request in enumerate(requests, begin)]
        )
        low, high = int(numbers.min()), int(numbers.max())
        drawn = uniforms_between(self._key, low, high + 1)[numbers - low]
        places = np.searchsorted(self._edges[:-1], drawn, side="right").tolist()
        return [
            request if request.model else replace(request, model=self._names[place])
            for request, place in zip(requests, places, strict=True)
        ]
