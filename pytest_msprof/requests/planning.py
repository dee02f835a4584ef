"""From a workload to everything that one load sends."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import count, islice, takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.requests.arrivals import arrivals, stages_of
from pytest_msprof.requests.growing import Growing, Take
from pytest_msprof.requests.lengths import draw_lengths
from pytest_msprof.requests.mixture import Mixture
from pytest_msprof.requests.recorded import Recorded, talks_of
from pytest_msprof.requests.recordings import Recordings
from pytest_msprof.requests.replay import Replay
from pytest_msprof.requests.request import Plan, Request
from pytest_msprof.requests.selection import order, selected
from pytest_msprof.requests.stream import Stream
from pytest_msprof.requests.synthetic import Synthetic
from pytest_msprof.requests.talks import turns_of
from pytest_msprof.requests.traces import read_trace
from pytest_msprof.workload import Workload
from pytest_msprof.workload_parts import Trace

__all__ = ["plan", "prompts"]

Times = NDArray[np.float64]
MANY = 100_000
"""Requests that are still all built beforehand; they take a second or two."""


def plan(workload: Workload, *, tokenizer: Path | None, repeat: int = 0, step: int = 0) -> Plan:
    """Return what *workload* sends, a function of the workload, the tokenizer, *repeat* and *step*.

    Each repeat and load step has new text. *tokenizer* is a folder with `tokenizer.json`; where
    there is none, a word stands for a token. For completions the special tokens that the
    tokenizer adds are counted, as engines do; a chat counts the message without its template.

    Very many requests, and those of a closed loop that only a duration ends, are built as they are needed.

    Raises `InvalidWorkload` when there are no such requests.
    """
    return _Planner(workload, tokenizer, Stream(workload.seed, repeat, step)).plan()


def prompts(workload: Workload, *, tokenizer: Path | None, repeat: int = 0, step: int = 0) -> list[str]:
    """Return the prompts of the requests that are counted, for load generators that send nothing else.

    Raises `InvalidWorkload` where nobody can count them.
    """
    requests = plan(workload, tokenizer=tokenizer, repeat=repeat, step=step).requests
    if isinstance(requests, Growing) and requests.is_endless:
        raise InvalidWorkload(
            "a duration alone ends this closed loop: give num_requests, so that there is a last prompt"
        )
    return [request.prompt for request in requests]


class _Planner:
    """Puts requests, their times and their limits together."""

    def __init__(self, workload: Workload, tokenizer: Path | None, stream: Stream) -> None:
        self._workload, self._tokenizer, self._stream = workload, tokenizer, stream
        self._synthetic = Synthetic(workload, tokenizer, stream)
        self._mixture = Mixture(workload.models, stream.key("models"))

    @cached_property
    def _replay(self) -> Replay:
        return Replay(self._workload, self._tokenizer, self._stream)

    def plan(self) -> Plan:
        """Return the plan."""
        workload = self._workload
        requests, due = self._trace(workload.trace) if workload.trace else self._loaded()
        stages = stages_of(workload.stages) if workload.stages and workload.stages.concurrency else ()
        warm_up = Mixture(workload.models, self._stream.key("warm-up models")).spread(
            self._synthetic.warm_up(workload.warmup)
        )
        return Plan(warm_up, requests, due, workload.concurrency, stages)

    def _loaded(self) -> tuple[Sequence[Request], Times | None]:
        """Return requests, sent as the workload says."""
        workload, number = self._workload, self._workload.num_requests
        if workload.dataset is not None:
            found = selected(workload.dataset, workload, self._tokenizer, self._stream)
            return self._timed(self._mixture.spread(found))
        if number is None and not workload.is_open:
            return Growing(self._synthetic_anew, self._answers), None
        if number is None:
            number = self._number(arrivals(workload, None, self._stream))
        if number > MANY and workload.sessions is None:
            due = arrivals(workload, number, self._stream)
            return Growing(self._synthetic_anew, self._answers, number if due is None else len(due)), due
        return self._timed(self._take(number))

    def _take(self, number: int) -> list[Request]:
        """Return the next synthetic requests."""
        return self._mixture.spread(self._synthetic.take(number))

    def _synthetic_anew(self) -> Take:
        """Return what gives the synthetic requests from the first one on."""
        again = _Planner(self._workload, self._tokenizer, self._stream)
        return again._take

    def _answers(self, number: int) -> Sequence[int]:
        """Return the lengths of the first answers."""
        return draw_lengths(self._workload.output_tokens, self._stream.key("output"), number)

    def _number(self, due: Times | None) -> int:
        """Return how many requests the talks have that are due in time."""
        talks = 0 if due is None else len(due)
        if self._workload.sessions is None:
            return talks
        turns = turns_of(self._workload.sessions, self._stream)
        return sum(1 for _ in takewhile(lambda turn: turn.session < talks, turns))

    def _trace(self, trace: Trace) -> tuple[Sequence[Request], Times | None]:
        """Return what a trace recorded, when it came or as the workload says."""
        workload, rows = self._workload, read_trace(trace)
        wanted = workload.num_requests
        if wanted and wanted > len(rows):
            raise InvalidWorkload(f"{wanted} requests were wanted, but the trace {trace.path} has {len(rows)}")
        if rows.is_plain and min(len(rows), wanted or len(rows)) > MANY:
            return self._many_recorded(rows, trace)
        if not workload.keeps_times:
            talks = talks_of(rows)
            chosen = [talks[place] for place in order(len(talks), self._stream, wanted)]
            return self._timed(self._replayed(chosen)[:wanted])
        self._check_times(rows, trace)
        end = (workload.duration or np.inf) / trace.time_scale
        talks = talks_of(row for row in rows[:wanted] if row.at < end)
        due = [np.nan if turn else row.at for talk in talks for turn, row in enumerate(talk)]
        return self._replayed(talks), np.array(due) * trace.time_scale

    def _many_recorded(self, rows: Recordings, trace: Trace) -> tuple[Sequence[Request], Times | None]:
        """Return the requests of a long trace without talks, built as they are needed."""
        workload, wanted = self._workload, self._workload.num_requests
        if workload.keeps_times:
            self._check_times(rows, trace)
            end = (workload.duration or np.inf) / trace.time_scale
            rows = rows.take(np.flatnonzero(rows.at[:wanted] < end))
            due: Times | None = rows.at * trace.time_scale
        else:
            rows = rows.take(np.array(order(len(rows), self._stream, wanted)[:wanted]))
            due = arrivals(workload, len(rows), self._stream)
        number = len(rows) if due is None else len(due)
        return Growing(lambda: self._replay_anew(rows), lambda most: rows.output_tokens[:most].tolist(), number), due

    def _replay_anew(self, rows: Recordings) -> Take:
        """Return what gives the requests of *rows* from the first one on."""
        again, places = _Planner(self._workload, self._tokenizer, self._stream), count()
        return lambda number: again._replayed([[rows[place]] for place in islice(places, number)])

    def _check_times(self, rows: Recordings, trace: Trace) -> None:
        if not np.isfinite(rows.at).all():
            raise InvalidWorkload(f"the trace {trace.path} does not say when its requests came: replay its lengths")

    def _replayed(self, talks: Sequence[Sequence[Recorded]]) -> list[Request]:
        return self._mixture.spread(self._replay.take(talks))

    def _timed(self, requests: Sequence[Request]) -> tuple[Sequence[Request], Times | None]:
        """Give each talk its time, and leave out those that are due too late; later turns have no time of their own."""
        talks = np.cumsum([request.turn == 0 for request in requests]) - 1
        due = arrivals(self._workload, int(talks[-1]) + 1, self._stream)
        if due is None:
            return requests, None
        kept = [(request, talk) for request, talk in zip(requests, talks.tolist(), strict=True) if talk < len(due)]
        times = [due[talk] if request.turn == 0 else np.nan for request, talk in kept]
        return [request for request, _ in kept], np.array(times)
