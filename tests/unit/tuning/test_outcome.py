"""What a study comes to: one sentence that says what to do, and whether the result passes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from measured import make_plan, make_run, make_study

from pytest_msprof.errors import StoreError
from pytest_msprof.tuning.outcome import conclude

SESSION = "the session"
NOISE = (0.99, 1.0, 1.01, 1.0)


class Told:
    """A study whose trials and confirming launches came out as told."""

    def __init__(self, folder, **plan):
        self.study = make_study(folder, make_plan(**plan), session=SESSION)
        self.runs = {}

    def trials(self, *outcomes: tuple[float, float] | str):
        """Tell each trial a throughput and a TTFT, or the class of its failure."""
        for outcome in outcomes:
            proposal = self.study.ask()
            if isinstance(outcome, str):
                self.study.fail(proposal, outcome, f"it was {outcome}")
            else:
                self.study.tell(proposal, self.kept(make_run(*outcome, environment={"command": f"serve {outcome}"})))
        return self

    def confirmed(
        self,
        role: str,
        throughputs: Sequence[float],
        *,
        ttft: float = 0.1,
        failed: int = 0,
        client_limited: str = "",
        session: str = SESSION,
    ):
        """Tell the confirming launches of *role*."""
        number = self.study.ranking()[role]
        for index, throughput in enumerate(throughputs):
            run = self.kept(make_run(throughput, ttft, client_limited=client_limited))
            broken = self.study.plan.infeasible(self.study.plan.measure(run))
            self.study.confirmations.remember(session, role, index, {"number": number, "run": run.id, "broken": broken})
        for index in range(failed):
            outcome = {"number": number, "failure": "timeout", "reason": "too slow"}
            self.study.confirmations.remember(session, role, len(throughputs) + index, outcome)
        return self

    def kept(self, run):
        self.runs[run.id] = run
        return run

    def load(self, run_id):
        try:
            return self.runs[run_id]
        except KeyError:
            raise StoreError(run_id) from None

    def conclusion(self):
        """Return the sentence, why the result fails, and the winner."""
        outcome = conclude(self.study, SESSION, self.load)
        assert outcome.failure in ("", outcome.summary.verdict)
        assert outcome.summary.keeps_default == ("keep the default" in outcome.summary.verdict)
        return outcome.summary.verdict, bool(outcome.failure), outcome.summary.winner


def around(throughput: float) -> list[float]:
    return [throughput * factor for factor in NOISE]


@pytest.fixture
def told(tmp_path):
    return lambda **plan: Told(tmp_path, **plan)


def test_a_study_without_trials_says_so(told):
    assert told().conclusion() == ("nothing was measured yet", False, None)


def test_a_study_whose_trials_all_failed_counts_the_classes(told):
    found = told().trials("timeout", "out of memory", "timeout").conclusion()

    assert found == ("all 3 trials failed: 2 × timeout, 1 × out of memory", True, None)


def test_without_confirmation_the_best_trial_is_named_as_what_it_is(told):
    verdict, fails, winner = told().trials((100, 0.1), (300, 0.1), (200, 0.1)).conclusion()

    assert verdict.startswith("best of one launch each, not confirmed: size=")
    assert verdict.endswith("at 300 token/s")
    assert (fails, winner) == (False, 1)


def test_a_winner_that_holds_is_recommended_with_its_interval(told):
    study = told().trials((100, 0.1), (300, 0.1), (200, 0.1))
    study.confirmed("winner", around(300)).confirmed("runner-up", around(200)).confirmed("default", around(100))

    verdict, fails, winner = study.conclusion()

    assert re.search(r"^size=\d: output_throughput \+200% \(95 % interval \+19.% to \+20.%\) against the", verdict)
    assert (fails, winner) == (False, 1)
    assert conclude(study.study, SESSION, study.load).summary.command == ""


def test_a_runner_up_that_confirms_better_takes_the_lead(told):
    study = told().trials((100, 0.1), (300, 0.1), (290, 0.1))
    study.confirmed("winner", around(200)).confirmed("runner-up", around(290)).confirmed("default", around(100))

    assert study.conclusion()[1:] == (False, 2)


def test_a_winner_that_is_no_better_leaves_the_default(told):
    study = told().trials((100, 0.1), (103, 0.1))
    study.confirmed("winner", around(100.2)).confirmed("default", around(100))

    verdict, fails, _ = study.conclusion()

    assert verdict.startswith("not distinguishable from the default (output_throughput +0.2%")
    assert verdict.endswith("): keep the default")
    assert not fails


def test_a_winner_that_is_worse_than_the_default_fails(told):
    study = told().trials((100, 0.1), (150, 0.1))
    study.confirmed("winner", around(80)).confirmed("default", around(100))

    verdict, fails, _ = study.conclusion()

    assert verdict.startswith("the winner is worse than the default: output_throughput -20")
    assert fails


def test_a_winner_measured_by_a_client_at_its_limit_gets_no_verdict(told):
    study = told().trials((100, 0.1), (150, 0.1))
    study.confirmed("winner", around(150), client_limited="one loop was busy").confirmed("default", around(100))

    verdict, fails, _ = study.conclusion()

    assert "no verdict; the client was the bottleneck in 4 of 4 current runs: one loop was busy" in verdict
    assert not fails


def test_a_default_that_was_best_all_along_is_kept(told):
    study = told().trials((100, 0.1), (60, 0.1))
    study.confirmed("runner-up", around(60)).confirmed("default", around(100))

    verdict, fails, winner = study.conclusion()

    assert verdict.startswith("keep the default")
    assert (fails, winner) == (False, 0)


def test_a_winner_that_misses_its_limits_when_confirmed_is_none(told):
    study = told(subject_to={"ttft.p50": 0.2}).trials((100, 0.5), (300, 0.1))
    study.confirmed("winner", around(300), ttft=0.3).confirmed("default", around(100), ttft=0.5)

    verdict, fails, winner = study.conclusion()

    assert "nothing met the constraints when confirmed; closest: " in verdict
    assert "met in the search, missed by fresh launches" in verdict
    assert (fails, winner) == (True, None)


def test_a_winner_whose_launches_fail_is_none(told):
    study = told().trials((100, 0.1), (300, 0.1))
    study.confirmed("winner", [], failed=4).confirmed("default", around(100))

    assert study.conclusion()[2] == 0


def test_limits_that_only_the_default_misses_are_what_counts(told):
    study = told(subject_to={"ttft.p50": 0.2}).trials((100, 0.5), (60, 0.1))
    study.confirmed("winner", around(60), ttft=0.1).confirmed("default", around(100), ttft=0.5)

    verdict, fails, winner = study.conclusion()

    assert "meets the constraints, which the default misses; output_throughput -40" in verdict
    assert (fails, winner) == (False, 1)


def test_limits_that_a_late_client_saw_missed_are_no_verdict(told):
    study = told(subject_to={"ttft.p50": 0.2}).trials((100, 0.5), (160, 0.1))
    study.confirmed("winner", around(160), ttft=0.1)
    study.confirmed("default", around(100), ttft=0.5, client_limited="one loop was busy")

    verdict, fails, winner = study.conclusion()

    assert "which is no verdict" in verdict
    assert "one loop was busy" in verdict
    assert (fails, winner) == (False, 1)


def test_nothing_that_meets_the_limits_names_the_closest(told):
    verdict, fails, winner = told(subject_to={"ttft.p50": 0.2}).trials((100, 0.5), (300, 0.25), "timeout").conclusion()

    assert verdict.startswith("nothing met the constraints in any trial; closest: size=")
    assert verdict.endswith("with ttft.p50 0.25 s > 0.2 s, 25% beyond the limit")
    assert (fails, winner) == (True, None)


def test_the_command_of_the_winner_comes_from_what_was_started(told):
    study = told().trials((100, 0.1), (300, 0.1))

    assert conclude(study.study, SESSION, study.load).summary.command == "serve (300, 0.1)"


def test_runs_that_were_pruned_are_missed_by_nobody(told):
    study = told().trials((100, 0.1), (300, 0.1))
    study.runs.clear()

    verdict, fails, winner = study.conclusion()

    assert "at 300 token/s" in verdict
    assert (fails, winner) == (False, 1)


def test_a_session_that_measures_nothing_anew_repeats_what_an_earlier_one_confirmed(told):
    study = told().trials((100, 0.1), (200, 0.1))
    study.confirmed("winner", around(200)).confirmed("default", around(100))
    before = study.conclusion()[0]

    later = conclude(study.study, "the session after it", study.load).summary

    assert later.verdict == f"as an earlier session confirmed: {before}"
    assert len(later.confirmations) == 2


def test_the_session_that_confirmed_last_is_repeated_even_where_the_clock_was_set_back(told):
    study = told().trials((100, 0.1), (200, 0.1))
    study.confirmed("winner", around(200), session="b").confirmed("default", around(100), session="b")
    study.confirmed("winner", around(300), session="a").confirmed("default", around(100), session="a")

    later = conclude(study.study, "c", study.load).summary

    assert "+200%" in later.verdict


def test_launches_that_were_pruned_confirm_nothing(told):
    study = told().trials((100, 0.1), (200, 0.1))
    study.confirmed("winner", around(200)).confirmed("default", around(100))
    study.runs.clear()

    later = conclude(study.study, "the session after it", study.load).summary

    assert later.verdict.startswith("best of one launch each, not confirmed")
