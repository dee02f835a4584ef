"""What reports show of one side of a comparison: its launches, in the order they were made, and what they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_msprof.side_by_side import Side, SourceFacts
from pytest_msprof.sources.source import Source, writable
from pytest_msprof.sources.spread import mixture

__all__ = ["in_time", "side_of"]


def side_of(sources: Sequence[Source], path: Path) -> Side:
    """Return what reports show of one side, read from *path*."""
    histogram: dict[int, int] = {}
    for source in sources:
        for size, count in source.histogram.items():
            histogram[size] = histogram.get(size, 0) + count
    return Side(
        path=writable(str(path)),
        sources=tuple(map(_facts, in_time(sources))),
        histogram=dict(sorted(histogram.items())),
        shapes=_shapes(sources),
    )


def in_time(sources: Sequence[Source]) -> list[Source]:
    """Put runs of ours in the order they were made; others stay in that of their names."""
    return sorted(sources, key=lambda source: source.run.started_at.timestamp() if source.run else 0.0)


def _shapes(sources: Sequence[Source]) -> dict[str, tuple[float, ...]]:
    """Return the distributions over all sources, each of which counts alike however many values it has."""
    names = dict.fromkeys(name for source in sources for name in source.figures.shapes)
    found = {
        name: [source.figures.shapes[name] for source in sources if name in source.figures.shapes] for name in names
    }
    return {".".join(name): mixture(shapes) for name, shapes in found.items()}


def _facts(source: Source) -> SourceFacts:
    return SourceFacts(
        path=writable(str(source.path)),
        kind=source.kind,
        launch=writable(source.launch_id),
        identity={name: writable(value) for name, value in source.identity.items()},
        environment={name: writable(value) for name, value in source.environment.items()},
        figures={str(name): value for name, value in source.figures.values.items()},
    )
