"""`best.json` of a study: the configuration it recommends, ready for a deployment script to read."""

from __future__ import annotations

import re
from pathlib import Path

from pytest_msprof.json_files import write_json
from pytest_msprof.summary import StudySummary

__all__ = ["write_best"]

SCHEMA_VERSION = 1
"""1: first release."""


def write_best(folder: Path, study: StudySummary) -> Path | None:
    """Write what *study* recommends to `best/<case>/best.json` below *folder*; None where it recommends nothing."""
    if study.winner is None:
        return None
    trial = study.trial(study.winner)
    place = folder / "best" / re.sub(r"[^A-Za-z0-9_.]+", "-", study.name).strip("-")
    place.mkdir(parents=True, exist_ok=True)
    path = place / "best.json"
    write_json(
        path,
        {
            "schema_version": SCHEMA_VERSION,
            "case": study.name,
            "study": study.key,
            "engine": study.engine,
            "fields": trial.fields,
            "load": trial.load,
            "objective": study.objective,
            "objectives": study.objectives,
            "front": [
                {"trial": number, "fields": study.trial(number).fields, "metrics": study.trial(number).metrics}
                for number in study.front
            ],
            "subject_to": study.subject_to,
            "metrics": trial.metrics,
            "is_default": trial.number == 0,
            "is_confirmed": any(entry.number == trial.number and entry.runs for entry in study.confirmations),
            "against_default": [delta.model_dump(mode="json") for delta in study.deltas],
            "verdict": study.verdict,
            "command": study.command,
            "environment": study.environment,
            "workload": study.workload.model_dump(mode="json", exclude_defaults=True),
        },
    )
    return path
