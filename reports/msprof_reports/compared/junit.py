"""A comparison as JUnit XML, which CI servers show: a test case for each figure that decides, facts as properties."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

from pytest_msprof.display import change, interval, percent
from pytest_msprof.side_by_side import Row, SideBySide
from pytest_msprof.side_table import figure

__all__ = ["write_junit"]

FAILING = ("regressed", "incomparable")
SURE = ("improved", "unchanged")
UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""What XML cannot carry."""


def write_junit(comparison: SideBySide, path: Path) -> None:
    """Write the file to *path*: what regressed or cannot be compared fails, what lacks evidence is skipped."""
    cases = list(_cases(comparison))
    suite = ET.Element(
        "testsuite",
        name="pytest-msprof compare",
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        skipped=str(sum(case.find("skipped") is not None for case in cases)),
        errors="0",
    )
    suite.append(_properties(_facts(comparison)))
    suite.extend(cases)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _facts(comparison: SideBySide) -> dict[str, str]:
    return {
        "msprof.verdict": comparison.verdict,
        "msprof.input": comparison.input.path,
        "msprof.input.launches": str(comparison.input.launches),
        "msprof.golden": comparison.golden.path,
        "msprof.golden.launches": str(comparison.golden.launches),
    }


def _cases(comparison: SideBySide) -> Iterator[ET.Element]:
    if comparison.reasons:
        case = ET.Element("testcase", classname="compare", name="same workload")
        ET.SubElement(case, "failure", message=_text("; ".join(comparison.reasons)), type="incomparable")
        yield case
    yield from (_case(row) for row in comparison.gating if not comparison.reasons)


def _case(row: Row) -> ET.Element:
    delta = row.delta
    case = ET.Element("testcase", classname=_text(f"compare.{row.dimension}"), name=_text(row.name))
    told = {
        "msprof.verdict": delta.verdict,
        "msprof.golden": figure(row, delta.golden),
        "msprof.input": figure(row, delta.current),
        "msprof.change": change(delta.change),
        "msprof.interval": interval(delta.low, delta.high),
        "msprof.detectable": percent(delta.detectable),
        "msprof.launches": f"{delta.launches_golden}+{delta.launches_current}",
    }
    case.append(_properties(told))
    message = _text(f"{delta.verdict}: {told['msprof.change']} ({told['msprof.interval']}) {delta.reason}".strip())
    if delta.verdict in FAILING:
        ET.SubElement(case, "failure", message=message, type=delta.verdict)
    elif delta.verdict not in SURE:
        ET.SubElement(case, "skipped", message=message, type=delta.verdict)
    return case


def _properties(facts: Mapping[str, str]) -> ET.Element:
    found = ET.Element("properties")
    for name, value in facts.items():
        ET.SubElement(found, "property", name=name, value=_text(value))
    return found


def _text(text: str) -> str:
    return UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text)
