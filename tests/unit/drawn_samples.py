"""Requests as Hypothesis draws them: successes, failures of every stage, waits and odd chunks."""

from __future__ import annotations

from hypothesis import strategies as st

from pytest_msprof import Sample, Samples

NAN = float("nan")
TIMES = st.floats(0.001, 3.0)


@st.composite
def single(draw) -> Sample:
    due = draw(st.floats(0, 8))
    start = due + draw(st.sampled_from([0.0, 0.0, 0.25]))
    stage = draw(st.sampled_from(["ok", "ok", "ok", "connect", "cut"]))
    if stage == "connect":
        return Sample(due=due, start=start, error=stage)
    gaps = tuple(draw(st.lists(TIMES, max_size=6)))
    ttft, first = draw(TIMES), draw(st.integers(1, 3))
    latency = ttft + sum(gaps)
    return Sample(
        due=due,
        start=start,
        ttft=ttft,
        latency=latency,
        closed=latency + draw(st.sampled_from([0.0, 0.1])),
        output_tokens=first + len(gaps) * draw(st.integers(1, 2)),
        first_tokens=first,
        gaps=gaps,
        error="" if stage == "ok" else stage,
    )


RUNS = st.lists(single(), min_size=1, max_size=20).map(Samples.of)
