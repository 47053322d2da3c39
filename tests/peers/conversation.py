"""The two turns that each Python peer holds, and the report that it prints: shared by the peers' programs.

It imports nothing but the standard library, so that any peer's interpreter can run it.
"""

from __future__ import annotations

import argparse
import json
import signal
from types import FrameType
from typing import Any

TOOL: dict[str, Any] = {
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
QUESTION = 'What is the weather in "Paris"? Use get_weather.'
ANSWER = json.dumps({"city": "Paris", "sky": "sunny", "celsius": 21})


def parser(description: str) -> argparse.ArgumentParser:
    """The options that all programs share."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("base_url", help="such as http://127.0.0.1:8000/v1")
    found.add_argument("--key", default="unused", help="API key")
    found.add_argument("--model", default="builtin")
    found.add_argument("--tool-choice", default="auto", choices=["auto", "required"])
    found.add_argument("--store", choices=["true", "false"], help="what to send as `store`; not sent if left out")
    found.add_argument("--text-only", action="store_true", help="one turn, without a tool")
    found.add_argument("--no-tools", action="store_true", help="two turns of text, the second one continues the first")
    found.add_argument("--timeout", type=float, default=60.0, help="seconds that the whole may take")
    return found


def limit(seconds: float) -> None:
    """From now on, ``TimeoutError`` wherever the program waits when the time is up."""

    def up(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"not done after {seconds} s")

    signal.signal(signal.SIGALRM, up)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def first_turn(options: argparse.Namespace) -> dict[str, Any]:
    """The request of the first turn: a question, and the tool that answers it."""
    request: dict[str, Any] = {"model": options.model, "input": QUESTION}
    if options.store:
        request["store"] = options.store == "true"
    if options.text_only or options.no_tools:
        return {**request, "input": "Say hello.", "max_output_tokens": 16}
    return {**request, "tools": [TOOL], "tool_choice": options.tool_choice}


def second_turn(options: argparse.Namespace, response: Any) -> dict[str, Any]:
    """The request that answers the first turn's call, or only goes on."""
    if options.no_tools:
        return {**first_turn(options), "input": "Say it again.", "previous_response_id": response.id}
    output = {"type": "function_call_output", "call_id": call_of(response).call_id, "output": ANSWER}
    return {**first_turn(options), "tool_choice": "auto", "input": [output], "previous_response_id": response.id}


def call_of(response: Any) -> Any:
    """The one function call in a response."""
    calls = [item for item in response.output if item.type == "function_call"]
    if len(calls) != 1:
        raise ValueError(f"one function call was expected, the output holds {[item.type for item in response.output]}")
    return calls[0]


def report(turns: list[tuple[list[str], Any]]) -> str:
    """One JSON line: what happened, turn by turn, the call, and the text at the end."""
    found: dict[str, Any] = {
        "turns": [
            {"events": events, "id": response.id, "status": response.status, "model": response.model}
            for events, response in turns
        ]
    }
    if any(item.type == "function_call" for item in turns[0][1].output):
        call = call_of(turns[0][1])
        found["call"] = {"id": call.call_id, "name": call.name, "arguments": json.loads(call.arguments)}
    last = turns[-1][1]
    found["text"] = last.output_text
    found["usage"] = last.usage.to_dict() if last.usage else None
    return json.dumps(found)
