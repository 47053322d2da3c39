"""Which cases are meant: by number, range, name, rule and topic; and what is said to a word that means none."""

from __future__ import annotations

import pytest

from agentwire.testing.conformance import CASES
from agentwire.testing.conformance.selection import select


def numbers(*only: str, skip: tuple[str, ...] = ()) -> list[int]:
    return [int(case.number.removeprefix("AWC-")) for case in select(only, skip)]


def test_without_a_word_everything_is_meant() -> None:
    assert len(select()) == len(CASES)


@pytest.mark.parametrize("word", ["AWC-003", "3", "awc-3", "003", "unknown_query_parameters_are_ignored", "AW-H-005"])
def test_a_case_has_many_names(word: str) -> None:
    assert numbers(word) == [3]


@pytest.mark.parametrize("word", ["lanes", "Lanes", "L", "l"])
def test_a_topic_has_a_title_and_a_letter(word: str) -> None:
    assert {case.rules[0][:5] for case in select([word])} == {"AW-L-"}


def test_ranges_and_what_is_left_out() -> None:
    assert numbers("3-6") == [3, 4, 5, 6]
    assert numbers("AWC-003-AWC-006", skip=("4", "AW-H-007")) == [3, 6]
    assert numbers("6", "3") == [3, 6], "the order is that of a run"
    assert 3 not in numbers(skip=("handshake",))


def test_a_rule_means_all_cases_that_show_it() -> None:
    assert len(numbers("aw-e-004")) > 3


@pytest.mark.parametrize("word", ["lane", "9999", "AW-H-999", "", "unknown_query_parameter_are_ignored"])
def test_a_word_that_means_nothing(word: str) -> None:
    with pytest.raises(ValueError, match="is no case's number or name"):
        select([word])


def test_a_slip_is_put_right() -> None:
    with pytest.raises(ValueError, match="is 'lanes' meant"):
        select(["lane"])
