"""What a session came to, said first and in plain words: one finding a study, one for the whole."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, get_args

from pytest_msprof.comparison import Comparison, Verdict
from pytest_msprof.display import change
from pytest_msprof.errors import MetricMissing, UnknownName
from pytest_msprof.results import Run, Value
from pytest_msprof.search_facts import higher_is_better
from pytest_msprof.summary import Confirmation, SessionSummary, StudySummary, TrialRecord

__all__ = [
    "Finding",
    "Tone",
    "comparison_verdict",
    "environments",
    "figure",
    "gravity",
    "ranked",
    "session_findings",
    "study_finding",
]

Tone = Literal["bad", "unsure", "good", "even"]
"""How a finding reads, what needs attention first."""

TONES: tuple[Tone, ...] = get_args(Tone)
STUDIES_BY_TONE: dict[Tone, str] = {
    "bad": "found nothing usable",
    "unsure": "lack evidence",
    "good": "beat the default",
}
LACKS_EVIDENCE: tuple[Verdict, ...] = ("inconclusive", "descriptive")


class Finding(NamedTuple):
    """One conclusion: its tone, a headline of a few words, and the part of the session it is about."""

    tone: Tone
    headline: str
    about: Literal["studies", "comparisons", "runs"] = "studies"


def session_findings(summary: SessionSummary) -> list[Finding]:
    """Say what the session showed, worst first; never nothing."""
    found = [*_comparisons(summary.comparisons), *_studies(summary.studies)]
    if summary.golden_recorded:
        cases = _count(len(summary.golden_recorded), "case")
        found.append(Finding("even", f"Golden recorded for {cases}", "comparisons" if summary.comparisons else "runs"))
    if not found:
        runs = _count(len(summary.runs), "run")
        words = f"{runs} recorded, nothing compared" if summary.runs else "Nothing was measured"
        found = [Finding("even", words, "runs")]
    return sorted(found, key=lambda finding: TONES.index(finding.tone))


def study_finding(study: StudySummary) -> Finding:
    """Say in a few words what became of the search; the sentence behind it is `study.verdict`."""
    if not study.trials:
        return Finding("unsure", "Nothing was measured yet")
    if all(trial.state == "failed" for trial in study.trials):
        return Finding("bad", f"All {_count(len(study.trials), 'trial')} failed")
    if study.winner is None:
        return Finding("bad", "Nothing met the constraints")
    if not study.confirmations:
        return Finding("unsure", "Best of one launch each, not confirmed")
    if study.winner == 0:
        return Finding("even", "Keep the default")
    return _against_default(study)


UNPROVED = {
    "incomparable": Finding("unsure", "No verdict against the default"),
    "regressed": Finding("bad", "Worse than the default"),
    "descriptive": Finding("unsure", "Too few launches for a verdict"),
}
"""What is said of a winner that is not shown to be better, by the verdict on the objective."""


def _against_default(study: StudySummary) -> Finding:
    if not study.deltas:
        return Finding("unsure", "Not compared with the default")
    objective = study.deltas[0]
    if objective.verdict == "improved":
        return Finding("good", f"{change(objective.change)} {objective.metric}")
    if objective.verdict != "incomparable" and _misses_constraints(study):
        return Finding("good", "Meets the constraints, which the default misses")
    return UNPROVED.get(objective.verdict, Finding("even", "Not distinguishable from the default"))


def _misses_constraints(study: StudySummary) -> bool:
    """Whether the default missed a constraint in half of its launches or more."""
    return any(
        entry.role == "default" and entry.broken and 2 * entry.broken >= _launches(entry)
        for entry in study.confirmations
    )


def _launches(confirmation: Confirmation) -> int:
    return len(confirmation.runs) + len(confirmation.failures)


def comparison_verdict(comparison: Comparison) -> str:
    """Return the verdict, or that there was nothing to compare with."""
    return "no golden yet" if comparison.golden_missing else comparison.verdict


def gravity(comparison: Comparison) -> int:
    """Return a sort key that puts the worst verdict first and what has no golden yet last."""
    verdicts = get_args(Verdict)
    return len(verdicts) if comparison.golden_missing else verdicts.index(comparison.verdict)


def _comparisons(comparisons: tuple[Comparison, ...]) -> Iterator[Finding]:
    counts = Counter(comparison.verdict for comparison in comparisons if not comparison.golden_missing)
    total = sum(counts.values())
    among = f"of {_count(total, 'comparison')}"
    if counts["regressed"]:
        yield Finding("bad", f"{counts['regressed']} {among} regressed", "comparisons")
    if counts["incomparable"]:
        yield Finding("bad", f"{counts['incomparable']} {among} cannot be compared", "comparisons")
    if unsure := sum(counts[verdict] for verdict in LACKS_EVIDENCE):
        yield Finding("unsure", f"{unsure} {among} without enough evidence", "comparisons")
    if total and total == counts["unchanged"] + counts["improved"]:
        yield Finding("good", f"No regression in {_count(total, 'comparison')}", "comparisons")


def _studies(studies: tuple[StudySummary, ...]) -> Iterator[Finding]:
    if len(studies) == 1:
        finding = study_finding(studies[0])
        beaten = "" if finding.tone != "good" or "default" in finding.headline else " over the default"
        yield Finding(finding.tone, f"{finding.headline}{beaten if studies[0].deltas else ''}")
        return
    tones = Counter(study_finding(study).tone for study in studies)
    for tone, words in STUDIES_BY_TONE.items():
        if tones[tone]:
            yield Finding(tone, f"{tones[tone]} of {_count(len(studies), 'study')} {words}")
    if studies and tones["even"] == len(studies):
        yield Finding("even", f"The default holds in all {_count(len(studies), 'study')}")


def _count(number: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def ranked(study: StudySummary) -> list[TrialRecord]:
    """Return the trials with the winner first, then by objective, then what was infeasible, left behind, or failed."""
    states = ("measured", "infeasible", "behind", "failed")
    sign = -1 if higher_is_better(study.objective, study) else 1

    def place(trial: TrialRecord) -> tuple[bool, int, bool, float, int]:
        value = 0.0 if trial.value is None else sign * trial.value
        return trial.number != study.winner, states.index(trial.state), trial.value is None, value, trial.number

    return sorted(study.trials, key=place)


def figure(run: Run, name: str) -> float | None:
    """Return one figure of *run*, None where it does not have it or it is no figure."""
    try:
        value = run.value(name)
    except (MetricMissing, UnknownName):
        return None
    return value if math.isfinite(value) else None


def environments(summary: SessionSummary) -> tuple[list[str], dict[str, list[list[Value]]]]:
    """Return column names, and for each fact the distinct values in each column.

    The columns are the session and its engines. A fact that differs between the launches of an
    engine, such as its command line, has several values.
    """
    columns: dict[str, list[Mapping[str, Value]]] = {"session": [summary.environment]} if summary.environment else {}
    for run in summary.runs:
        columns.setdefault(run.engine or "engine", []).append(run.environment)
    facts: dict[str, list[list[Value]]] = {}
    for index, found in enumerate(columns.values()):
        for name, value in (pair for environment in found for pair in _flat(environment)):
            values = facts.setdefault(name, [[] for _ in columns])[index]
            if value not in values:
                values.append(value)
    return list(columns), facts


def _flat(facts: Mapping[str, Value], prefix: str = "") -> Iterator[tuple[str, Value]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
