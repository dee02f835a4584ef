"""A study on a terminal of 80 columns: the winner and its evidence, then how the search came there."""

from __future__ import annotations

from report_samples import LOG_TAIL, even_study, sample_study

from pytest_msprof.study_lines import study_lines
from pytest_msprof.summary import Effect, EffectPoint


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
    order += ["effect:", "failed:", "not tried:", "run it:"]
    assert sorted(order, key=found.index) == order


def test_the_course_of_the_search_has_values_trials_and_times():
    assert "search: 1,138 token/s (trial 1, 24.2 s), 1,503 token/s (trial 3, 44.2 s), " in text(sample_study())


def test_failures_are_counted_by_class_with_a_reason():
    assert "failed: 1 × out of memory (trial 4): transformers ended with exit code -9" in text(sample_study())


def test_of_each_class_of_failure_the_end_of_a_log_is_shown_and_no_more():
    found = lines(sample_study())
    start = found.index(next(line for line in found if line.startswith("log:")))
    shown = found[start : found.index(next(line for line in found if line.startswith("not tried:")))]
    *_, before, last = LOG_TAIL.splitlines()
    assert "".join("".join(shown).removeprefix("log:").split()) == "".join(f"{before}{last}".split())

    crashed = sample_study().trials[4]
    endless = crashed.model_copy(update={"log_tail": "\n".join(["word " * 500] * 40)})
    shown = lines(sample_study(trials=(endless,), effects=(), untried=(), winner=None, command=""))
    assert sum("word word" in line for line in shown) == 6
    assert max(map(len, shown)) <= 80


def effect(name: str, points: list[tuple[object, float, float]], low: float = 0.5) -> Effect:
    """Return the effect of a field: value, mean, and half of the interval."""
    found = tuple(
        EffectPoint(value=value, mean=mean, low=mean - half, high=mean + half) for value, mean, half in points
    )
    return Effect(field=name, importance=0.8, low=low, high=0.9, points=found)


def test_the_objective_is_told_at_both_ends_of_a_span_and_at_a_best_between_them():
    rising = effect("seqs", [(1, 100, 10), (8, 150, 10), (64, 200, 10)])
    humped = effect("tokens", [(1, 100, 10), (8, 200, 10), (64, 120, 10)])
    noise = effect("blocks", [(1, 100, 50), (8, 104, 10), (64, 100, 50)])

    found = lines(sample_study(effects=(rising, humped, noise)))

    assert "effect:    seqs ▂▅▇ 1: 100 (90.0–110), 64: 200 (190–210) token/s" in found
    assert "tokens ▂▇▃ 1: 100 (90.0–110), 8: 200 (190–210), 64: 120 (110–130) token/s" in " ".join(
        " ".join(found).split()
    )
    assert "effect:    blocks ▅▅▅ 1: 100 (50.0–150), 64: 100 (50.0–150) token/s" in found


def test_the_objective_is_told_at_each_value_that_has_no_order():
    found = text(sample_study(effects=(effect("kernel", [(name, 100, 5) for name in "uvwxyz"]),)))

    assert (
        "kernel u: 100 (95.0–105), v: 100 (95.0–105), w: 100 (95.0–105), x: 100 (95.0–105) token/s, … and 2 more"
        in found
    )


def test_a_field_that_may_do_nothing_has_no_course():
    assert "effect:" not in text(sample_study(effects=(effect("kernel", [("x", 1, 1), ("y", 1, 1)], low=0.0),)))


def test_what_is_left_out_is_counted():
    untried = tuple(f"field_{number}: nothing from 1 to 2" for number in range(7))
    many = tuple(effect(f"field_{number}", [(1, 100, 1), (2, 100, 1)]) for number in range(5))

    found = lines(sample_study(untried=untried, effects=many))

    assert found[found.index("not tried: field_3: nothing from 1 to 2") + 1] == "not tried: … and 3 more"
    assert "field_2 80% (50% to 90%), … and 2 more" in text(sample_study(effects=many))
    assert "more" not in text(sample_study(untried=untried[:4], effects=many[:3])).partition("matters:")[2]


def test_how_often_the_limits_were_missed_is_said():
    assert "(4 launches, limits missed in 4)" in text(sample_study())
    assert "(4 launches, 1 more failed)" in text(even_study())


def test_a_study_without_trials_says_so():
    empty = sample_study(trials=(), winner=None, confirmations=(), effects=(), untried=(), stopped="", command="")
    assert lines(empty)[0] == "study test_batching: 0 of 12 trials (none yet)"
