"""What checks say, and where."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from agentwire.protocol.checks import EMPTY, Check, Misfit, between, kind_of, length, matching, one_of, shorten


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "a boolean"),
        (1, "an integer"),
        (1.0, "a number"),
        ("", "a string"),
        ({}, "an object"),
        (MappingProxyType({}), "an object"),
        ([], "an array"),
        ((), "an array"),
        (b"", "a bytes"),
    ],
)
def test_a_json_type_has_its_words(value: Any, words: str) -> None:
    assert kind_of(value) == words


@pytest.mark.parametrize(
    ("check", "good", "bad", "code"),
    [
        (length(1, 3), ["a", "abc", [1]], ["", "abcd", []], "invalid_value"),
        (between(0, 2), [0, 1.5, 2], [-1, 2.1, -(10**400)], "invalid_value"),
        (between(16), [16, 10**9], [15], "invalid_value"),
        (matching("[a-z]", 1, 3), ["abc"], ["", "abcd", "A", "a\n"], "invalid_value"),
        (one_of("a", "b"), ["a"], ["c", ""], "unsupported_value"),
    ],
)
def test_a_check_passes_what_is_allowed(check: Check, good: list[Any], bad: list[Any], code: str) -> None:
    for value in good:
        check(value)
    for value in bad:
        with pytest.raises(Misfit) as caught:
            check(value)
        assert caught.value.code == code
        assert len(caught.value.expected) < 200


def test_a_path_is_written_as_the_wire_writes_it() -> None:
    misfit = Misfit.kind("a string", 1).under("text").under(0).under("content").under(2).under("input")
    assert misfit.param == "input[2].content[0].text"
    assert Misfit("x", "").param == ""
    assert Misfit.missing("model").param == "model"


def test_a_quote_is_never_long() -> None:
    assert shorten("short") == "'short'"
    assert len(shorten("x" * 10_000)) < 100
    assert len(shorten({"x": "y" * 10_000})) < 100


def test_nothing_is_shared_and_cannot_be_changed() -> None:
    assert isinstance(EMPTY, Mapping)
    assert EMPTY == {}
    with pytest.raises(TypeError):
        EMPTY["a"] = 1  # type: ignore[index]
