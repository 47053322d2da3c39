"""The page of failures in the field: each row names tests, and each test that it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "project" / "field-failures.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| reported", "| ---"))
]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@cache
def defined_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_there_are_reports() -> None:
    assert len(ROWS) > 20
    assert len(NAMED) > 30


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_report_is_named_and_answered(row: list[str]) -> None:
    reported, wrong, done, shown = row
    assert reported.count("#") or "«run»" in reported or "source" in reported
    assert wrong
    assert done
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", shown)
    assert shown == ", ".join(f"`{path}::{name}`" for path, name in named)
    assert named


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda part: part.rpartition("/")[2])
def test_a_test_that_is_named_is_there(path: str, name: str) -> None:
    assert name.startswith("test_")
    assert name in defined_in(path)
