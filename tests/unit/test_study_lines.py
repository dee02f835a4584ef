"""A study on a terminal of 80 columns: the winner and its evidence, then how the search came there."""

from __future__ import annotations

from report_samples import even_study, sample_study

from pytest_msprof.study_lines import study_lines


def lines(study) -> list[str]:
    return list(study_lines(study))


def text(study) -> str:
    return " ".join(" ".join(lines(study)).split())


def test_no_line_is_wider_than_80_columns():
    for study in (sample_study(), even_study()):
        assert max(map(len, lines(study))) <= 80


def test_the_winner_stands_before_how_it_was_found():
    found = text(sample_study())
    order = ["study test_batching:", "stopped:", "best:", "winner:", "verdict:", "search:", "front:", "matters:"]
    order += ["failed:", "not tried:", "run it:"]
    assert sorted(order, key=found.index) == order


def test_the_course_of_the_search_has_values_trials_and_times():
    assert "search: 1,138 token/s (trial 1, 24.2 s), 1,503 token/s (trial 3, 44.2 s), " in text(sample_study())


def test_failures_are_counted_by_class_with_a_reason():
    assert "failed: 1 × out of memory (trial 4): transformers ended with exit code -9" in text(sample_study())


def test_how_often_the_limits_were_missed_is_said():
    assert "(4 launches, limits missed in 4)" in text(sample_study())
    assert "(4 launches, 1 more failed)" in text(even_study())


def test_a_study_without_trials_says_so():
    empty = sample_study(trials=(), winner=None, confirmations=(), effects=(), untried=(), stopped="", command="")
    assert lines(empty)[0] == "study test_batching: 0 of 12 trials (none yet)"
