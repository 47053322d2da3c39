"""What tests of engines share: one step, a whole loop, and a JSON-schema validator that is not ours to test."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import attrs

from agentwire.protocol.items import CustomToolCall, FunctionCall, Item, McpCall
from agentwire.runtime.contracts import Ask, Engine, Finish
from agentwire.testing.recording import RecordingOut, ask_for

Json = dict[str, Any]


def tool(
    name: str, description: str = "", required: Iterable[str] | None = None, strict: bool = False, **properties: Any
) -> Json:
    """A function tool; a property is a type name or a whole schema, and required unless ``required`` says otherwise."""
    members = {key: {"type": value} if isinstance(value, str) else value for key, value in properties.items()}
    needed = list(members) if required is None else list(required)
    parameters: Json = {"type": "object", "properties": members, "required": needed}
    if strict:
        parameters["additionalProperties"] = False
    return {"type": "function", "name": name, "description": description, "parameters": parameters, "strict": strict}


LIST = tool("list_files", "List the files below a directory, one a line.", path="string")
READ = tool("read_file", "Read a text file.", required=["path"], path="string", limit="integer")
SEARCH = tool(
    "search_text",
    "Find the lines that contain a pattern.",
    strict=True,
    pattern="string",
    path={"type": ["string", "null"]},
)
WEATHER = tool(
    "get_weather",
    "Get the current weather for a location",
    required=["location"],
    location="string",
    unit={"type": "string", "enum": ["celsius", "fahrenheit"]},
)
ADD = tool("add_numbers", "Add two numbers", a="number", b="number")
SURVEY = (LIST, READ, SEARCH)


@attrs.frozen
class Step:
    """One engine step: what was asked, what came out."""

    ask: Ask
    out: RecordingOut
    finish: Finish | None

    @property
    def calls(self) -> list[tuple[str, Any]]:
        """Each call's name with its arguments, decoded."""
        return [(call.name, _arguments(call)) for call in self.out.calls]

    @property
    def text(self) -> str:
        """The text that was written."""
        return self.out.text_written

    @property
    def history(self) -> tuple[Item, ...]:
        """The conversation with what this step made."""
        return (*self.ask.items, *self.out.items)


async def step(engine: Engine, ask: Ask, server_tools: Collection[str] = ()) -> Step:
    """Run one engine step to its end."""
    out = RecordingOut(server_tools=server_tools)
    finish = await engine(ask, out)
    out.close()
    return Step(ask, out, finish)


async def loop(
    engine: Engine, request: Any, runners: Mapping[str, Callable[..., str]], /, turns: int = 80, **fields: Any
) -> list[Step]:
    """An agent's loop: answer every call, until a turn makes none."""
    steps: list[Step] = []
    history: tuple[Item, ...] = ()
    for _ in range(turns):
        done = await step(engine, ask_for(request, history=history, **fields))
        steps.append(done)
        history = done.history
        if not done.out.calls:
            return steps
        request = [output_of(call, runners) for call in done.out.calls]
    raise AssertionError(f"the loop did not end within {turns} turns")


def output_of(call: FunctionCall | CustomToolCall | McpCall, runners: Mapping[str, Callable[..., str]]) -> Json:
    """Run a call and make the item that answers it."""
    assert isinstance(call, FunctionCall)
    return answer(call, runners[call.name](**json.loads(call.arguments)))


def answer(call: Item, text: Any) -> Json:
    """The item that answers a call."""
    if isinstance(call, CustomToolCall):
        return {"type": "custom_tool_call_output", "call_id": call.call_id, "output": text}
    assert isinstance(call, FunctionCall)
    return {"type": "function_call_output", "call_id": call.call_id, "output": text}


def user(text: str) -> Json:
    """A user's message."""
    return {"role": "user", "content": text}


def _arguments(call: FunctionCall | CustomToolCall | McpCall) -> Any:
    return call.input if isinstance(call, CustomToolCall) else json.loads(call.arguments)


# An independent validator of what strict schemas may say


def problems(schema: Any, value: Any, root: Any = None, at: str = "$") -> list[str]:
    """Everything in which a value breaks a schema; empty if it fits."""
    root = schema if root is None else root
    if schema is True:
        return []
    if schema is False:
        return [f"{at}: nothing is allowed"]
    if "$ref" in schema:
        target = root
        for word in schema["$ref"].removeprefix("#/").split("/"):
            target = target[word]
        return problems(target, value, root, at)
    found = [f"{at}: {word}" for word, holds in _RULES.items() if word in schema and not holds(schema[word], value)]
    for word, enough in (("anyOf", any), ("allOf", all)):
        if word in schema and not enough(not problems(option, value, root, at) for option in schema[word]):
            found.append(f"{at}: {word}")
    return found + _inside(schema, value, root, at)


def _inside(schema: Json, value: Any, root: Any, at: str) -> list[str]:
    found: list[str] = []
    if isinstance(value, dict):
        properties, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        for name, member in value.items():
            found += problems(properties.get(name, other), member, root, f"{at}.{name}")
    elif isinstance(value, list) and "items" in schema:
        for index, entry in enumerate(value):
            found += problems(schema["items"], entry, root, f"{at}[{index}]")
    return found


def _is_type(names: Any, value: Any) -> bool:
    kinds: dict[str, Any] = {
        "string": str, "boolean": bool, "object": dict, "array": list, "null": type(None), "number": (int, float),
        "integer": int,
    }  # fmt: skip
    listed = [names] if isinstance(names, str) else names
    if isinstance(value, bool):
        return "boolean" in listed
    return any(isinstance(value, kinds[name]) for name in listed)


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_RULES: dict[str, Callable[[Any, Any], bool]] = {
    "type": _is_type,
    "enum": lambda options, value: any(_equal(option, value) for option in options),
    "const": lambda wanted, value: _equal(wanted, value),
    "minimum": lambda bound, value: not _number(value) or value >= bound,
    "maximum": lambda bound, value: not _number(value) or value <= bound,
    "exclusiveMinimum": lambda bound, value: not _number(value) or value > bound,
    "exclusiveMaximum": lambda bound, value: not _number(value) or value < bound,
    "multipleOf": lambda unit, value: not _number(value) or abs(value / unit - round(value / unit)) < 1e-6,
    "minLength": lambda bound, value: not isinstance(value, str) or len(value) >= bound,
    "maxLength": lambda bound, value: not isinstance(value, str) or len(value) <= bound,
    "pattern": lambda source, value: not isinstance(value, str) or re.search(source, value) is not None,
    "minItems": lambda bound, value: not isinstance(value, list) or len(value) >= bound,
    "maxItems": lambda bound, value: not isinstance(value, list) or len(value) <= bound,
    "required": lambda names, value: not isinstance(value, dict) or set(names) <= set(value),
}
