"""One of several processes that send a load together: `python -m msprof_plugins.load.worker`."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from dataclasses import replace
from typing import BinaryIO

from msprof_plugins.load.division import part_of
from msprof_plugins.load.messages import Assignment, Begin, Block, Done, Ready, Tick, receive, say
from msprof_plugins.load.share import Share
from pytest_msprof.requests import plan

__all__ = ["main"]


def main() -> int:
    """Do what the process that started this one assigns, over standard input and output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the load decides what an interrupt means, and says so
    # what anything prints must not stand between the messages
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    questions = os.fdopen(sys.stdin.fileno(), "rb", buffering=0)
    assignment = receive(questions)
    if isinstance(assignment, Assignment):
        work(assignment, questions, answers)
    return 0


def work(assignment: Assignment, questions: BinaryIO, answers: BinaryIO) -> None:
    """Send one part of a load, and tell of it as it goes."""
    job = replace(
        assignment.job,
        sink=lambda samples: say(answers, Block(samples)),
        progress=lambda progress: say(answers, Tick(progress)),
        # the next thing that is said, or the end of who could say it, stops the load
        stop=lambda: bool(select.select([questions], [], [], 0)[0]),
    )
    planned = plan(job.workload, tokenizer=job.target.tokenizer, repeat=job.repeat, step=job.step)
    share = Share(job, part_of(planned, assignment.index, assignment.number), patience=assignment.patience)

    def begin() -> float:
        say(answers, Ready())
        message = receive(questions)
        if not isinstance(message, Begin):
            raise SystemExit(1)
        time.sleep(max(message.moment - time.monotonic(), 0.0))
        return message.moment

    say(answers, Done(share.run(begin)))


if __name__ == "__main__":
    sys.exit(main())
