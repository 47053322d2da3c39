"""The official Python SDK over the WebSocket: two turns with a tool call on one connection, one JSON line at the end.

    python openai_ws.py http://127.0.0.1:8000/v1 [--key KEY] [--text-only] ...

Exit code 0: the conversation went as it should. 1: it did not; what went wrong is in the line's ``error``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import conversation
from openai import OpenAI


def main() -> int:
    """Hold the conversation and say what was seen."""
    parser = conversation.parser("A conversation over the WebSocket, by the official Python SDK.")
    options = parser.parse_args()
    conversation.limit(options.timeout)
    client = OpenAI(base_url=options.base_url, api_key=options.key, max_retries=0)
    turns: list[tuple[list[str], Any]] = []
    try:
        with client.responses.connect() as connection:
            turns.append(_turn(connection, conversation.first_turn(options)))
            if not options.text_only:
                turns.append(_turn(connection, conversation.second_turn(options, turns[0][1])))
        print(conversation.report(turns))
    except Exception as error:  # noqa: BLE001 - whatever it is, the test wants to read it
        print(json.dumps({"error": f"{type(error).__name__}: {error}", "turns": [events for events, _ in turns]}))
        return 1
    return 0


def _turn(connection: Any, request: dict[str, Any]) -> tuple[list[str], Any]:
    """One response: the types of its events, and what the terminal one holds."""
    connection.response.create(**request)
    events: list[str] = []
    for event in connection:
        events.append(event.type)
        if event.type == "error":
            raise RuntimeError(event.to_json(indent=None))
        if event.type in ("response.completed", "response.failed", "response.incomplete"):
            return events, event.response
    raise RuntimeError(f"the connection ended after {events}")


if __name__ == "__main__":
    sys.exit(main())
