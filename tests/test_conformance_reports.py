"""What is said to be seen in the reports of other programs stands in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent / "docs" / "project"
PAGES = {
    "agentic-api": "agentic-api",
    "LiteLLM, managed": "litellm",
    "LiteLLM, native": "litellm-native",
    "LiteLLM": "litellm",
    "openai-python": "client-openai-python",
    "Agents SDK": "client-agents-sdk",
}
KNOWN = (PROJECT / "conformance-reports.md").read_text(encoding="utf-8").partition("## Which check finds")[2]
ROWS = [line.strip("| ").split(" | ") for line in KNOWN.splitlines() if "AW" in line and line.startswith("|")]


def seen_in(program: str) -> set[str]:
    """The checks that did not pass."""
    page = (PROJECT / "reports" / f"{PAGES[program]}.md").read_text(encoding="utf-8")
    shown = page.partition("## Not applicable")[0]
    return set(re.findall(r"^\| \[?(AW[CK]-\d{3})", shown, re.MULTILINE))


def test_there_is_a_table() -> None:
    assert len(ROWS) > 20


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0] if isinstance(row, list) else None)
def test_what_is_known_is_in_a_report(row: list[str]) -> None:
    *_, programs, where = row
    named = [name for name in PAGES if re.search(rf"{name}(?!, (managed|native))", programs)]
    assert named, programs
    numbers = set(re.findall(r"AW[CK]-\d{3}", where))
    assert numbers <= set().union(*map(seen_in, named)), numbers
