"""Every case T01 to T55 has a test that carries its number, or a reason in the page.

The page is docs/explanation/failures.md; the number stands in a test's name or docstring.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "explanation" / "failures.md"
CASES = [f"T{number:02}" for number in range(1, 56)]
WHY_NOT = "can't apply"
NOT_YET = "not yet"
OWED = frozenset({"T23"})
"""Cases of which the page says «not yet» for a part or for all; the list may only shrink."""


def lines() -> dict[str, str]:
    """What the page says of each case."""
    text = PAGE.read_text("utf-8")
    found = re.findall(r"^- \*\*(T\d\d)\*\* ((?:.+\n)(?:  .+\n)*)", text, re.MULTILINE)
    assert [case for case, _ in found] == CASES, "a case is missing, doubled or out of order"
    return {case: " ".join(said.split()) for case, said in found}


def carried() -> dict[str, set[str]]:
    """The cases whose number each test carries."""
    tests: dict[str, set[str]] = {}
    for path in ROOT.glob("tests/**/test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                words = f"{node.name} {ast.get_docstring(node) or ''}"
                numbers = re.findall(r"(?<![A-Za-z0-9])[Tt](\d\d)(?![0-9])", words)
                tests.setdefault(node.name, set()).update(f"T{number}" for number in numbers)
    return tests


LINES, CARRIED = lines(), carried()


@pytest.mark.parametrize("case", CASES)
def test_case_has_a_test_that_carries_its_number_or_a_reason(case: str) -> None:
    named = re.findall(r"`(test_\w+)`", LINES[case])
    assert [name for name in named if name not in CARRIED] == [], "no such test"
    own = [name for name in named if case in CARRIED[name]]
    assert own or WHY_NOT in LINES[case] or case in OWED, (
        f"{case}: name a test whose docstring or name carries it, or say why it {WHY_NOT}"
    )


def test_what_is_owed_is_said_and_nothing_else_is() -> None:
    said = {case for case, words in LINES.items() if NOT_YET in words}
    assert said == OWED
