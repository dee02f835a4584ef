"""What became of each metric: improved, regressed, unchanged, or not known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from pytest_msprof.metrics import METRICS
from pytest_msprof.statistics import Difference, Shift, holm

__all__ = ["MIN_LAUNCHES", "Delta", "Direction", "Known", "Verdict", "judge"]

Verdict = Literal["regressed", "incomparable", "inconclusive", "descriptive", "unchanged", "improved"]
"""Worst first."""

Direction = Literal["lower", "higher"]

MIN_LAUNCHES = 4
"""Launches a side that a verdict needs: two starts of one configuration differ by up to 50 %."""
ALPHA = 0.05


class Known(NamedTuple):
    """What is known of a metric that stands in no table of ours."""

    unit: str
    better: Direction | None


class Delta(BaseModel):
    """What became of one metric."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    metric: str
    unit: str = ""
    better: Direction | None = None
    """Which way is better; None for a metric of a plugin, which nobody can judge."""
    golden: float | None = None
    """Mean over launches, geometric where no value is 0; None where it was not measured."""
    current: float | None = None
    spread_golden: float | None = None
    """Standard deviation between launches as a share of their mean; None for a single launch."""
    spread_current: float | None = None
    change: float | None = None
    """Relative to golden, signed: 0.185 is +18.5 %."""
    low: float | None = None
    """Lower end of the 95 % interval of the change; None where the noise is unknown."""
    high: float | None = None
    tolerance: float | None = None
    p_value: float | None = None
    """Chance of such a difference if nothing changed, by Holm's correction over the metrics judged together."""
    verdict: Verdict
    launches_golden: int = 0
    launches_current: int = 0
    detectable: float | None = None
    """Smallest change for the worse that this many launches would call in 80 % of cases."""
    gates: bool = False
    reason: str = ""
    """Why the verdict is what it is, where the figures alone do not say it."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """One metric and the rules it is judged by."""

    name: str
    measured: Shift
    tolerance: float | None
    pending: int
    in_study: bool = False
    """Whether a study asks, which gets its launches another way than a comparison with golden runs."""
    family: int = 1
    """Metrics judged together with this one."""
    known: Known | None = None
    """What its unit and direction are; None: what the metric table says."""
    advice: str = ""
    """What a user does to get more launches, where that is no option of ours."""
    floor_told: str = ""
    """Which launches showed the noise, where it was known beforehand."""

    @property
    def entry(self) -> Known:
        if self.known:
            return self.known
        entry = METRICS.get(self.name.partition(".")[0])
        return Known(entry.unit, entry.better) if entry else Known("", None)

    @property
    def better(self) -> Direction | None:
        return self.entry.better

    @property
    def difference(self) -> Difference:
        return self.measured.difference or Difference(0.0, math.inf)

    @property
    def band(self) -> tuple[float, float]:
        return self.measured.band(self.tolerance or 0.0)

    @property
    def noise_is_known(self) -> bool:
        """Whether an earlier measurement stands for the noise between launches."""
        return math.isinf(self.difference.degrees) and math.isfinite(self.difference.error)

    @property
    def obstacle(self) -> tuple[Verdict, str] | None:
        """Why there is no verdict yet, None where there is one."""
        sides = ("the winner's", "the default's") if self.in_study else ("now", "golden")
        launches = f"{self.measured.launches_current} {sides[0]}, {self.measured.launches_golden} {sides[1]}"
        if self.measured.difference is None:
            return "incomparable", f"golden is {self.measured.golden:g}: no change is relative to it"
        if self.better is None:
            return "descriptive", "which way is better is not known"
        if self.pending:
            return "descriptive", f"{self.pending} more launches are planned ({launches})"
        if (
            min(self.measured.launches_golden, self.measured.launches_current) < MIN_LAUNCHES
            and not self.noise_is_known
        ):
            needed = f"a verdict needs {MIN_LAUNCHES} launches a side"
            return "descriptive", f"{needed} ({launches}): {self._more_launches}"
        return None

    @property
    def _more_launches(self) -> str:
        """What a user does to get the launches that are missing."""
        if self.advice:
            return self.advice
        if self.in_study:
            return f"confirm={MIN_LAUNCHES}"
        if self.measured.launches_current >= MIN_LAUNCHES:
            return "--msprof-update-golden makes those of this session golden"
        return f"--msprof-repeat {MIN_LAUNCHES}"

    def decide(self, adjusted: float) -> tuple[Verdict, str]:
        """Return the verdict and its reason; *adjusted* is the p-value of a change beyond the tolerance."""
        by_floor = f"by the noise between {self.floor_told}" if self.noise_is_known else ""
        if adjusted < ALPHA:
            worse = (self.difference.estimate > 0) == (self.better == "lower")
            return ("regressed" if worse else "improved"), by_floor
        (low, high), (floor, ceiling) = self.difference.interval(), self.band
        if low == high == 0.0:
            return "unchanged", "the same in every launch"
        if self.tolerance and floor <= low and high <= ceiling:
            return "unchanged", by_floor
        if self.difference.p_value(*self.band) < ALPHA:
            return (
                "inconclusive",
                f"one of {self.family} metrics looks like this by chance too often (Holm's correction)",
            )
        if self.tolerance is None:
            return "inconclusive", "not distinguishable"
        return (
            "inconclusive",
            f"the interval crosses the tolerance of {self.tolerance:.3g}: more launches would narrow it",
        )

    def delta(self, verdict: Verdict, reason: str, p_value: float | None) -> Delta:
        """Write everything down."""
        known = self.measured.difference is not None
        low, high = self.difference.interval() if math.isfinite(self.difference.error) else (math.inf, math.inf)
        return Delta(
            metric=self.name,
            unit=self.entry.unit,
            better=self.better,
            golden=self.measured.golden,
            current=self.measured.current,
            spread_golden=self.measured.spread_golden,
            spread_current=self.measured.spread_current,
            change=self.measured.relative(self.difference.estimate) if known else None,
            low=self.measured.relative(low),
            high=self.measured.relative(high),
            tolerance=self.tolerance,
            p_value=p_value,
            verdict=verdict,
            launches_golden=self.measured.launches_golden,
            launches_current=self.measured.launches_current,
            detectable=self._detectable(),
            gates=self.tolerance is not None,
            reason=reason,
        )

    def _detectable(self) -> float | None:
        shortest = self.difference.detectable(alpha=ALPHA / self.family)
        low, high = self.band
        found = self.measured.relative(low - shortest if self.better == "higher" else high + shortest)
        return None if found is None else abs(found)


def judge(
    measured: Mapping[str, Shift],
    tolerance: Mapping[str, float],
    *,
    pending: int = 0,
    corrected: bool = True,
    known: Mapping[str, Known] | None = None,
    advice: str = "",
    floor_told: str = "launches measured earlier",
) -> dict[str, Delta]:
    """Return the verdict on each metric.

    *known* has units and directions of metrics that stand in no table of ours, *advice* says how to
    get more launches where no option of ours does, *floor_told* which launches showed a noise that
    was known beforehand.

    A metric is improved or regressed when the 95 % interval of its change lies beyond the
    tolerance, or excludes 0 where it has none. Holm's correction runs over the metrics of the
    tolerance, and over the others by themselves, unless not *corrected*.
    """
    claims = [
        _Claim(
            name,
            shift,
            tolerance.get(name),
            pending,
            in_study=not corrected,
            known=(known or {}).get(name),
            advice=advice,
            floor_told=floor_told,
        )
        for name, shift in measured.items()
    ]
    gating = _judge_family([claim for claim in claims if claim.tolerance is not None], corrected=corrected)
    others = _judge_family([claim for claim in claims if claim.tolerance is None], corrected=corrected)
    return gating | others


def _judge_family(claims: Sequence[_Claim], *, corrected: bool) -> dict[str, Delta]:
    """Judge metrics of which none may be a false alarm in 95 % of cases."""
    waiting = [(claim, claim.obstacle) for claim in claims]
    found = {claim.name: claim.delta(*obstacle, None) for claim, obstacle in waiting if obstacle}
    ready = [claim for claim, obstacle in waiting if not obstacle]
    size, adjust = (len(ready), holm) if corrected else (1, list)
    changed = adjust([claim.difference.p_value() for claim in ready])
    beyond = adjust([claim.difference.p_value(*claim.band) for claim in ready])
    for single, p_value, adjusted in zip(ready, changed, beyond, strict=True):
        claim = replace(single, family=size)
        found[claim.name] = claim.delta(*claim.decide(adjusted), p_value)
    return found
