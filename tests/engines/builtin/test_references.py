"""References: what a step takes from earlier outputs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentwire.engines.builtin.reading import Exchange
from agentwire.engines.builtin.references import reference_in, targets_in
from agentwire.engines.builtin.toolbox import Offer, offers
from agentwire.testing.recording import ask_for
from tests.engines.kit import ADD, LIST, READ, SEARCH, WEATHER, tool

FETCH = tool("fetch_page", url="string")
SQUARE = tool("square", value="number")
OFFERS = {
    offer.name: offer
    for offer in offers(
        ask_for("x", tools=[LIST, READ, SEARCH, WEATHER, ADD, FETCH, SQUARE, {"type": "custom", "name": "note"}]).tools
    )
}
LISTING = "README.md\nsrc/\nsrc/a.py  120 bytes\nsrc/b.md\ntests/c.py\nMakefile"
HITS = "src/a.py:12: class Engine(Base):\nsrc/a.py:40:     def run(self):\ntests/c.py:3: import engine"
CODE = "class Engine(Base):\n    async def run(self): ...\nclass Pen:\n# the class of\ndef stop():"


def taken(text: str, output: str, name: str = "read_file", arguments: str = "{}") -> list[Any] | None:
    reference = reference_in(text, OFFERS[name])
    return None if reference is None else targets_in(reference, [Exchange("any", arguments, output)])[0]


@pytest.mark.parametrize(
    ("text", "output", "expected"),
    [
        ("read each file that it listed", LISTING, ["README.md", "src/a.py", "src/b.md", "tests/c.py", "Makefile"]),
        ("read every `.py` file", LISTING, ["src/a.py", "tests/c.py"]),
        ("read all of them that match `src/*.py`", LISTING, ["src/a.py"]),
        ("read each python file", LISTING, ["src/a.py", "tests/c.py"]),
        ("read each file in `src/`", LISTING, ["src/a.py", "src/b.md"]),
        ("read the first two files", LISTING, ["README.md", "src/a.py"]),
        ("read the last 2 of those", LISTING, ["tests/c.py", "Makefile"]),
        ("read the first file", LISTING, ["README.md"]),
        ("read it", LISTING, ["README.md"]),
        ("read each directory", LISTING, ["src/"]),
        ("read each file that contains `class`", HITS, ["src/a.py"]),
        ("read each file it found", HITS, ["src/a.py", "tests/c.py"]),
        ("read those", json.dumps(["x.py", {"path": "y.py", "size": 3}, 7]), ["x.py", "y.py"]),
        ("read those", json.dumps({"files": [{"name": "x.py"}], "total": 1}), ["x.py"]),
        ("read them", "- `a.py`\n* b.py, new\n├── c.py\nnothing here", ["a.py", "b.py", "c.py"]),
        ("read each file", "nothing to see here", []),
        ("read each file", "", []),
    ],
)
def test_files(text: str, output: str, expected: list[str]) -> None:
    assert taken(text, output) == expected


@pytest.mark.parametrize(
    ("output", "arguments", "expected"),
    [
        ("a.py\nsub/b.py", '{"path": "src"}', ["src/a.py", "src/sub/b.py"]),
        ("src/a.py\nREADME.md", '{"path": "src"}', ["src/a.py", "README.md"]),
        ("a.py", '{"path": "."}', ["a.py"]),
        ("/abs/a.py", '{"directory": "src/"}', ["/abs/a.py"]),
    ],
)
def test_names_in_a_listing_are_below_the_directory_that_was_listed(
    output: str, arguments: str, expected: list[str]
) -> None:
    assert taken("read each file", output, arguments=arguments) == expected


@pytest.mark.parametrize(
    ("name", "text", "output", "expected"),
    [
        ("search_text", "search for each class it found", CODE, ["Engine", "Pen"]),
        ("search_text", "search for each class in `src`", HITS, ["Engine"]),
        ("search_text", "search for every function it defines", CODE, ["run", "stop"]),
        ("search_text", "search for each name", 'say "x" and `y`', ["x", "y"]),
        ("search_text", "search for each term", "- one\n\n- two", ["one", "two"]),
        ("search_text", "search for `x` in each of them", LISTING.replace("src/\n", ""),
         ["README.md", "src/a.py", "src/b.md", "tests/c.py", "Makefile"]),
        ("fetch_page", "fetch each link", "see https://x.y and (https://z.w/a)", ["https://x.y", "https://z.w/a"]),
        ("square", "square each number", "1, 2.5 and v3 or -4", [1, 2.5, -4]),
        ("note", "note each of them", "one\ntwo", ["one", "two"]),
        ("get_weather", "the weather in each city it named", '"Oslo", "Rome"', ["Oslo", "Rome"]),
    ],
)  # fmt: skip
def test_other_values(name: str, text: str, output: str, expected: list[Any]) -> None:
    assert taken(text, output, name) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("read_file", "read `a.py`"),
        ("read_file", "read both `a.py` and `b.py`"),
        ("read_file", "read `a.py` and explain it"),
        ("list_files", "list all files"),
        ("get_weather", "is it warm in Paris?"),
        ("get_weather", "each of Paris and Rome"),
        ("get_weather", "the first Monday"),
    ],
)
def test_no_reference(name: str, text: str) -> None:
    assert reference_in(text, OFFERS[name]) is None


def test_a_step_can_be_named() -> None:
    reference = reference_in("read each file of step 2", OFFERS["read_file"])
    assert reference is not None
    assert reference.step == 2


def test_a_tool_without_slots_takes_nothing() -> None:
    assert reference_in("use it on each file", Offer("bare")) is None


def test_what_is_more_than_a_step_takes_is_counted() -> None:
    reference = reference_in("read each file", OFFERS["read_file"])
    assert reference is not None
    listing = "\n".join(f"{number}.py" for number in range(50))
    values, left_out = targets_in(reference, [Exchange("list", "{}", listing), Exchange("list", "{}", listing)])
    assert (len(values), left_out) == (32, 18)
    last = reference_in("read the last two files", OFFERS["read_file"])
    assert last is not None
    assert targets_in(last, [Exchange("list", "{}", listing)]) == (["48.py", "49.py"], 48)
