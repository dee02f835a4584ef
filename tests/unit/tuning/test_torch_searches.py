"""Searches that need torch: where it is installed, they search as the others do."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from measured import make_plan, make_run, make_study

from pytest_msprof import SearchSpace, choice, integers

pytestmark = pytest.mark.filterwarnings("ignore")  # of BoTorch's and Optuna's own
NEEDED = {"optuna:GPSampler": "torch", "botorch": "optuna_integration"}
SPACE = SearchSpace(
    integers("size", 1, 64, log=True),
    choice("kind", ["slow", "fast"]),
    choice("deep", [False, True]),
    integers("depth", 1, 9, when="deep"),
    default={"size": 4, "kind": "slow", "deep": False},
)


@pytest.mark.parametrize("search", NEEDED)
def test_it_finds_a_better_configuration_within_the_limits_and_survives_crashes(tmp_path, search):
    if find_spec(NEEDED[search]) is None:
        pytest.skip(f"{NEEDED[search]} is not installed: tests/e2e/test_runners.py runs this where it is")
    study = make_study(tmp_path, make_plan(SPACE, search=search, n_trials=14, subject_to={"ttft.p50": 0.3}))

    while not study.is_spent():
        proposal = study.ask()
        size, speed = proposal.fields["size"], {"slow": 1.0, "fast": 1.2}[proposal.fields["kind"]]
        if size > 48:
            study.fail(proposal, "out of memory", "it wanted 20 GiB", "")
        else:
            study.tell(proposal, make_run(100 * speed * size / (size + 8), ttft=0.01 * size))

    default, *others = study.records()
    best = study.records()[study.ranking()["winner"]]
    assert best.value > 1.8 * default.value
    assert best.metrics["ttft.p50"] <= 0.3
    assert len({tuple(record.fields.items()) for record in (default, *others)}) == 14
