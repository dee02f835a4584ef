"""Sessions to report: a study of a real engine with its usual troubles, and hostile or large ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
from optuna.distributions import CategoricalDistribution, IntDistribution

from pytest_msprof import SearchSpace, choice, integers
from pytest_msprof.comparison import Tolerance, compare, contrast
from pytest_msprof.display import change, field_values, interval
from pytest_msprof.results import Distribution, Run, Value
from pytest_msprof.side_by_side import SideBySide
from pytest_msprof.side_comparison import compare_sources
from pytest_msprof.sources import Figures, Source
from pytest_msprof.sources.quantities import quantity
from pytest_msprof.summary import Confirmation, Effect, SessionSummary, StudySummary, TrialRecord
from pytest_msprof.tuning.effects import effects
from pytest_msprof.tuning.ranking import Measured
from pytest_msprof.workload import Workload

STARTED = datetime(2026, 3, 9, 14, 5, tzinfo=UTC)
CHAT = Workload(input_tokens=64, output_tokens=64, concurrency=16, num_requests=48)
WINNER: dict[str, Value] = {"continuous_batching": True, "num_blocks": 112, "batch_tokens": 1024, "dtype": "bfloat16"}
RUNNER_UP: dict[str, Value] = {"continuous_batching": True, "num_blocks": 64, "batch_tokens": 256, "dtype": "bfloat16"}
DEFAULT: dict[str, Value] = {"continuous_batching": False}
COMMAND = (
    "/srv/.engines/transformers/bin/transformers serve models/tiny-qwen2 --host 127.0.0.1 --port 8101 --device cpu "
    "--dtype bfloat16 --continuous-batching --cb-num-blocks 112 --cb-max-batch-tokens 1024"
)
LOG_TAIL = """\
INFO:     Uvicorn running on http://127.0.0.1:8104 (Press CTRL+C to quit)
INFO:     127.0.0.1:46312 - "GET /health HTTP/1.1" 200 OK
Traceback (most recent call last):
  File "transformers/generation/continuous_batching/cache.py", line 214, in __init__
    self.key_cache.append(torch.empty(self.cache_shape, dtype=self.dtype, device=self.device))
RuntimeError: [enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: \
you tried to allocate 17179869184 bytes. Error code 12 (Cannot allocate memory)"""
TOLERANCE = Tolerance({"output_throughput": 0.05, "ttft.p50": 0.10, "tpot.p50": 0.05})


def measured_run(
    throughput: float,
    ttft: float,
    *,
    case: str = "suites/test_serving.py::test_chat[transformers-16]",
    launch: str = "launch-0",
    fields: dict[str, Value] | None = None,
    workload: Workload = CHAT,
    version: str = "5.23.0",
) -> Run:
    """Return a run whose other figures follow from these two."""
    tpot = (workload.concurrency or 1) / throughput
    return Run(
        id=f"{case}/{launch}",
        launch_id=launch,
        session_id="0197f2a4-6c1e-7b5a-9d43-2f1f6f1d8a55",
        case=case,
        engine="transformers",
        load_generator="builtin",
        fields=fields or {},
        workload=workload,
        workload_hash=workload.hash(),
        model="models/tiny-qwen2",
        model_digest="5b0d2a7c9e114f83",
        device="cpu: AMD EPYC 9R14",
        environment={
            "engine": "transformers",
            "version": version,
            "torch": "2.13.0+cpu",
            "command": COMMAND.replace("8101", f"81{abs(hash(launch)) % 90 + 10}"),
            "variables": {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            "hardware": {"processor": "AMD EPYC 9R14", "cores": 2, "memory": 16_508_399_616, "kernel": "6.1.0"},
        },
        started_at=STARTED,
        duration=workload.num_requests * workload.output_tokens / throughput,
        completed=workload.num_requests,
        failed=0,
        metrics={
            "output_throughput": throughput,
            "request_throughput": throughput / workload.output_tokens,
            "success_rate": 1.0,
        },
        distributions={
            "ttft": Distribution({"n": 48, "mean": ttft * 1.4, "p50": ttft, "p90": ttft * 3.1, "p95": ttft * 5}),
            "tpot": Distribution({"n": 48, "mean": tpot, "p50": tpot, "p90": tpot * 1.2, "p95": tpot * 1.3}),
        },
    )


def launches(
    throughput: float, ttft: float, *, seed: int, n: int = 4, spread: float = 0.04, **facts: object
) -> tuple[Run, ...]:
    """Return one run from each of *n* launches of one configuration, spread on the log scale."""
    noise = np.random.default_rng(seed).normal(0, spread, n)
    return tuple(
        measured_run(throughput * np.exp(e), ttft * np.exp(-e), launch=f"launch-{seed}-{index}", **facts)  # type: ignore[arg-type]
        for index, e in enumerate(noise)
    )


def sample_trials() -> tuple[TrialRecord, ...]:
    """Return twelve trials: the default, one that ran out of memory, two that missed the limit, eight good ones."""
    default = TrialRecord(
        number=0,
        fields=DEFAULT,
        state="infeasible",
        value=390.2,
        metrics={"output_throughput": 390.2, "ttft.p50": 2.4},
        reason="ttft.p50 2.40 s > 200 ms",
        duration=14.2,
    )
    crashed = TrialRecord(
        number=4,
        fields={**WINNER, "num_blocks": 128, "dtype": "float32"},
        state="failed",
        failure="out of memory",
        reason="transformers ended with exit code -9: DefaultCPUAllocator: can't allocate memory",
        log_tail=LOG_TAIL,
        duration=31.0,
    )
    starved = _trial(2, 8, 24, "bfloat16", 1071, 0.464, state="infeasible", reason="ttft.p50 464 ms > 200 ms")
    good = [
        _trial(1, 37, 128, "float32", 1138, 0.070),
        _trial(3, 64, 256, "bfloat16", 1503, 0.0592),
        _trial(5, 22, 512, "bfloat16", 1366, 0.0812),
        _trial(6, 58, 740, "float32", 1142, 0.0770),
        _trial(7, 112, 1024, "bfloat16", 1648, 0.0601),
        _trial(8, 96, 610, "bfloat16", 1588, 0.0644),
        _trial(9, 120, 1024, "bfloat16", 1633, 0.0668),
        _trial(10, 80, 96, "bfloat16", 1406, 0.118),
        _trial(11, 104, 880, "bfloat16", 1612, 0.0633),
    ]
    return tuple(sorted([default, crashed, starved, *good], key=lambda trial: trial.number))


def _trial(
    number: int, blocks: int, tokens: int, dtype: str, throughput: float, ttft: float, **facts: str
) -> TrialRecord:
    return TrialRecord(
        number=number,
        fields={"continuous_batching": True, "num_blocks": blocks, "batch_tokens": tokens, "dtype": dtype},
        value=throughput,
        metrics={"output_throughput": throughput, "ttft.p50": ttft},
        duration=9.0 + number % 3,
        **{"state": "measured", **facts},  # type: ignore[arg-type]
    )


def sample_study(**changes: object) -> StudySummary:
    """Return a study whose winner is four times as fast as the default."""
    winner = launches(1640, 0.060, seed=1, fields=WINNER, case="suites/test_tuning.py::test_batching[confirm-winner]")
    second = launches(
        1515, 0.059, seed=2, fields=RUNNER_UP, case="suites/test_tuning.py::test_batching[confirm-second]"
    )
    default = launches(390, 2.4, seed=3, fields=DEFAULT, case="suites/test_tuning.py::test_batching[confirm-default]")
    deltas = contrast(winner, default, ("output_throughput", "ttft.p50"))
    study = StudySummary(
        name="suites/test_tuning.py::test_batching",
        key="7f1d9c2ab04e6d35",
        engine="transformers",
        objective="output_throughput",
        subject_to={"ttft.p50": 0.200},
        workload=CHAT,
        space={
            "continuous_batching": "False | True",
            "num_blocks": "8 to 128, log, when continuous_batching",
            "batch_tokens": "16 to 1024, log, when continuous_batching",
            "dtype": "bfloat16 | float32",
        },
        sampler="auto",
        seed=7,
        n_trials=12,
        trials=sample_trials(),
        winner=7,
        confirmations=(
            Confirmation(role="winner", number=7, fields=WINNER, runs=winner),
            Confirmation(role="runner-up", number=3, fields=RUNNER_UP, runs=second),
            Confirmation(role="default", number=0, fields=DEFAULT, runs=default, broken=4),
        ),
        deltas=deltas,
        verdict=f"{field_values(WINNER)}: output_throughput {change(deltas[0].change)} "
        f"(95 % interval {interval(deltas[0].low, deltas[0].high)}) against the default",
        command=COMMAND,
        effects=sample_effects(),
        untried=(
            "3 proposals, refused before a start: 'num_blocks > 9' with num_blocks=8 is not met",
            "num_blocks: nothing from 8 to 22",
        ),
        stopped="the expected improvement stayed below 1 % for 10 suggestions",
        config_file="config.yaml",
        config_text='model: "models/tiny-qwen2"\nport: 8000\ncb-num-blocks: 112\n',
        environment={"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    return study.model_copy(update=changes)


@cache
def sample_effects() -> tuple[Effect, ...]:
    """Return what the fields of the sample study do, as its trials and launches say."""
    space = SearchSpace(
        choice("continuous_batching", [False, True]),
        integers("num_blocks", 8, 128, log=True, when="continuous_batching"),
        integers("batch_tokens", 16, 1024, log=True, when="continuous_batching"),
        choice("dtype", ["bfloat16", "float32"]),
    )
    kinds = {
        "continuous_batching": CategoricalDistribution([False, True]),
        "num_blocks": IntDistribution(8, 128, log=True),
        "batch_tokens": IntDistribution(16, 1024, log=True),
        "dtype": CategoricalDistribution(["bfloat16", "float32"]),
    }
    trials = [
        Measured(trial.fields, {name: kinds[name] for name in trial.fields}, trial.value, {})
        for trial in sample_trials()
        if trial.value is not None
    ]
    return effects(trials, space)


def even_study() -> StudySummary:
    """Return a study whose winner cannot be told from the default."""
    winner = launches(1655, 0.052, seed=21, fields=WINNER)
    default = launches(1640, 0.053, seed=22, fields=DEFAULT)
    return sample_study(
        name="suites/test_tuning.py::test_scheduling",
        engine="vllm",
        confirmations=(
            Confirmation(role="winner", number=7, fields=WINNER, runs=winner),
            Confirmation(
                role="default", number=0, fields=DEFAULT, runs=default, failures=("vllm ended with exit code 1",)
            ),
        ),
        deltas=contrast(winner, default, ("output_throughput", "ttft.p50")),
        verdict="not distinguishable from the default: keep the default",
        command="",
    )


def sample_comparisons() -> tuple[tuple[Run, ...], tuple[object, ...]]:
    """Return the runs of a regression suite at three loads, and their comparisons with golden ones."""
    runs: list[Run] = []
    comparisons = []
    for concurrency, golden, now in ((1, 345, 349), (4, 925, 921), (16, 1500, 1290)):
        workload = CHAT.with_load(concurrency=concurrency)
        case = f"suites/test_serving.py::test_chat[transformers-{concurrency}]"
        then = launches(golden, 0.03, seed=30 + concurrency, spread=0.012, workload=workload, case=case)
        found = launches(now, 0.03 * golden / now, seed=60 + concurrency, spread=0.012, workload=workload, case=case)
        comparisons.append(compare(found, then, TOLERANCE))
        runs += found
    return tuple(runs), tuple(comparisons)


def sample_session(**changes: object) -> SessionSummary:
    """Return a whole session: one study, and a regression suite with one regression."""
    runs, comparisons = sample_comparisons()
    study = sample_study()
    summary = SessionSummary(
        session_id="0197f2a4-6c1e-7b5a-9d43-2f1f6f1d8a55",
        started_at=STARTED,
        duration=462.0,
        rootdir="/srv/serving",
        engines=("transformers",),
        runs=(*runs, *(run for entry in study.confirmations for run in entry.runs)),
        comparisons=comparisons,  # type: ignore[arg-type]
        studies=(study,),
        environment={
            "pytest_msprof": "0.1.0",
            "python": "3.11.7",
            "argv": ["suites/", "--msprof-engine", "transformers"],
        },
    )
    return summary.model_copy(update=changes)


def large_session(rows: int = 200) -> SessionSummary:
    """Return a session with *rows* trials, runs and comparisons."""
    random = np.random.default_rng(5)
    trials = tuple(
        _trial(number, int(random.integers(8, 128)), 16 + number, "bfloat16", float(random.uniform(400, 1600)), 0.07)
        for number in range(rows)
    )
    best = max(trials, key=lambda trial: trial.value or 0).number
    _, (comparison, *_) = sample_comparisons()
    comparisons = tuple(
        comparison.model_copy(update={"case": f"suites/test_serving.py::test_chat[{i}]"}) for i in range(rows)
    )
    runs = tuple(
        measured_run(900 + i, 0.05, case=f"suites/test_serving.py::test_chat[{i}]", launch=f"l{i}") for i in range(rows)
    )
    return sample_session(
        runs=runs, comparisons=comparisons, studies=(sample_study(trials=trials, winner=best, n_trials=rows),)
    )


def hostile_session(names: Sequence[str]) -> SessionSummary:
    """Return a session in which every text that a user or an engine can choose is one of *names*."""
    first = names[0]
    fields: dict[str, Value] = {name: name for name in names}
    trial = TrialRecord(number=0, fields=fields, state="failed", failure=first, reason=first, log_tail="\n".join(names))
    other = TrialRecord(number=1, fields=fields, state="measured", value=3.0, metrics={"output_throughput": 3.0})
    runs = tuple(
        measured_run(900, 0.05, case=name, launch=name, version=name).model_copy(
            update={"engine": name, "errors": {name: 2}, "environment": {name: name}, "fields": fields}
        )
        for name in names
    )
    comparisons = tuple(
        compare([run], [run], TOLERANCE).model_copy(update={"reasons": (run.case,), "engine": run.engine})
        for run in runs
    )
    study = sample_study(
        name=first,
        key=first,
        engine=first,
        verdict=first,
        command=first,
        environment=fields,
        space=fields,
        trials=(trial, other),
        winner=1,
        notes=tuple(names),
        confirmations=(Confirmation(role="winner", number=1, fields=fields, runs=runs, failures=tuple(names)),),
    )
    return sample_session(
        rootdir=first,
        engines=tuple(names),
        runs=runs,
        comparisons=comparisons,
        studies=(study,),
        golden_recorded=tuple(names),
        environment=fields,
        started_at=STARTED + timedelta(days=1),
    )


def sample_comparison(labels: Sequence[str]) -> SideBySide:
    """Return five launches of analysed folders a side, 15 % apart, with one metric a label."""

    def launch(side: str, number: int, factor: float) -> Source:
        figures = Figures()
        for label in labels:
            value = factor * (1 + 0.01 * number)
            statistics = {"mean": value, "p50": 0.9 * value, "p90": 1.4 * value}
            shape = [value * (0.5 + 0.02 * place) for place in range(60)]
            figures.add(quantity("request", label), statistics, shape=shape)
        facts = {"requests": "48", "model": labels[0]}
        path = Path(f"{labels[0][:80]}/{side}/{number}")
        return Source(path, "analysed folder", figures, identity=facts, histogram={1: 4, 8: 40}, notes=tuple(labels))

    sides = [[launch(side, n, factor) for n in range(5)] for side, factor in (("now", 1.15), ("then", 1.0))]
    return compare_sources(*sides)
