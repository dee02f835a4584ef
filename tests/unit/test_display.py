"""How figures read: the same in the terminal, the page and the workbook."""

from __future__ import annotations

import math
import shlex

import pytest

from pytest_msprof.display import (
    ABSENT,
    change,
    duration,
    field_values,
    interval,
    metric_value,
    percent,
    rate,
    seconds,
    shell_command,
    span,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0717, "71.7 ms"),
        (0.06, "60.0 ms"),
        (2.4, "2.40 s"),
        (118.2, "118 s"),
        (0.000_042, "42.0 µs"),
        (3e-10, "0.300 ns"),
        (0.0, "0 s"),
        (-0.0021, "-2.10 ms"),
    ],
)
def test_a_time_has_three_digits_in_the_unit_that_suits_it(value, text):
    assert seconds(value) == text


def test_rounding_carries_into_the_next_unit():
    assert seconds(0.9999) == "1.00 s"
    assert rate(9.999) == "10.0 token/s"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.25, "250 ms"), (59.6, "59.6 s"), (462, "7 min 42 s"), (119.7, "2 min 00 s"), (3780, "1 h 03 min")],
)
def test_a_duration_is_what_a_person_waited(value, text):
    assert duration(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1500, "1,500"), (390, "390"), (45.32, "45.3"), (0.512, "0.512"), (1_234_567, "1,234,567"), (0, "0")],
)
def test_a_rate_keeps_its_whole_part_and_three_digits(value, text):
    assert rate(value, "request/s") == f"{text} request/s"


def test_a_rate_counts_tokens_unless_told():
    assert rate(1500) == "1,500 token/s"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.185, "+18.5%"), (-0.0312, "-3.1%"), (3.205, "+320%"), (0.0, "0.0%"), (-0.0004, "0.0%"), (12.5, "+1,250%")],
)
def test_a_change_has_its_sign(value, text):
    assert change(value) == text


def test_an_interval_names_both_bounds_and_the_one_that_is_missing():
    assert interval(0.12, 0.251) == "+12.0% to +25.1%"
    assert interval(0.12, None) == f"+12.0% to {ABSENT}"
    assert interval(None, None) == ABSENT


def test_a_share_has_no_sign():
    assert percent(0.05) == "5%"
    assert percent(0.979166) == "97.9%"
    assert percent(1.0) == "100%"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("ttft.p50", 0.06, "60.0 ms"),
        ("tpot.p50", 0.0092, "9.20 ms"),
        ("output_throughput", 1640.2, "1,640 token/s"),
        ("goodput", 7.5, "7.50 request/s"),
        ("success_rate", 1, "100%"),
        ("energy", 12.0, "12.0 J/token"),
        ("warmth", 12.0, "12.0"),
    ],
)
def test_a_metric_is_shown_in_its_own_unit(name, value, text):
    assert metric_value(name, value) == text


@pytest.mark.parametrize("show", [seconds, duration, rate, change, percent])
@pytest.mark.parametrize("nothing", [None, math.nan, math.inf])
def test_what_is_no_figure_is_shown_as_absent(show, nothing):
    assert show(nothing) == ABSENT


def test_fields_stand_on_one_line_in_their_own_order():
    assert field_values({"continuous_batching": True, "num_blocks": 64}) == "continuous_batching=True num_blocks=64"


def test_a_share_that_came_out_of_a_division_is_not_shown_to_the_last_bit():
    assert field_values({"max_memory_percent": 0.1 + 0.2}) == "max_memory_percent=0.3"


def test_values_that_would_run_together_are_quoted():
    assert field_values({"note": "a b", "empty": "", "sizes": [1, 2]}) == 'note="a b" empty="" sizes=[1,2]'
    assert field_values({"name": "line\nbreak"}) == r'name="line\nbreak"'


def test_no_fields_are_the_defaults_of_the_engine():
    assert field_values({}) == "engine defaults"


def test_a_command_is_ready_for_a_shell_on_lines_of_a_terminals_width():
    options = [f"--an-option-{number} value-{number}" for number in range(8)]
    command = f"/engines/bin/serve 'my model' {' '.join(options)}"

    shown = shell_command(command, {"HOME_OF": "a b"})

    assert shown.startswith("HOME_OF='a b' /engines/bin/serve 'my model' --an-option-0 value-0 \\\n")
    assert max(map(len, shown.splitlines())) <= 80
    assert all(line.count("--") == line.count("value") for line in shown.splitlines())
    assert shlex.split(shown.replace("\\\n", " ")) == ["HOME_OF=a b", *shlex.split(command)]


def test_what_no_shell_can_read_is_shown_as_it_is():
    assert shell_command("serve 'half a quote") == "serve 'half a quote"


@pytest.mark.parametrize(
    ("low", "high", "like", "shown"),
    [
        (0.0701, 0.0734, 0.0717, "70.1–73.4"),
        (0.95, 1.02, 0.99, "950–1020"),
        (1.5, 12.25, 3.0, "1.50–12.2"),
        (0, 0, 0, "0–0"),
    ],
)
def test_bounds_are_told_in_the_unit_of_what_they_enclose(low, high, like, shown):
    assert span(low, high, like=like) == shown
