"""The best trial is the one whose neighbours agree, not the one that was lucky."""

from __future__ import annotations

from optuna.distributions import FloatDistribution

from pytest_msprof.tuning.ranking import Launched, Measured, ranked, winner_of

LINE = {"x": FloatDistribution(0.0, 1.0)}


def measured(x, value, excess=-0.5):
    return Measured({"x": x}, LINE, value, {"ttft.p50": excess})


def hill(x):
    return 100.0 - 80 * (x - 0.5) ** 2


def test_without_enough_trials_the_best_run_is_best():
    assert ranked([measured(0.1, 3.0), measured(0.5, 1.0), measured(0.9, 2.0)], maximize=True) == [0, 2, 1]
    assert ranked([measured(0.1, 3.0), measured(0.5, 1.0), measured(0.9, 2.0)], maximize=False) == [1, 2, 0]


def test_a_lucky_run_far_from_the_top_does_not_win():
    trials = [measured(x / 20, hill(x / 20)) for x in range(21)]
    trials[1] = measured(0.05, 1.01 * hill(0.5))

    assert abs(ranked(trials, maximize=True)[0] - 10) <= 2


def test_a_trial_that_met_its_limit_by_luck_comes_behind_those_that_meet_it_surely():
    trials = [measured(x / 10, 1.0 + x / 10, excess=x / 10 - 0.55) for x in range(11)]
    trials[8] = measured(0.8, 1.8, excess=-0.01)
    found = ranked(trials, maximize=True)

    assert found[-1] == 8
    assert found[0] in (4, 5)


def test_what_missed_a_limit_is_no_candidate():
    assert ranked([measured(0.1, 3.0, excess=0.1)], maximize=True) == []


def test_the_best_of_those_that_held_wins_and_the_default_only_alone():
    held, lucky, default = Launched(3, (5.0, 5.0), 0, 0), Launched(7, (9.0, 9.0), 0, 1), Launched(0, (6.0, 6.0), 0, 0)
    assert winner_of([held, lucky, default], 3, maximize=True) == 3
    assert winner_of([lucky, default], 7, maximize=True) == 0
    assert winner_of([lucky], 7, maximize=True) is None
    assert winner_of([held, default], 0, maximize=True) == 0
