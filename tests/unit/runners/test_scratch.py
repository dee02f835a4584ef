"""A folder for the life of a process is gone afterwards, whoever removes it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from msprof_runners.scratch import scratch_folder

HOLD = """
import sys
from msprof_runners.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "content").write_text("something")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path, monkeypatch):
    """Start a process that holds a folder in a place of our own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        yield process
        process.kill()


def test_what_a_killed_process_left_is_removed_by_the_next_one_and_what_a_living_one_holds_is_not(holder, tmp_path):
    held = tmp_path / holder.stdout.readline().strip()
    with scratch_folder() as own:
        assert (held / "content").exists()
        assert own.parent == held.parent == tmp_path
    assert not own.exists()
    holder.kill()
    holder.wait()
    assert held.exists()
    with scratch_folder():
        assert not held.exists()


def test_a_folder_of_that_name_without_a_lock_is_somebody_elses(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "msprof-ranks-mine").mkdir()
    with scratch_folder():
        pass
    assert (tmp_path / "msprof-ranks-mine").exists()
