"""Cases about tools and the form of answers."""

from __future__ import annotations

import json
from typing import Any, Final

from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.turns import Socket, Turn, check

__all__ = [
    "QUESTION",
    "SUNNY",
    "WEATHER",
    "a_call_into_a_namespace_names_it",
    "a_call_is_continued_with_its_output",
    "a_choice_that_is_not_offered_is_refused",
    "a_custom_tool_takes_text",
    "a_named_function_is_called",
    "a_schema_shapes_the_answer",
    "allowed_tools_are_a_constraint",
    "call",
    "every_shape_of_a_choice_is_understood",
    "forced",
    "function_names_are_checked",
    "outputs",
    "outputs_come_in_any_order",
    "with_none_no_tool_is_called",
    "with_required_a_tool_is_called",
    "without_parallel_calls_there_is_one",
]

WEATHER: Final[dict[str, Any]] = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "Name of the city"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
CLOCK: Final[dict[str, Any]] = {
    "type": "function",
    "name": "get_time",
    "description": "Tells the time in a city.",
    "parameters": WEATHER["parameters"],
    "strict": True,
}
QUESTION: Final = 'What is the weather in "Paris"? Use get_weather.'
SEVERAL: Final = 'Use get_weather for each of "Paris", "Oslo" and "Rome", all at once.'
SUNNY: Final = json.dumps({"city": "Paris", "sky": "sunny", "celsius": 21})


def forced(tool: dict[str, Any]) -> dict[str, Any]:
    """The choice of just this function."""
    return {"type": "function", "name": tool["name"]}


def outputs(turn: Turn, text: Any = SUNNY) -> list[dict[str, Any]]:
    """The output for each call of a turn."""
    return [{"type": "function_call_output", "call_id": call["call_id"], "output": text} for call in turn.calls]


async def call(socket: Socket, **fields: Any) -> Turn:
    """A turn that ends in a function call."""
    turn = (await socket.ask(QUESTION, tools=[WEATHER], tool_choice=forced(WEATHER), **fields)).completed()
    check(turn.calls, f"no function was called: {turn.output}")
    return turn


@case(75, "AW-T-001")
async def with_none_no_tool_is_called(peer: Peer) -> None:
    """Ask for a tool, and forbid it."""
    async with peer.socket() as socket:
        turn = (await socket.ask(QUESTION, tools=[WEATHER], tool_choice="none")).completed()
        check(not turn.calls, "a function was called")


@case(76, "AW-T-002", needs=["tools"])
async def with_required_a_tool_is_called(peer: Peer) -> None:
    """Ask for nothing that needs a tool, and demand one."""
    async with peer.socket() as socket:
        turn = (await socket.ask("Say hello.", tools=[WEATHER], tool_choice="required")).completed()
        check(turn.calls, "no function was called")


@case(77, "AW-T-003", needs=["tools"])
async def a_named_function_is_called(peer: Peer) -> None:
    """Ask for the weather, and force the clock."""
    async with peer.socket() as socket:
        turn = (await socket.ask(QUESTION, tools=[WEATHER, CLOCK], tool_choice=forced(CLOCK))).completed()
        names = {call["name"] for call in turn.calls}
        check(names == {"get_time"}, f"the functions called are {names or 'none'}")


@case(78, "AW-T-004", needs=["tools"])
async def allowed_tools_are_a_constraint(peer: Peer) -> None:
    """Ask for the weather, and allow the clock alone."""
    async with peer.socket() as socket:
        for mode in ("required", "auto"):
            choice = {"type": "allowed_tools", "mode": mode, "tools": [forced(CLOCK)]}
            turn = (await socket.ask(QUESTION, tools=[WEATHER, CLOCK], tool_choice=choice)).completed()
            names = {call["name"] for call in turn.calls}
            check(names <= {"get_time"}, f"the functions called are {names}")
            check(names or mode == "auto", "no function was called")


@case(79, "AW-T-005")
async def a_choice_that_is_not_offered_is_refused(peer: Peer) -> None:
    """Force a function that is not among the tools, and one without any tools."""
    async with peer.socket() as socket:
        (await socket.ask(tools=[WEATHER], tool_choice=forced(CLOCK))).refused()
        (await socket.ask(tool_choice=forced(CLOCK))).refused()
        await socket.usable()


@case(87, "AW-T-017")
async def every_shape_of_a_choice_is_understood(peer: Peer) -> None:
    """Choose among tools in every documented shape that need not end in a call."""
    tools = [WEATHER, {"type": "custom", "name": "note"}, {"type": "web_search"}, {"type": "shell"}]
    shapes: list[Any] = [
        "none",
        "auto",
        None,
        {"type": "allowed_tools", "mode": "auto", "tools": [forced(WEATHER), {"type": "custom", "name": "note"}]},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]},
        {"type": "allowed_tools", "tools": [forced(WEATHER)]},
    ]
    async with peer.socket() as socket:
        for choice in shapes:
            turn = (await socket.ask("Say hello.", tools=tools, tool_choice=choice)).completed()
            check(turn.output, f"with {choice} there is no output")
        bad: list[Any] = [
            "sometimes",
            5,
            {"type": "function"},
            {"type": "allowed_tools", "mode": "auto", "tools": "all"},
        ]
        for choice in bad:
            (await socket.ask(tools=tools, tool_choice=choice)).refused()


@case(80, "AW-T-006", needs=["tools"])
async def without_parallel_calls_there_is_one(peer: Peer) -> None:
    """Ask for two things at once, and forbid to do them at once."""
    async with peer.socket() as socket:
        fields = {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False}
        turn = (await socket.ask(SEVERAL, **fields)).completed()
        check(len(turn.calls) == 1, f"{len(turn.calls)} functions were called")


@case(81, "AW-T-008", "AW-T-011", "AW-S-001", needs=["tools"])
async def a_call_is_continued_with_its_output(peer: Peer) -> None:
    """Answer a call: with a string, and in parts, on a fork of the same turn."""
    async with peer.socket() as socket:
        turn = await call(socket)
        check(turn.response["status"] == "completed", f"the status is {turn.response['status']}")
        parts = [{"type": "input_text", "text": SUNNY}]
        for output in (SUNNY, parts):
            asked = await call(socket)
            answer = await socket.ask(outputs(asked, output), previous_response_id=asked.id, tools=[WEATHER])
            check(answer.completed().output, "there is no answer")


@case(82, "AW-T-011", needs=["tools"])
async def outputs_come_in_any_order(peer: Peer) -> None:
    """Answer the calls of a response backwards, and send a history whose three calls were answered in disorder."""
    calls = [
        {"type": "function_call", "call_id": f"call_{number}", "name": "get_weather", "arguments": '{"city":"Paris"}'}
        for number in range(3)
    ]
    answers = [{"type": "function_call_output", "call_id": f"call_{number}", "output": SUNNY} for number in (2, 0, 1)]
    async with peer.socket() as socket:
        turn = (await socket.ask(SEVERAL, tools=[WEATHER], tool_choice="required")).completed()
        (await socket.ask(outputs(turn)[::-1], previous_response_id=turn.id, tools=[WEATHER])).completed()
        items = [{"role": "user", "content": QUESTION}, *calls, *answers]
        (await socket.ask(items, tools=[WEATHER])).completed()


@case(83, "AW-T-012")
async def a_schema_shapes_the_answer(peer: Peer) -> None:
    """Ask for JSON of a schema, and for any JSON."""
    properties = {"city": {"type": "string"}, "celsius": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    async with peer.socket() as socket:
        form = {"type": "json_schema", "name": "weather", "schema": schema, "strict": True}
        told = json.loads((await socket.ask('It is 21 degrees in "Paris".', text={"format": form})).completed().text)
        check(set(told) == set(properties), f"the answer is {told}")
        check(isinstance(told["celsius"], int) and isinstance(told["city"], str), f"the answer is {told}")
        words = "Say hello, as a JSON object."
        free = (await socket.ask(words, text={"format": {"type": "json_object"}})).completed().text
        check(isinstance(json.loads(free), dict), f"the answer is {free}")


@case(84, "AW-T-014")
async def function_names_are_checked(peer: Peer) -> None:
    """Offer functions with the longest name, and with names that are none."""
    async with peer.socket() as socket:
        (await socket.ask(tools=[{**WEATHER, "name": "n" * 128}], tool_choice="none")).completed()
        for name in ("", "n" * 129, "get weather", "näme"):
            (await socket.ask(tools=[{**WEATHER, "name": name}], tool_choice="none")).refused()
        await socket.usable()


@case(85, "AW-T-015", needs=["tools"])
async def a_call_into_a_namespace_names_it(peer: Peer) -> None:
    """Offer a function within a namespace, and demand a call."""
    space = {"type": "namespace", "name": "weather", "description": "About the weather.", "tools": [WEATHER]}
    async with peer.socket() as socket:
        turn = (await socket.ask(QUESTION, tools=[space], tool_choice="required")).completed()
        check(turn.calls, f"no function was called: {turn.output}")
        told = [(one.get("namespace"), one["name"]) for one in turn.calls]
        check(set(told) == {("weather", "get_weather")}, f"the functions called are {told}")
        (await socket.ask(outputs(turn), previous_response_id=turn.id, tools=[space])).completed()


@case(86, "AW-T-016", "AW-O-020", needs=["tools"])
async def a_custom_tool_takes_text(peer: Peer) -> None:
    """Force a custom tool, and answer it."""
    tool = {"type": "custom", "name": "note", "description": "Takes down a note, as plain text."}
    async with peer.socket() as socket:
        fields = {"tools": [tool], "tool_choice": {"type": "custom", "name": "note"}}
        turn = (await socket.ask('Use note to write down "milk".', **fields)).completed()
        kinds = [kind for kind in turn.types if kind.startswith("response.custom_tool_call_input.")]
        check(kinds and kinds[-1].endswith(".done"), f"a custom call is told as {kinds}")
        called = [item for item in turn.output if item["type"] == "custom_tool_call"]
        check(called and isinstance(called[0]["input"], str), f"the output is {turn.output}")
        answer = [{"type": "custom_tool_call_output", "call_id": one["call_id"], "output": "noted"} for one in called]
        (await socket.ask(answer, previous_response_id=turn.id, tools=[tool])).completed()
