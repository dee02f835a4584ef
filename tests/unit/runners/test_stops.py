"""An answer ends before its stop, however its text is cut into pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from msprof_runners.serving.stops import UpTo

TEXTS = st.text(alphabet="ab", max_size=24)
STOPS = st.lists(st.text(alphabet="ab", min_size=1, max_size=4), max_size=3)


def whole(text, stops):
    """Return what comes before the first stop that is complete."""
    for end in range(len(text) + 1):
        met = [place for stop in stops if (place := text[:end].find(stop)) >= 0]
        if met:
            return text[: min(met)], True
    return text, False


@given(TEXTS, STOPS)
def test_character_by_character_it_ends_before_the_first_stop_that_is_complete(text, stops):
    up_to = UpTo(stops)
    said = "".join(map(up_to.add, text))
    assert (said + up_to.rest(), up_to.is_over) == whole(text, stops)


@given(st.lists(TEXTS, max_size=6), STOPS)
def test_what_is_out_is_never_part_of_a_stop(pieces, stops):
    up_to, text = UpTo(stops), "".join(pieces)
    said = "".join(map(up_to.add, pieces)) + up_to.rest()
    assert text.startswith(said)
    assert not any(stop in said for stop in stops)
    assert up_to.is_over == any(stop in text for stop in stops)


def test_text_that_cannot_belong_to_a_stop_is_not_held_back():
    up_to = UpTo(["END"])
    assert [up_to.add(piece) for piece in ("a E", "N", "x", "E", "ND and more")] == ["a ", "", "ENx", "", ""]
    assert up_to.is_over
