"""The live line is drawn on a terminal only, and leaves nothing behind."""

from __future__ import annotations

import io
import os
import pty
import sys

import pytest

from pytest_msprof import Progress
from pytest_msprof.live_line import live_line, progress_text

HALFWAY = Progress(
    elapsed=61.7, running=64, completed=1000, failed=2, output_tokens=61_700, ttft_p50=0.02, ttft_p99=0.1
)


@pytest.fixture
def terminal():
    """Give a stream that is a terminal, and what reads the text that comes there until some words came."""
    outside, inside = pty.openpty()
    stream = os.fdopen(inside, "w")

    def read_until(words: str) -> None:
        text = ""
        while words not in text:
            text += os.read(outside, 65536).decode(errors="replace")

    yield stream, read_until
    stream.close()
    os.close(outside)


def test_it_tells_time_requests_tokens_and_first_tokens():
    assert progress_text(HALFWAY) == ("1:01  running 64  done 1000  failed 2  1,000 token/s  ttft 20.0 ms, p99 100 ms")


def test_before_the_first_token_there_is_no_figure():
    assert progress_text(Progress(0.0, 0, 0, 0, 0)) == "0:00  running 0  done 0  failed 0  —  ttft —"


def test_on_a_terminal_it_is_drawn_in_place_and_wiped_at_the_end(terminal):
    stream, read_until = terminal
    with live_line(stream) as show:
        show(HALFWAY)
        read_until("done 1000")
    read_until("\x1b[2K")


def test_without_a_terminal_nothing_is_drawn():
    stream = io.StringIO()
    with live_line(stream) as show:
        assert show is None
    assert stream.getvalue() == ""


def test_without_rich_nothing_is_drawn(terminal, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with live_line(terminal[0]) as show:
        assert show is None
