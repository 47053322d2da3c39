"""Named values in texts and in JSON."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.engines.builtin.facts import fact_name, facts_of_json, facts_of_text, parse_json


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My name is Ada. I am here.", {"name": "Ada"}),
        ("Remember: the code word is BLUE-42!", {"code_word": "BLUE-42"}),
        ("limit: 5, path = `a b.py`", {"limit": 5, "path": "a b.py"}),
        ("the ratio is 2.5 and ready: true", {"ratio": "2.5 and ready: true"}),
        ("name is", {}),
        ("is it?", {}),
        ("the: x", {}),
    ],
)
def test_facts_in_a_text(text: str, expected: dict[str, Any]) -> None:
    found = facts_of_text(text)
    assert {name: found[name] for name in expected} == expected
    assert bool(found) is bool(expected)


def test_facts_in_json_are_found_at_all_depths_the_outermost_first() -> None:
    value = {"Total Count": 3, "in": {"name": "Ada", "total_count": 4}, "list": [{"city": "Rome"}, {"city": "Oslo"}]}
    found = facts_of_json(value)
    assert (found["total_count"], found["name"], found["city"]) == (3, "Ada", "Rome")


@pytest.mark.parametrize(("text", "name"), [("the Code Word", "code_word"), ("my", ""), ("userName", "user_name")])
def test_names_of_facts(text: str, name: str) -> None:
    assert fact_name(text) == name


@pytest.mark.parametrize("text", ["", "x", "[1", "{", "7", '"x"', "[" * 5_000, '{"a": ' * 3_000, " " * 300_000 + "{}"])
def test_what_is_no_object_or_array_is_none(text: str) -> None:
    assert parse_json(text) is None


def test_json_is_parsed() -> None:
    assert parse_json(' {"a": [1]}') == {"a": [1]}


@given(st.text(alphabet='ab :=.\n`"is', max_size=80))
def test_any_text_has_facts_or_none(text: str) -> None:
    assert all(name and value != "" for name, value in facts_of_text(text).items())


def test_the_number_of_facts_is_bounded() -> None:
    assert len(facts_of_text("".join(f"a{number}: {number}, " for number in range(5_000)))) == 300
    assert len(facts_of_json({f"a{number}": number for number in range(5_000)})) >= 300
