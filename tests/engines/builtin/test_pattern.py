"""Regular expressions in bounded time: the same verdicts as Python's, samples that match, and no pattern that hangs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.engines.builtin.pattern import Steps, Unsupported, compile_pattern

KNOWN = [
    r"^\d{4}-\d{2}-\d{2}$",
    r"^[a-z][a-z0-9_-]{2,10}$",
    r"(foo|bar)+x?",
    r"^(?:https?://)[^\s]+$",
    r"^(?P<word>a|b){3,}$",
    r"^(?<word>a|b)*?$",
    r"[^\]a-z]",
    r"[]a]b",
    r"^[\w.-]+@\S+$",
    r"a.c\.\x41\u0042\t",
    r"^(a|)(b|c)?$",
    r"^\D\W\S$",
    r"x{2}z",
    "",
]
UNSUPPORTED = [
    r"(?=a)", r"(?!a)", r"(?<=a)b", r"(?<!a)b", r"\1", r"\bword\b",
    r"\p{L}", "(", ")", "a)", "[a", "*a", "a{x}", "a{3,2}",
    "^*", "[z-a]", r"[\b]", r"[\D]", r"\x4", "(?i)a", "\\", "a{99999999}", "(" * 60 + ")" * 60, "a" * 2_000, r"[\w-z]",
]  # fmt: skip


def _pythons(source: str) -> str:
    """The pattern as Python's ``re`` wants it: it names its groups in another way."""
    return re.sub(r"\(\?<(?=\w)", "(?P<", source)


@pytest.mark.parametrize("source", KNOWN)
def test_a_sample_matches_by_pythons_judgement_too(source: str) -> None:
    sample = compile_pattern(source).sample(Steps())
    assert re.search(_pythons(source), sample)


@pytest.mark.parametrize("source", KNOWN)
@given(text=st.text(alphabet="abcxyzfo01-9_.@:/ \tABh]", max_size=12))
def test_the_verdict_is_pythons(source: str, text: str) -> None:
    assert compile_pattern(source).matches(text, Steps()) is (re.search(_pythons(source), text, re.ASCII) is not None)


@pytest.mark.parametrize("source", UNSUPPORTED)
def test_what_is_not_known_is_said_to_be_unsupported(source: str) -> None:
    with pytest.raises(Unsupported):
        compile_pattern(source)


@pytest.mark.parametrize(("source", "shortest"), [(r"^[a-z]+$", 30), (r"b", 9), (r"^(foo)*$", 7), ("", 3)])
def test_a_sample_can_be_asked_to_be_longer(source: str, shortest: int) -> None:
    sample = compile_pattern(source).sample(Steps(), shortest)
    assert len(sample) >= shortest
    assert re.search(source, sample)


@pytest.mark.parametrize(("source", "shortest"), [(r"^a$", 2), (r"a^b", 0), (r"[^\x00-\uffff]", 0), (r"$a", 0)])
def test_where_there_is_no_sample_that_is_said(source: str, shortest: int) -> None:
    with pytest.raises(Unsupported):
        compile_pattern(source).sample(Steps(), shortest)


def test_a_pattern_that_would_hang_backtracking_is_decided() -> None:
    assert not compile_pattern(r"^(a+)+$").matches("a" * 500 + "b", Steps())


@pytest.mark.parametrize("source", [r"((((){4000}){4000}){4000}){4000}", r"(((a{90}){90}){90}){90}", r"[a-z]{4000}"])
def test_a_costly_pattern_is_given_up(source: str) -> None:
    steps = Steps()
    with pytest.raises(Unsupported):
        compile_pattern(source).matches("a" * 4_000, steps)
    assert steps.left < 0


def test_a_long_text_is_not_matched_at_all() -> None:
    with pytest.raises(Unsupported, match="too long"):
        compile_pattern("a").matches("a" * 10_000, Steps())


def test_an_unprintable_class_is_sampled_all_the_same() -> None:
    assert compile_pattern(r"^[\x01-\x05]$").sample(Steps()) == "\x01"
