"""`pytest-msprof rank` puts the trials of a study in another order, from what was measured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_msprof.cli import main
from pytest_msprof.store import RunStore

sys.path.insert(0, str(Path(__file__).parent / "tuning"))
from measured import IDENTITY, make_run, make_study

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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--objective", "speed"], "unknown metric 'speed' (known: "),
        (["--objective", "ttft.p50", "--subject-to", "speed:1"], "unknown metric 'speed' (known: "),
        (["--objective", "ttft.p50:-1"], "needs a weight above 0"),
        (["--objective", "ttft.p50:fast"], "got 'ttft.p50:fast'"),
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
