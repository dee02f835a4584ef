"""The monitor `server`: what vLLM, SGLang, TGI, Triton and the engine `runner` count themselves, from `/metrics`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from msprof_plugins.monitors.exposition import QUANTITIES, quantities
from pytest_msprof.http_client import ask
from pytest_msprof.monitors import Monitor, Watched
from pytest_msprof.redaction import redact

__all__ = ["ServerMonitor"]

TIMEOUT = 5.0


class ServerMonitor(Monitor):
    """Asks the service for its metrics: requests running and waiting, KV usage, preemptions, prefix hits, tokens.

    A service without `/metrics`, or with others than those it knows, is not watched.
    """

    counters: ClassVar[frozenset[str]] = frozenset(entry.name for entry in QUANTITIES if entry.rises)

    def start(self, watched: Watched) -> bool:
        """Ask once; where the user said where to ask, no answer is a failure."""
        beside = f"{watched.base_url.rstrip('/').removesuffix('/v1')}/metrics"
        self._url, self._watched = watched.metrics_url or beside, watched
        try:
            found = self.read()
        except OSError:
            if watched.metrics_url:
                raise
            return False
        if watched.metrics_url and not found:
            raise LookupError(f"{redact(self._url)} tells nothing that is known")
        return bool(found)

    def read(self) -> Mapping[str, float]:
        """Ask for the quantities."""
        answer = ask(self._url, key=self._watched.api_key, headers=self._watched.headers, timeout=TIMEOUT)
        return quantities(answer.text) if answer.ok else {}
