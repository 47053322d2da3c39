"""Plans: which steps a message has, and which tool each asks for."""

from __future__ import annotations

import pytest

from agentwire.engines.builtin.plan import Plan, Step, plan_of, plan_steps
from agentwire.engines.builtin.toolbox import offers
from agentwire.testing.recording import ask_for
from tests.engines.kit import ADD, LIST, READ, SEARCH, WEATHER

OFFERS = offers(ask_for("x", tools=[LIST, READ, SEARCH, WEATHER, ADD]).tools)


def shape(plan: Plan) -> list[tuple[int, str | None]]:
    """The number and tool of each step."""
    return [(step.number, step.offer.name if step.offer else None) for step in plan.steps]


def only(message: str) -> Step:
    (step,) = plan_of(message, OFFERS).steps
    return step


SURVEY = """Survey the project.

1. List the files in `src`.
2) Read `a.py` and
   `b.py`.
- Search for "x":
  - in `src`
(4) Report what you found.

Finally read `README.md`."""


def test_a_list_is_a_plan() -> None:
    plan = plan_of(SURVEY, OFFERS)
    assert plan.written
    assert shape(plan) == [(1, "list_files"), (2, "read_file"), (3, "search_text"), (4, None), (5, "read_file")]
    assert plan.steps[1].text == "Read `a.py` and `b.py`."
    assert plan.steps[2].text == 'Search for "x": in `src`'
    assert plan.calls_tools


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("First list the files in `src`, then read `a.py`. Finally, search for `x` in src/.",
         [(1, "list_files"), (2, "read_file"), (3, "search_text")]),
        ("Read `a.py`; after that read `b.py`", [(1, "read_file"), (2, "read_file")]),
        ("read `a.py`, then say what it is", [(1, "read_file"), (2, None)]),
        ("1. add 1 and 2\n2. add 3 and 4", [(1, "add_numbers"), (2, "add_numbers")]),
        ("1. use list_files on `src` and read_file on `a.py`", [(1, "list_files"), (1, "read_file")]),
        ("1. list the files in `src` and read `a.py`\n2. done", [(1, "list_files"), (1, "read_file"), (2, None)]),
        ("step 1: list files in `src`\nstep 2: read `a.py`", [(1, "list_files"), (2, "read_file")]),
    ],
)  # fmt: skip
def test_an_order_in_words_or_numbers(message: str, expected: list[tuple[int, str | None]]) -> None:
    assert shape(plan_of(message, OFFERS)) == expected


@pytest.mark.parametrize(
    ("message", "tools"),
    [
        ("What's the weather in Paris? I like nice weather.", ["get_weather"]),
        ("Use add_numbers with 1 and 2, and get_weather in Rome.", ["add_numbers", "get_weather"]),
        ("Do not use get_weather. Add 3 and 4.", ["add_numbers"]),
        ("- milk\n- bread", []),
        ("hello", []),
        ("", []),
    ],
)
def test_without_an_order_each_tool_is_asked_for_once(message: str, tools: list[str]) -> None:
    plan = plan_of(message, OFFERS)
    assert not plan.written
    assert [step.offer.name for step in plan.steps if step.offer] == tools


def test_a_list_of_values_belongs_to_the_sentence_above_it() -> None:
    assert only("Use get_weather for:\n- Paris\n- Berlin").text == "Use get_weather for: Paris, Berlin"


def test_a_tool_that_is_asked_for_alone_takes_its_values_from_all_of_the_message() -> None:
    assert only("What's the weather like? I am in Berlin.").text.endswith("Berlin.")


def test_quoted_text_is_neither_cut_nor_numbered() -> None:
    assert shape(plan_of('search for "first. then read" in src/', OFFERS)) == [(1, "search_text")]
    plan = plan_of("1. read `a.py`:\n```\n2. not a step\n```\n3. add 1 and 2", OFFERS)
    assert shape(plan) == [(1, "read_file"), (2, "add_numbers")]


@pytest.mark.parametrize(
    ("text", "at_once"),
    [
        ("read each file, three at a time", 3), ("read each file 20 at a time", 8), ("read each one by one", 1),
        ("read `a.py` and `b.py` in parallel", 8), ("read `a.py` and `b.py`", None),
    ],
)  # fmt: skip
def test_how_many_at_once(text: str, at_once: int | None) -> None:
    assert only(f"use read_file: {text}").at_once == at_once


def test_tools_of_one_line_can_run_together() -> None:
    plan = plan_of("1. In parallel, use list_files on `src` and read_file on `a.py`\n2. report", OFFERS)
    assert [step.joined for step in plan.steps] == [False, True, False]


def test_without_tools_there_is_no_plan() -> None:
    assert plan_of(SURVEY, ()) == Plan()
    assert plan_of("Without tools: list the files", OFFERS) == Plan()


def test_a_long_plan_is_made_in_slices_and_has_a_bound() -> None:
    message = "\n".join(f"{number}. add {number} and 1" for number in range(1, 300))
    slices = sum(1 for _ in plan_steps(message, OFFERS))
    assert slices == 100
    assert len(plan_of(message, OFFERS).steps) == 100
