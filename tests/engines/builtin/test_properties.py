"""Whatever is asked: never an untyped error, never a call that was not allowed, never arguments that do not fit."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st

from agentwire.engines import builtin
from agentwire.engines.builtin.filling import fill
from agentwire.engines.builtin.schema import Schemas
from agentwire.protocol.errors import EngineError
from agentwire.protocol.items import CustomToolCall, FunctionCall, OpaqueItem
from agentwire.testing.recording import ask_for
from tests.engines.kit import Json, Step, answer, problems, step
from tests.engines.strategies import known_tools, messages, nonsense, objects, schemas, strict_tools

VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=4), st.lists, max_leaves=3)


def run(request: Any, **fields: Any) -> Step:
    ask = ask_for(request, **fields)
    return trio.run(step, builtin(), ask)


@given(schemas())
def test_the_plainest_value_fits_its_schema(schema: Json) -> None:
    value = fill(schema)
    assert problems(schema, value) == []
    assert Schemas(schema).fits(schema, value)


@given(schemas(), VALUES)
def test_our_validator_agrees_with_another(schema: Json, value: Any) -> None:
    assert Schemas(schema).fits(schema, value) is (problems(schema, value) == [])


@given(messages(), strict_tools())
def test_a_forced_call_has_arguments_that_fit(message: str, offered: Json) -> None:
    done = run(message, tools=[offered], tool_choice={"type": "function", "name": offered["name"]})
    assert done.calls, "a forced tool is called"
    for name, arguments in done.calls:
        assert name == offered["name"]
        assert problems(offered["parameters"], arguments) == []


@given(messages(), objects(schemas()))
def test_structured_text_fits_its_schema(message: str, schema: Json) -> None:
    shape = {"type": "json_schema", "name": "shape", "schema": schema, "strict": True}
    done = run(message, text={"format": shape})
    assert problems(schema, json.loads(done.text)) == []


@given(messages(), st.lists(known_tools(), unique_by=lambda each: each.get("name", each["type"])), st.data())
def test_tool_choice_is_obeyed(message: str, offered: list[Json], data: st.DataObject) -> None:
    named = [{"type": each["type"], "name": each["name"]} for each in offered if each["type"] in ("function", "custom")]
    choices: list[Any] = ["none", "auto"]
    if named:
        some = data.draw(st.lists(st.sampled_from(named), min_size=1))
        choices += ["required", named[0]]
        choices += [{"type": "allowed_tools", "mode": mode, "tools": some} for mode in ("auto", "required")]
    choice = data.draw(st.sampled_from(choices))
    done = run(message, tools=offered, tool_choice=choice)
    called = {item.name for item in done.out.items if isinstance(item, FunctionCall | CustomToolCall)}
    shells = {item.type.removesuffix("_call") for item in done.out.items if isinstance(item, OpaqueItem)}
    assert shells <= {each["type"] for each in offered} & {
        "shell"
    }  # the client's own; what a server runs is never called
    called |= shells
    if choice == "none":
        assert not called
    if choice == "required" or (isinstance(choice, dict) and choice.get("mode", "required") == "required"):
        assert called
    if isinstance(choice, dict):
        assert called <= {each["name"] for each in choice.get("tools", [choice])}


@given(messages(), st.lists(st.text(max_size=200), max_size=3), st.integers(16, 60))
def test_a_loop_stays_within_its_bound_whatever_tools_answer(message: str, outputs: list[str], most: int) -> None:
    path = {"type": "object", "properties": {"path": {"type": "string"}}}
    tools = [{"type": "function", "name": "list_files", "parameters": path}, {"type": "custom", "name": "read"}]
    history: Any = ()
    request: Any = message
    for output in [*outputs, ""]:
        done = run(request, history=history, tools=tools, max_output_tokens=most)
        assert done.finish is not None
        assert done.finish.usage is not None
        assert done.finish.usage.output_tokens <= most
        history = done.history
        if not done.out.calls:
            break
        request = [answer(call, output) for call in done.out.calls]


@given(messages(), nonsense())
def test_nonsense_for_a_schema_is_a_typed_error_or_an_answer(message: str, schema: Json) -> None:
    offered = {"type": "function", "name": "odd_tool", "parameters": schema, "description": "odd tool"}
    done = run(f"odd_tool {message}", tools=[offered], tool_choice="required")
    assert [name for name, _ in done.calls][:1] == ["odd_tool"]
    with suppress(EngineError):
        run(message, text={"format": {"type": "json_schema", "name": "odd", "schema": schema}})
