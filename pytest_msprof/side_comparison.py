"""Comparing two sides of launches, whoever measured them: an outer join, identity first, then verdicts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from pytest_msprof.change_points import change_points
from pytest_msprof.display import change
from pytest_msprof.errors import ConfigurationError
from pytest_msprof.limits import DEFAULT, Limit, resolve
from pytest_msprof.metric_table import METRICS, SAMPLE_NEEDED
from pytest_msprof.noise_floor import Floor, floor_of
from pytest_msprof.side_by_side import GATING, Row, SideBySide
from pytest_msprof.side_facts import in_time, side_of
from pytest_msprof.side_identity import obstacles_between
from pytest_msprof.sources.quantities import DIMENSIONS, Quantity
from pytest_msprof.sources.source import Name, Source, writable
from pytest_msprof.statistics import centre, shift
from pytest_msprof.verdicts import MIN_LAUNCHES, Delta, Direction, Known, judge

__all__ = ["compare_sources"]

ORDER = ("value", "mean", "max", "min", "p50", "p90", "p95", "p99")
ADVICE = "measure more launches, one folder each"


def compare_sources(
    current: Sequence[Source],
    golden: Sequence[Source],
    limits: Sequence[Limit] = (),
    *,
    paths: tuple[Path, Path] | None = None,
    floor: Sequence[Source] = (),
    across: Collection[str] = (),
) -> SideBySide:
    """Compare *current* with *golden*, launch by launch.

    *floor* are launches of one configuration, measured earlier on this machine: their scatter stands
    for the noise, so that fewer than 4 launches a side can have a verdict. *across* names what differs
    on purpose (`engine`, `dtype`); whatever else differs of what was asked makes the sides incomparable.

    With *limits* only their metrics decide; without, every metric does whose direction is known, and
    changes below 5 % count as none. Raises `UnknownName` for a limit of what no side has, and
    `ConfigurationError` for a floor that measured something else.
    """
    names = _ordered(current, golden)
    quantities = {name: _quantity(name, current, golden) for name in names}
    directions: dict[Name, Direction | None] = {name: quantities[name].better for name in names}
    wanted = resolve(limits, directions)
    counts = {name: _count(name, (*current, *golden)) for name in names}
    tolerance = (
        {name: limit.fraction for name, limit in wanted.items()}
        if limits
        else {
            name: DEFAULT
            for name in names
            if directions[name] and name.statistic in GATING and _supported(name, counts)
        }
    )
    reasons = obstacles_between(current, golden, across)
    meant = [f"on purpose: {reason}" for reason in obstacles_between(current, golden) if reason not in reasons]
    deltas = _deltas(names, current, golden, quantities, wanted, tolerance, counts, _noise(floor, golden))
    where = paths or (current[0].path, golden[0].path)
    return SideBySide(
        input=side_of(current, where[0]),
        golden=side_of(golden, where[1]),
        rows=tuple(_row(name, quantities[name], _refused(deltas[name]) if reasons else deltas[name]) for name in names),
        reasons=reasons,
        notes=(*meant, *_notes(current, golden, names), *_moves(current, golden, deltas)),
    )


def _ordered(current: Sequence[Source], golden: Sequence[Source]) -> list[Name]:
    """Return every figure of either side once: an outer join."""
    found = dict.fromkeys(name for source in (*golden, *current) for name in source.figures.values)
    keys = {key: place for place, key in enumerate(dict.fromkeys((name.dimension, name.key) for name in found))}

    def rank(name: Name) -> tuple[int, int, int]:
        statistic = ORDER.index(name.statistic) if name.statistic in ORDER else len(ORDER)
        return DIMENSIONS.index(name.dimension), keys[name.dimension, name.key], statistic

    return sorted(found, key=rank)


def _quantity(name: Name, current: Sequence[Source], golden: Sequence[Source]) -> Quantity:
    """Return how a figure is labelled: as a file of others spells it, golden first, else in our words."""
    spelled = [
        source.figures.quantities[name[:2]] for source in (*golden, *current) if name[:2] in source.figures.quantities
    ]
    return next((found for found in spelled if found.label != found.key), spelled[0])


def _count(name: Name, sources: Iterable[Source]) -> int | None:
    """Return the fewest values behind a figure, None where no file says."""
    found = [source.figures.counts.get(name[:2]) for source in sources if name in source.figures.values]
    return min((count for count in found if count is not None), default=None)


def _supported(name: Name, counts: Mapping[Name, int | None]) -> bool:
    count = counts[name]
    return count is None or count >= SAMPLE_NEEDED.get(name.statistic, 1)


def _by_launch(sources: Sequence[Source], name: Name) -> list[list[float]]:
    """Return the values of one figure, one list a launch; loads that were cut short are left out."""
    found: dict[str, list[float]] = {}
    for source in sources:
        if name in source.figures.values and (source.run is None or source.run.complete):
            found.setdefault(source.launch_id, []).append(source.figures.values[name])
    return list(found.values())


def _deltas(
    names: Sequence[Name],
    current: Sequence[Source],
    golden: Sequence[Source],
    quantities: Mapping[Name, Quantity],
    wanted: Mapping[Name, Limit],
    tolerance: Mapping[Name, float],
    counts: Mapping[Name, int | None],
    floor: Floor,
) -> dict[Name, Delta]:
    sides = {name: (_by_launch(golden, name), _by_launch(current, name)) for name in names}
    known = {
        str(name): Known(quantities[name].unit, _direction(quantities[name], wanted.get(name)))
        if _supported(name, counts)
        else Known(quantities[name].unit, None)
        for name in names
    }
    decides = {str(name): fraction for name, fraction in tolerance.items() if all(sides[name]) or name in wanted}
    measured = {
        str(name): shift(*sides[name], noise=floor.noise.get(str(name)) if _is_short(sides[name]) else None)
        for name in names
        if all(sides[name])
    }
    ours = all(source.run for source in (*current, *golden))
    judged = judge(measured, decides, known=known, advice="" if ours else ADVICE, floor_told=floor.told)
    found = {}
    for name in names:
        delta = judged.get(str(name)) or _one_sided(name, sides[name], quantities[name], name in wanted)
        if not _supported(name, counts) and delta.verdict == "descriptive":
            needed = f"{name.statistic} needs {SAMPLE_NEEDED[name.statistic]} values, but got {counts[name]}"
            delta = delta.model_copy(update={"better": quantities[name].better, "reason": needed})
        found[name] = delta
    return found


def _noise(floor: Sequence[Source], golden: Sequence[Source]) -> Floor:
    """Return the noise between launches by figure, none where no *floor* was measured."""
    if not floor:
        return Floor({})
    if reasons := obstacles_between(floor, golden, sides=("floor", "golden")):
        raise ConfigurationError(f"the noise floor measured something else than golden: {'; '.join(reasons)}")
    launches = {str(name): _by_launch(floor, name) for name in _ordered(floor, ())}
    count = len({source.launch_id for source in floor})
    return Floor(floor_of(launches), f"{count} launches measured earlier")


def _is_short(sides: tuple[list[list[float]], list[list[float]]]) -> bool:
    """Say whether a side has too few launches to show its noise itself, and all values have logarithms."""
    return min(map(len, sides)) < MIN_LAUNCHES and all(value > 0 for side in sides for loads in side for value in loads)


def _direction(found: Quantity, limit: Limit | None) -> Direction | None:
    return (limit.better if limit else None) or found.better


def _one_sided(
    name: Name,
    sides: tuple[list[list[float]], list[list[float]]],
    found: Quantity,
    gates: bool,  # noqa: FBT001
) -> Delta:
    """Describe a figure that one side does not have."""
    then, now = sides
    missing = [side for side, values in (("input", now), ("golden", then)) if not values]
    return Delta(
        metric=str(name),
        unit=found.unit,
        better=found.better,
        golden=centre(then) if then else None,
        current=centre(now) if now else None,
        verdict="incomparable",
        launches_golden=len(then),
        launches_current=len(now),
        gates=gates,
        reason=f"missing in {' and '.join(missing)}",
    )


def _refused(delta: Delta) -> Delta:
    return delta.model_copy(update={"verdict": "incomparable", "p_value": None})


def _notes(current: Sequence[Source], golden: Sequence[Source], names: Iterable[Name]) -> tuple[str, ...]:
    told = chain.from_iterable(source.notes for source in (*current, *golden))
    return tuple(dict.fromkeys(map(writable, (*told, *_kinds(current, golden), *_renamed(current, golden, names)))))


def _kinds(current: Sequence[Source], golden: Sequence[Source]) -> Iterator[str]:
    now, then = (sorted({source.kind for source in side}) for side in (current, golden))
    if now != then:
        yield (
            f"input is {' and '.join(now)}, golden is {' and '.join(then)}: what they call the same they may measure "
            "at another place or by another definition"
        )


def _renamed(current: Sequence[Source], golden: Sequence[Source], names: Iterable[Name]) -> Iterator[str]:
    for found in dict.fromkeys(name[:2] for name in names):
        now, then = (_labels(side, found) for side in (current, golden))
        if now and then and now != then and found[1] not in METRICS:
            yield f"{' or '.join(now)} of input and {' or '.join(then)} of golden are taken for the same"


def _labels(side: Sequence[Source], found: tuple[str, str]) -> list[str]:
    return sorted({source.figures.quantities[found].label for source in side if found in source.figures.quantities})


def _moves(current: Sequence[Source], golden: Sequence[Source], deltas: Mapping[Name, Delta]) -> Iterator[str]:
    """Say where the launches of one side are not of one level: a verdict on their mean is one on a mixture."""
    deciding = [name for name, delta in deltas.items() if delta.gates]
    for title, side in (("input", current), ("golden", golden)):
        ordered = in_time(side)
        for name in deciding:
            values = [centre([loads]) for loads in _by_launch(ordered, name)]
            for split in change_points(values, family=len(deciding)) if all(value > 0 for value in values) else ():
                yield (
                    f"{name} of {title} has another level from launch {split + 1} of {len(values)} on "
                    f"({change(centre([values[split:]]) / centre([values[:split]]) - 1)}): its launches are a mixture"
                )


def _row(name: Name, found: Quantity, delta: Delta) -> Row:
    return Row(
        dimension=name.dimension,
        key=name.key,
        statistic=name.statistic,
        label=found.label,
        per_unit=found.per_unit,
        delta=delta,
    )
