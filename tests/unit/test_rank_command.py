"""`pytest-msprof rank` puts the trials of a study in another order, from what was measured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_msprof.cli import main
from pytest_msprof.store import RunStore
from pytest_msprof.tuning.loads import Seen

sys.path.insert(0, str(Path(__file__).parent / "tuning"))
from measured import IDENTITY, make_plan, make_run, make_study

CASE = IDENTITY.case


@pytest.fixture
def project(tmp_path):
    """A study of four sizes: the larger, the faster and the later the first token; size 8 ran out of memory."""
    study = make_study(tmp_path / ".msprof" / "studies")
    store = RunStore(tmp_path / ".msprof" / "runs")
    for _ in range(4):
        proposal = study.ask()
        size = proposal.fields["size"]
        if size == 8:
            study.fail(proposal, "out of memory", "CUDA out of memory")
            continue
        run = make_run(100.0 * size, ttft=0.1 * size, tpot={1: 0.03, 2: 0.04, 4: 0.02}[size])
        store.seal(store.open(run.id), run)
        study.tell(proposal, run)
    return tmp_path


@pytest.fixture
def rank(project, capsys):
    def rank(*options):
        code = main(["rank", "--rootdir", str(project), *options])
        lines = capsys.readouterr().out.splitlines()
        sizes = [line.rpartition("size=")[2] for line in lines if "left out" not in line]
        return code, sizes, [line for line in lines if "left out" in line]

    return rank


def test_one_objective_is_an_order_and_what_failed_is_left_out(rank):
    code, sizes, left_out = rank("--objective", "output_throughput")

    assert (code, sizes) == (0, ["4", "2", "1"])
    assert [line.split(": ", 1)[1] for line in left_out] == ["out of memory"]


def test_another_objective_and_limit_need_no_new_run(rank):
    code, sizes, left_out = rank("--objective", "tpot.p50", "--subject-to", "ttft.p50:0.3")

    assert (code, sizes) == (0, ["1", "2"])
    assert any("ttft.p50 400ms > 300ms" in line.replace(" ms", "ms") for line in left_out)


def test_several_objectives_without_weights_are_the_front(rank):
    assert rank("--objective", "output_throughput", "--objective", "ttft.p50")[1] == ["4", "2", "1"]
    assert rank("--objective", "ttft.p50", "--objective", "tpot.p50")[1] == ["1", "4"]


def test_weights_make_an_order(rank):
    assert rank("--objective", "output_throughput:1", "--objective", "ttft.p50:3")[1] == ["1", "2", "4"]
    assert rank("--objective", "output_throughput:3", "--objective", "ttft.p50:1")[1] == ["4", "2", "1"]


def test_nothing_that_meets_the_limits_is_an_exit_code(rank):
    code, sizes, left_out = rank("--objective", "tpot.p50", "--subject-to", "ttft.p50:0.01")

    assert (code, sizes, len(left_out)) == (1, [], 4)


def test_a_figure_that_no_run_has_leaves_the_trial_out(rank):
    code, _, left_out = rank("--objective", "goodput")

    assert code == 1
    assert len(left_out) == 4


def test_the_price_of_an_hour_makes_the_cost_of_a_study_that_knew_none(rank, capsys):
    code, sizes, _ = rank("--objective", "cost", "--price-per-hour", "3.6")

    assert (code, sizes) == (0, ["4", "2", "1"])
    code, _, left_out = rank("--objective", "cost")
    assert code == 1
    assert "cost needs to know what an hour costs: --price-per-hour" in left_out[0]


@pytest.fixture
def loaded(tmp_path, capsys):
    """A study that found the largest load of each size within 0.1 s: each load doubles throughput and latency."""
    plan = make_plan(load="max_under_slo", subject_to={"ttft.p50": 0.1}, n_trials=2)
    study = make_study(tmp_path / ".msprof" / "studies", plan)
    store = RunStore(tmp_path / ".msprof" / "runs")
    for _ in range(2):
        proposal = study.ask()
        size = proposal.fields["size"]
        seen = []
        for load in (1, 2, 4):
            run = make_run(100.0 * size * load, ttft=0.03 * load, tpot=0.01 * size)
            store.seal(store.open(run.id), run)
            seen.append(Seen(float(load), run, plan.measure(run), plan.strain(plan.measure(run))))
        study.tell(proposal, seen[1].run, load=2.0, seen=seen)

    def rank(*options):
        main(["rank", "--rootdir", str(tmp_path), *options])
        return [line.split("  ")[1:] for line in capsys.readouterr().out.splitlines()]

    return rank


def test_under_another_limit_another_measured_load_of_a_trial_is_the_right_one(loaded):
    stricter = loaded("--objective", "output_throughput", "--subject-to", "ttft.p50:0.05")
    looser = loaded("--objective", "output_throughput", "--subject-to", "ttft.p50:0.2")

    assert [line[-1].rpartition("load ")[2] for line in stricter] == ["1", "1"]
    assert [line[-1].rpartition("load ")[2] for line in looser] == ["4", "4"]


def test_figures_that_the_study_did_not_keep_are_read_from_the_run_of_each_load(loaded):
    found = loaded("--objective", "tpot.p50", "--subject-to", "ttft.p50:0.05")

    assert [line[0] for line in found] == sorted(line[0] for line in found)
    assert all("load 1" in line[-1] for line in found)


def test_a_front_has_every_load_that_nothing_beats(loaded):
    found = loaded("--objective", "output_throughput", "--objective", "ttft.p50")

    best = [line[-1] for line in found]
    assert len({line.partition(",")[0] for line in best}) == 1
    assert [line.rpartition("load ")[2] for line in best] == ["4", "2", "1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--objective", "speed"], "unknown metric 'speed' (known: "),
        (["--objective", "ttft.p50", "--subject-to", "speed:1"], "unknown metric 'speed' (known: "),
        (["--objective", "ttft.p50:-1"], "needs a weight above 0"),
        (["--objective", "ttft.p50:fast"], "got 'ttft.p50:fast'"),
        (["--objective", "cost", "--price-per-hour", "0"], "--price-per-hour needs a price above 0, but got 0"),
        (["--objective", "ttft.p50", "other"], "unknown study 'other'"),
        (["--objective", "ttft.p50", "--subject-to", "ttft.p50"], "a limit is METRIC:LIMIT"),
        (["--objective", "ttft.p50", "--rootdir", "/nowhere"], "no study in /nowhere"),
    ],
)
def test_what_cannot_be_ranked_is_one_line(project, capsys, options, message):
    assert main(["rank", "--rootdir", str(project), *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
