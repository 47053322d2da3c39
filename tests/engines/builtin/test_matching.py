"""Which tool a text asks for: named, matched, or none."""

from __future__ import annotations

import pytest

from agentwire.engines.builtin.matching import best, closest, named_in, permitted
from agentwire.engines.builtin.toolbox import Offer, offers
from agentwire.testing.recording import ask_for
from tests.engines.kit import ADD, LIST, READ, SEARCH, WEATHER, tool

PLAN = tool("update_plan", "Updates the task plan.", plan={"type": "array", "items": {"type": "object"}})
EXEC = tool("exec_command", "Runs a command in a shell.", required=["cmd"], cmd="string", workdir="string")
SHORT = tool("read", "Read a file.", path="string")
OFFERS = offers(ask_for("x", tools=[LIST, READ, SEARCH, WEATHER, ADD, PLAN, EXEC]).tools)


def name(offer: Offer | None) -> str | None:
    return None if offer is None else offer.name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("list the files in `src`", "list_files"),
        ("Please read `a.py`", "read_file"),
        ("open a.py", "read_file"),
        ("search for `x` in `src`", "search_text"),
        ("grep for `x`", "search_text"),
        ("find every mention of `serve`", "search_text"),
        ("what is the weather in Paris?", "get_weather"),
        ("I want to know the weather in Paris", "get_weather"),
        ("add 3 and 4", "add_numbers"),
        ("run `ls -la`", "exec_command"),
        ("what is in the file `a.py`?", "read_file"),
        ("read each file that it listed", "read_file"),
        ("search for `x` in each file it listed", "search_text"),
    ],
)
def test_a_clear_match(text: str, expected: str) -> None:
    assert name(best(text, OFFERS)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "hello", "", "...", "write a haiku about planning", "I will update my plan tomorrow", "delete the file `a.py`",
        "read me a story", "report what you found in `src`", "tell me about the files", "let us run through this",
        "the quick brown fox", "add some colour", "summarise the weather in Paris",
    ],
)  # fmt: skip
def test_no_clear_match(text: str) -> None:
    assert best(text, OFFERS) is None


def test_named_tools_come_in_the_order_of_the_text() -> None:
    found = named_in("use add numbers, then `read_file`, and Get-Weather", OFFERS)
    assert [each.offer.name for each in found] == ["add_numbers", "read_file", "get_weather"]


def test_of_names_that_overlap_the_longest_counts() -> None:
    both = offers(ask_for("x", tools=[SHORT, READ]).tools)
    assert [each.offer.name for each in named_in("call read_file now", both)] == ["read_file"]


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("I read a book", False),
        ("use read on it", True),
        ("`read` it", True),
        ("the read tool", True),
        ("read(path)", True),
    ],
)
def test_a_name_that_is_a_common_word_must_be_meant(text: str, counts: bool) -> None:
    short = offers(ask_for("x", tools=[SHORT]).tools)
    assert bool(named_in(text, short)) is counts


def test_a_telling_name_counts_wherever_it_stands() -> None:
    jira = offers(ask_for("x", tools=[tool("jira", q="string")]).tools)
    assert [each.offer.name for each in named_in("is there anything in jira?", jira)] == ["jira"]
    assert not named_in("nothing here", jira)


@pytest.mark.parametrize(
    ("message", "missing"),
    [
        ("Do not use read_file.", {"read_file"}),
        ("don't call add numbers or get_weather", {"add_numbers", "get_weather"}),
        ("read `a.py` without search_text", {"search_text"}),
        ("use read_file, do not use list_files", {"list_files"}),
        ("do not worry, use read_file. It is not hard.", set()),
        ("answer without tools", {offer.name for offer in OFFERS}),
        ("do not use any tool", {offer.name for offer in OFFERS}),
    ],
)
def test_forbidden_tools(message: str, missing: set[str]) -> None:
    assert {offer.name for offer in OFFERS} - {offer.name for offer in permitted(message, OFFERS)} == missing


def test_when_a_call_must_be_made_the_closest_tool_is_taken_and_new_ones_first() -> None:
    assert closest("read `a.py`", OFFERS, []).name == "read_file"
    assert closest("use get_weather", OFFERS, []).name == "get_weather"
    assert closest("hello", OFFERS, []).name == "list_files"
    assert closest("hello", OFFERS, ["list_files"]).name == "read_file"
    assert closest("numbers", OFFERS, []).name == "add_numbers"
    assert closest("hello", OFFERS[:1], ["list_files"]).name == "list_files"
