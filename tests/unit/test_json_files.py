"""A file is replaced as a whole: whoever dies while writing leaves the one before."""

from __future__ import annotations

import os
import signal

import pytest

from pytest_msprof.json_files import read_json, write_json


@pytest.mark.parametrize("dies_in", ["fsync", "rename"])
def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path, monkeypatch, dies_in):
    path = tmp_path / "best.json"
    write_json(path, {"winner": 1})

    child = os.fork()
    if child == 0:
        if dies_in == "fsync":
            monkeypatch.setattr(os, "fsync", lambda _: os.kill(os.getpid(), signal.SIGKILL))
        else:
            monkeypatch.setattr(type(path), "replace", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        write_json(path, {"winner": 2})
        os._exit(0)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert read_json(path) == {"winner": 1}
    write_json(path, {"winner": 3})
    assert read_json(path) == {"winner": 3}
