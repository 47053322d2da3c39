"""Words: stems, families of verbs, the words of names."""

from __future__ import annotations

import pytest

from agentwire.engines.builtin.words import is_common, name_words, significant, stem, stems


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("files", "file"), ("searches", "search"), ("grep", "search"), ("finding", "search"), ("reading", "read"),
        ("listed", "listed"), ("opened", "opened"), ("created", "created"), ("found", "found"), ("running", "run"),
        ("multiplied", "multiply"), ("directories", "directory"), ("folders", "directory"), ("weather", "weather"),
        ("classes", "class"), ("status", "status"), ("address", "address"), ("tests", "test"), ("is", "is"),
        ("planned", "plan"), ("writing", "write"),
    ],
)  # fmt: skip
def test_stems(word: str, expected: str) -> None:
    assert stem(word) == expected


@pytest.mark.parametrize(
    ("name", "parts", "telling"),
    [
        ("get_weather", ["get", "weather"], ("weather",)),
        ("listFiles", ["list", "files"], ("list", "file")),
        ("HTTPGet", ["http", "get"], ("http",)),
        ("mcp__fs__read2", ["mcp", "fs", "read", "2"], ("mcp", "fs", "read", "2")),
        ("get", ["get"], ("get",)),
        ("exec_command", ["exec", "command"], ("run",)),
        ("--", [], ()),
    ],
)
def test_names_are_cut_into_words(name: str, parts: list[str], telling: tuple[str, ...]) -> None:
    assert name_words(name) == parts
    assert significant(parts) == telling


def test_a_description_says_what_a_tool_does_first() -> None:
    assert stems("Finds the lines that contain a pattern.")[:2] == ("search", "line")


@pytest.mark.parametrize(("word", "common"), [("read", True), ("the", True), ("files", True), ("ada", False)])
def test_common_words_are_no_names(word: str, common: bool) -> None:
    assert is_common(word) is common
