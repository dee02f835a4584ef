"""What one pass over a batch took, step by step, and the figures that follow. Pure: no torch, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.metrics import measure
from pytest_msprof.results import Measurement
from pytest_msprof.samples import Sample, Samples
from pytest_msprof.series import Series

__all__ = ["Passage", "measured"]


@dataclass(frozen=True, slots=True)
class Passage:
    """One pass over a batch: every step, with the device synchronised at its end."""

    step_ends: NDArray[np.float64]
    """Seconds from the start to the end of each step, shape ``(steps,)``; the first step is the prefill."""
    input_tokens: tuple[int, ...]
    """Tokens of each prompt, without padding."""
    answers: tuple[tuple[int, ...], ...]
    """Token ids of each answer, its end-of-sequence token included; nothing after it."""
    stopped: tuple[bool, ...]
    """Whether each answer ended with that token."""
    memory: Mapping[str, int] = field(default_factory=dict)
    """Largest use meanwhile, in bytes: `host_memory`, and `device_memory` where the device has its own."""

    @property
    def prefill(self) -> float:
        """Seconds until the first tokens."""
        return float(self.step_ends[0])

    @property
    def steps(self) -> NDArray[np.float64]:
        """Seconds of each decode step, shape ``(steps - 1,)``."""
        return np.diff(self.step_ends)


def measured(passage: Passage, phases: Mapping[str, float], *, notes: tuple[str, ...] = ()) -> Measurement:
    """Return every figure of *passage*; *phases* are seconds that came before, by metric name.

    The requests of a batch begin together: each has its first token at the end of the prefill, one
    more at the end of every step, and ends with its last. Nothing is left out, the first step neither.
    """
    found = measure(_samples(passage), float(passage.step_ends[-1]), notes=notes)
    return replace(
        found, metrics={**found.metrics, **_rates(passage), **passage.memory, **phases}, series=_series(passage)
    )


def _samples(passage: Passage) -> Samples:
    return Samples.of(
        [
            Sample(
                due=0.0,
                start=0.0,
                ttft=passage.prefill,
                latency=(end := float(passage.step_ends[len(answer) - 1])),
                closed=end,
                input_tokens=asked,
                output_tokens=len(answer),
                gaps=tuple(passage.steps[: len(answer) - 1].tolist()),
                token_source="runner",  # noqa: S106 - who counted the tokens, no secret
                finish_reason="stop" if stopped else "length",
            )
            for asked, answer, stopped in zip(passage.input_tokens, passage.answers, passage.stopped, strict=True)
        ]
    )


def _rates(passage: Passage) -> dict[str, float]:
    """Return tokens a second: of all prompts over the prefill, of what came after the first tokens over the rest."""
    rates = {"prefill_throughput": sum(passage.input_tokens) / passage.prefill}
    decoded = sum(len(answer) - 1 for answer in passage.answers)
    if decoded:
        rates["decode_throughput"] = decoded / float(passage.steps.sum())
    return rates


def _series(passage: Passage) -> dict[str, Series]:
    """Return what was measured, raw: the prefill and each step, at the moment each began."""
    found = {"prefill": Series(np.zeros(1), np.array([passage.prefill]))}
    if passage.steps.size:
        found["decode_step"] = Series(passage.step_ends[:-1], passage.steps)
    return found
