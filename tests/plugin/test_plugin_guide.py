"""The plugin guide's package works as it is printed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (acme_serving/\w+\.py)\n")


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "page", [*sorted(DOCS.glob("*.md")), *sorted(DOCS.parent.glob("README*.md"))], ids=lambda page: page.name
)
def test_every_python_block_of_the_documentation_is_python(page):
    for block in blocks(page):
        ast.parse(block)


def test_both_readmes_print_the_same_code():
    english, chinese = (blocks(DOCS.parent / name) for name in ("README.md", "README.zh.md"))
    assert english == chinese


def test_the_guides_engine_and_load_generator_pass_the_suites_that_the_guide_shows(pytester):
    pytester.mkpydir("acme_serving")
    for block in blocks(DOCS / "plugin-guide.md"):
        if named := FILE.match(block):
            (pytester.path / named[1]).write_text(block)
        elif "SimulatorConformance" in block:
            pytester.makepyfile(test_acme=block)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly")
    result.assert_outcomes(passed=12)
