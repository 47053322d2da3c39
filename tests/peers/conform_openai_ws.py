"""The official Python SDK over its WebSocket, with reconnecting switched on, and each turn continuing the last one.

agentwire conform-client PYTHON tests/peers/conform_openai_ws.py
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import conform_common as given
from openai import OpenAI

TERMINAL = ("response.completed", "response.failed", "response.incomplete")


class Failed(Exception):
    """The server said that it could not."""


def turn(connection: Any, **request: Any) -> Any:
    """Ask, and wait for the end of the answer."""
    connection.response.create(model=given.MODEL, tools=[given.TOOL], store=False, **request)
    for event in connection:
        if event.type == "error":
            raise Failed(event.to_json(indent=None))
        if event.type in TERMINAL:
            if event.type != "response.completed":
                raise Failed(event.response.to_json(indent=None))
            return event.response
    raise Failed("the connection was closed before the answer had ended")


def work() -> None:
    """The task, with a loop of one's own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-reconnecting", action="store_true", help="leave it switched off, as it is by default")
    options = parser.parse_args()
    more: dict[str, Any] = {} if options.no_reconnecting else {"on_reconnecting": lambda event: None}
    client = OpenAI(timeout=given.PATIENCE)
    with client.responses.connect(**more) as connection:
        response = turn(connection, input=given.TASK)
        for _ in range(given.MOST_TURNS):
            calls = [item for item in response.output if item.type == "function_call"]
            if not calls:
                print(response.output_text, flush=True)
                return
            outputs = [
                {
                    "type": "function_call_output",
                    "call_id": call.call_id,
                    "output": given.look_up(**json.loads(call.arguments)),
                }
                for call in calls
            ]
            response = turn(connection, input=outputs, previous_response_id=response.id)
    raise Failed("the model did not come to an end")


if __name__ == "__main__":
    sys.exit(given.main(work))
