"""Where an answer ends by its own words: text that comes piece by piece, up to one of several strings."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["UpTo"]


class UpTo:
    """Gives out text as far as it cannot be the beginning of one of *stops*, and nothing from the first of them on."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        """What came, but may belong to a stop."""
        self.is_over = False
        """Whether a stop was met."""

    def add(self, piece: str) -> str:
        """Return what *piece* lets out."""
        if self.is_over:
            return ""
        text = self._held + piece
        met = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if met:
            self.is_over, self._held = True, ""
            return text[: min(met)]
        kept = max((_begun(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def rest(self) -> str:
        """Return what was held back, where nothing follows it."""
        held, self._held = self._held, ""
        return held


def _begun(text: str, stop: str) -> int:
    """Return how many characters at the end of *text* are the beginning of *stop*."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
