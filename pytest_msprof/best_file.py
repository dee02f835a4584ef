"""`best.json` of a study: the configuration it recommends, or why there is none, for a deployment script to read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pytest_msprof.errors import StoreError
from pytest_msprof.json_files import read_json, write_json
from pytest_msprof.summary import StudySummary
from pytest_msprof.tuning.outcome import Outcome, by_hand

__all__ = ["with_config_file", "write_best"]

SCHEMA_VERSION = 3
"""1: first release. 2: `config_file`, `confirmed`, `stopped`. 3: `fields` and `command` may be null."""


def write_best(folder: Path, study: StudySummary) -> Path:
    """Write what *study* recommends to `best/<case>/best.json` below *folder*.

    The file that configures the winner, of engines that have one, is written beside it. A study that
    recommends nothing takes the place of what it recommended before: `fields` and `command` are null then,
    so that a script fails instead of deploying what misses the limits, and `verdict` says why.
    """
    place = _place(folder, study.name)
    place.mkdir(parents=True, exist_ok=True)
    path = place / "best.json"
    _forget_config_file(path)
    if study.config_file:
        (place / study.config_file).write_text(study.config_text, encoding="utf-8")
    write_json(
        path,
        {
            "schema_version": SCHEMA_VERSION,
            "case": study.name,
            "study": study.key,
            "engine": study.engine,
            **_recommended(study),
            "objective": study.objective,
            "objectives": study.objectives,
            "front": [
                {"trial": number, "fields": study.trial(number).fields, "metrics": study.trial(number).metrics}
                for number in study.front
            ],
            "subject_to": study.subject_to,
            "confirmed": _confirmed(study),
            "against_default": [delta.model_dump(mode="json") for delta in study.deltas],
            "verdict": study.verdict,
            "stopped": study.stopped,
            "workload": study.workload.model_dump(mode="json", exclude_defaults=True),
        },
    )
    return path


def _recommended(study: StudySummary) -> dict[str, Any]:
    """Say what to start; of a study without a winner, that there is nothing to start."""
    trial = None if study.winner is None else study.trial(study.winner)
    return {
        "fields": trial and trial.fields,
        "load": trial and trial.load,
        "metrics": trial.metrics if trial else {},
        "is_default": study.winner == 0,
        "keep_default": study.keeps_default,
        "is_confirmed": any(entry.number == study.winner and entry.runs for entry in study.confirmations),
        "command": study.command if trial else None,
        "environment": study.environment,
        "config_file": study.config_file,
    }


def _forget_config_file(path: Path) -> None:
    """Remove the file that configured the winner of before; nothing that may be somebody else's."""
    try:
        name = read_json(path).get("config_file")
    except StoreError:
        return
    if isinstance(name, str) and name == Path(name).name and (path.parent / name).is_file():
        (path.parent / name).unlink()


def with_config_file(outcome: Outcome, folder: Path) -> StudySummary:
    """Return the summary of *outcome* with the file that configures the winner, on a port of everyday.

    The launch's private copy lies in `logs` below *folder*; a command that names it names the one
    beside `best.json` instead. Where it is gone, pruned or on another machine, there is no file.
    """
    study, run = outcome.summary, outcome.run
    if run is None or not study.config_file:
        return study
    source = folder / "logs" / run.launch_id / study.config_file
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return study.model_copy(update={"config_file": ""})
    kept = str(_place(folder, study.name) / study.config_file)
    moved = {name: value.replace(str(source), kept) for name, value in study.environment.items()}
    return study.model_copy(
        update={
            "command": study.command.replace(str(source), kept),
            "environment": moved,
            "config_text": by_hand(run, text),
        }
    )


def _place(folder: Path, case: str) -> Path:
    return folder / "best" / re.sub(r"[^A-Za-z0-9_.]+", "-", case).strip("-")


def _confirmed(study: StudySummary) -> list[dict[str, Any]]:
    """Say of each configuration that was launched afresh how often it failed, and how often it missed a limit."""
    return [
        {
            "role": entry.role,
            "trial": entry.number,
            "launches": len(entry.runs) + len(entry.failures),
            "failed": len(entry.failures),
            "limits_missed": entry.broken,
        }
        for entry in study.confirmations
    ]
