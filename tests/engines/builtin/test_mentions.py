"""Values in a text: what they look like, how they are grouped, the words around them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.engines.builtin.mentions import groups, looks_like_path, mentions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("read `a.py` now", [("path", "a.py")]),
        ("read src/agentwire, please", [("path", "src/agentwire")]),
        ("list . and ../x and ~/y", [("path", "."), ("path", "../x"), ("path", "~/y")]),
        ('find "open nursery" or `spawn`', [("quoted", "open nursery"), ("code", "spawn")]),
        ("it's Bob's, don't 'quote me' on it", [("name", "Bob"), ("quoted", "quote me")]),
        ("see https://x.y/z?a=b, or mail a.b@c.de.", [("url", "https://x.y/z?a=b"), ("email", "a.b@c.de")]),
        ("on 2026-01-02 at 3.5 or -4", [("date", "2026-01-02"), ("number", 3.5), ("number", -4)]),
        ("three files, $20 and 15%", [("number", 3), ("number", 20), ("number", 15)]),
        ("limit=5 and path=a.py", [("number", 5), ("path", "a.py")]),
        ("what is 2 + 3 * 4?", [("expression", "2 + 3 * 4")]),
        ("every `*.py`, `.md` and src/*.c", [("glob", "*.py"), ("glob", ".md"), ("glob", "src/*.c")]),
        ("the weather in San Francisco, CA", [("name", "San Francisco"), ("name", "CA")]),
        ("Ada Lovelace wrote it", [("name", "Ada Lovelace")]),
        ("Read The Docs", [("name", "The Docs")]),
        ("and/or 24/7 e.g. i.e. v1.2.3 I am", []),
        ("from step 2", []),
        ("```python\nx = 1\n``` and `y`", [("block", "x = 1"), ("code", "y")]),
        ("**bold** Paris", [("name", "Paris")]),
        ("x" * 400, []),
        ("", []),
    ],
)
def test_kinds_and_values(text: str, expected: list[tuple[str, Any]]) -> None:
    assert [(each.kind, each.value) for each in mentions(text)] == expected


def test_enumerated_values_form_one_group() -> None:
    found = groups("Read `a.py`, `b.py`, and `Makefile`; then 3 or 4 of Paris & London")
    assert [[each.value for each in group] for group in found] == [
        ["a.py", "b.py", "Makefile"], [3, 4], ["Paris", "London"]
    ]  # fmt: skip


def test_the_words_around_a_value() -> None:
    pattern, place, limit = mentions('search for "x" in the `src`, 5 lines')
    assert (pattern.cue, pattern.before, pattern.after) == ("for", "for", "in")
    assert (place.cue, place.marked) == ("in", True)
    assert (limit.cue, limit.before, limit.after) == ("in", "src", "lines")


def test_a_cue_does_not_reach_over_the_end_of_a_sentence() -> None:
    (mention,) = mentions("Look in there. `x`")
    assert mention.cue == ""


@pytest.mark.parametrize(
    ("text", "is_path"),
    [
        ("a.py", True), ("src/", True), (".", True), ("Makefile", False), ("trio.run", False), ("a b.py", False),
        ("24/7", False), ("http://x/y", False), ("", False), (".gitignore", False), ("x//y", False), ("*.py", False),
    ],
)  # fmt: skip
def test_paths(text: str, is_path: bool) -> None:
    assert looks_like_path(text) is is_path


@given(st.text(alphabet="aB`'\"“”«». ,/*_-=1+2:\n@$", max_size=60))
def test_any_text_is_scanned_and_every_mention_lies_within_it(text: str) -> None:
    edge = 0
    for mention in mentions(text):
        assert edge <= mention.start <= mention.end <= len(text)
        edge = mention.end
    assert [each for group in groups(text) for each in group] == mentions(text)


def test_only_the_first_few_hundred_are_taken() -> None:
    assert len(mentions("`a` " * 5_000)) == 400
