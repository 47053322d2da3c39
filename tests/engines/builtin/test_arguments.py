"""Arguments: which value goes to which property, and the calls that an enumeration makes."""

from __future__ import annotations

from typing import Any

import pytest

from agentwire.engines.builtin.arguments import Context, jobs_for, object_of, structured
from agentwire.engines.builtin.slots import slots_of
from agentwire.engines.builtin.toolbox import Offer
from tests.engines.kit import ADD, LIST, READ, SEARCH, WEATHER, Json, problems, tool

MOVE = tool("move_file", source="string", destination="string")
FETCH = tool("fetch_page", url="string")
SHELL = tool("shell", command={"type": "array", "items": {"type": "string"}}, required=["command"], workdir="string")
EXEC = tool("exec_command", required=["cmd"], cmd="string", workdir="string", timeout_ms="number")
WALK = tool("walk", required=["path"], path="string", recursive="boolean", hidden="boolean")
READ_MANY = tool("read_many", paths={"type": "array", "items": {"type": "string"}})
ORDER = tool("find_order", order_id="string")
CALC = tool("calculate", expression="string")
MAIL = tool("send_mail", email="string", body="string")
BOOK = tool("book", city="string", date="string", guests="integer")
USER = {"name": {"type": "string"}, "age": {"type": "integer"}}
NESTED = tool(
    "create",
    user={"type": "object", "properties": USER, "required": ["name", "age"]},
)


def offer(raw: Json) -> Offer:
    return Offer(raw["name"], parameters=raw["parameters"], description=raw["description"])


def arguments(raw: Json, text: str, **facts: Any) -> list[Any]:
    jobs = jobs_for(offer(raw), text, Context(facts, lambda: "the answer"))
    for job in jobs:
        assert problems(raw["parameters"], job.arguments) == []
    return [job.arguments for job in jobs]


@pytest.mark.parametrize(
    ("raw", "text", "expected"),
    [
        (READ, "read `a.py`", [{"path": "a.py"}]),
        (READ, "read `a.py`, `b.py` and `c.py`", [{"path": "a.py"}, {"path": "b.py"}, {"path": "c.py"}]),
        (READ, "read the first 20 lines of `a.py`, limit 20", [{"path": "a.py", "limit": 20}]),
        (READ, "read the Makefile in `docs`", [{"path": "docs"}]),
        (READ, "read it", [{"path": "."}]),
        (LIST, "list the files in src", [{"path": "src"}]),
        (LIST, "list the files in this repository", [{"path": "."}]),
        (SEARCH, 'search for "x" in `src`', [{"pattern": "x", "path": "src"}]),
        (SEARCH, "search `src` for `x`", [{"pattern": "x", "path": None}]),
        (SEARCH, "search for `README.md` in `docs`", [{"pattern": "README.md", "path": "docs"}]),
        (SEARCH, 'search for "a" and "b" in x/', [{"pattern": "a", "path": "x/"}, {"pattern": "b", "path": "x/"}]),
        (SEARCH, "search for open nurseries", [{"pattern": "open nurseries", "path": None}]),
        (MOVE, "move `a.py` to `b.py`", [{"source": "a.py", "destination": "b.py"}]),
        (MOVE, "move `a.py` and `b.py`", [{"source": "a.py", "destination": "b.py"}]),
        (FETCH, "fetch https://x.y/z please", [{"url": "https://x.y/z"}]),
        (WEATHER, "the weather in San Francisco", [{"location": "San Francisco"}]),
        (WEATHER, "is it warm in Oslo and Paris in celsius?",
         [{"location": "Oslo", "unit": "celsius"}, {"location": "Paris", "unit": "celsius"}]),
        (WEATHER, "what's the weather in oslo?", [{"location": "oslo"}]),
        (ADD, "add 3 and 4.5", [{"a": 3, "b": 4.5}]),
        (ADD, "add a = 7 to b = 2", [{"a": 7, "b": 2}]),
        (SHELL, "run `ls -la` in `src`", [{"command": ["bash", "-lc", "ls -la"], "workdir": "src"}]),
        (EXEC, "run `ls -la`", [{"cmd": "ls -la"}]),
        (WALK, "walk `src` recursively, not hidden", [{"path": "src", "recursive": True, "hidden": False}]),
        (READ_MANY, "read `a.py` and `b.py`", [{"paths": ["a.py", "b.py"]}]),
        (ORDER, "where is order 1234?", [{"order_id": "1234"}]),
        (CALC, "what is 2 + 3 * 4?", [{"expression": "2 + 3 * 4"}]),
        (MAIL, 'send "hello there" to a@b.de', [{"email": "a@b.de", "body": "hello there"}]),
        (BOOK, "a table in Rome on 2026-12-24 for 5 guests", [{"city": "Rome", "date": "2026-12-24", "guests": 5}]),
        (NESTED, "create user Ada, age 36", [{"user": {"name": "Ada", "age": 36}}]),
    ],
)  # fmt: skip
def test_values_go_where_they_belong(raw: Json, text: str, expected: list[Any]) -> None:
    assert arguments(raw, text) == expected


def test_named_facts_fill_required_arguments() -> None:
    assert arguments(ADD, "add them", a=2, b=5) == [{"a": 2, "b": 5}]
    assert arguments(READ, "read", limit=7, path="x.py") == [{"path": "x.py"}], "what is optional is left out"
    assert arguments(ADD, "add them", a="two") == [{"a": 0, "b": 0}], "a fact that does not fit is not taken"


def test_a_slot_for_the_answer_gets_the_answer() -> None:
    assert arguments(tool("final_result", summary="string"), "go on") == [{"summary": "the answer"}]


def test_an_enumeration_over_two_lists_makes_every_pair_up_to_a_bound() -> None:
    made = arguments(SEARCH, 'search for "a" and "b" in x/ and y/')
    assert len(made) == 4
    many = " and ".join(f"`{number}.py`" for number in range(100))
    assert len(arguments(READ, f"read {many}")) == 64


def test_targets_take_the_place_of_what_the_text_says() -> None:
    (path,) = (slot for slot in offer(SEARCH).slots if slot.path == ("path",))
    jobs = jobs_for(offer(SEARCH), "search for `x` in each", Context(), (path, ["a", "b"]))
    assert [job.arguments for job in jobs] == [{"pattern": "x", "path": "a"}, {"pattern": "x", "path": "b"}]
    assert jobs_for(offer(SEARCH), "search for `x` in each", Context(), (path, [])) == []


@pytest.mark.parametrize(
    ("text", "format_", "expected"),
    [
        ("use note:\n```\n*** Begin\n```", {}, ["*** Begin"]),
        ("note `a` and `b`", {}, ["a", "b"]),
        ("note that the sky is blue", {}, ["sky is blue"]),
        ("note `7`", {"type": "grammar", "syntax": "regex", "definition": r"\d+"}, ["7"]),
        ("note `x`", {"type": "grammar", "syntax": "regex", "definition": r"\d+"}, ["0"]),
        ("note `x`", {"type": "grammar", "syntax": "regex", "definition": r"(?=a)"}, ["x"]),
        ("note `x`", {"type": "grammar", "syntax": "lark", "definition": "start: A"}, ["x"]),
    ],
)
def test_free_text_tools(text: str, format_: Json, expected: list[str]) -> None:
    note = Offer("note", "custom", format=format_)
    assert [job.arguments for job in jobs_for(note, text, Context())] == expected


def test_parameters_that_make_no_sense_give_empty_arguments() -> None:
    odd = Offer("odd", parameters={"properties": {"a": {"$ref": "#/nowhere"}}, "required": ["a"]})
    assert [job.arguments for job in jobs_for(odd, "odd", Context())] == [{}]
    listy = Offer("listy", parameters={"const": []})
    assert [job.arguments for job in jobs_for(listy, "listy", Context())] == [{}]


@pytest.mark.parametrize(
    ("text", "skip", "expected"),
    [
        ("search for open nurseries.", ("search",), "open nurseries"),
        ("the", (), "the"),
        ("", (), ""),
        ("- please tell me about trio", (), "trio"),
    ],
)
def test_what_a_request_is_about(text: str, skip: tuple[str, ...], expected: str) -> None:
    assert object_of(text, skip) == expected


def test_structured_text_is_filled_by_name() -> None:
    schema: Json = {
        "type": "object",
        "properties": {
            "name": {"type": "string"}, "age": {"type": "integer"}, "mood": {"enum": ["good", "bad"], "type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}}, "total": {"type": "number"},
            "summary": {"type": "string"}, "note": {"type": ["string", "null"]},
        },
        "required": ["name", "age", "mood", "tags", "total", "summary", "note"],
    }  # fmt: skip
    context = Context({"total": 9.5, "tags": ["x"]}, lambda: "all is well")
    assert structured(schema, "Ada Lovelace, aged 36, is in a bad mood", context) == {
        "name": "Ada Lovelace", "age": 36, "mood": "bad", "tags": ["x"], "total": 9.5, "summary": "all is well",
        "note": None,
    }  # fmt: skip


def test_slots_of_odd_schemas() -> None:
    assert slots_of({}) == []
    assert slots_of({"$ref": "#/nowhere"}) == []
    deep: Json = {"type": "string"}
    for _ in range(6):
        deep = {"type": "object", "properties": {"in": deep}, "required": ["in"]}
    assert slots_of(deep) == [], "what is nested too deeply is left to the plainest value"
    wide = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(99)}}
    assert len(slots_of(wide)) == 24
