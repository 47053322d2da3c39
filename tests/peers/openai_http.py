"""The official Python SDK over plain HTTP: two turns with a tool call, streaming or not, one JSON line at the end.

    python openai_http.py http://127.0.0.1:8000/v1 [--stream] [--key KEY] [--text-only] ...

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
    parser = conversation.parser("A conversation over HTTP, by the official Python SDK.")
    parser.add_argument("--stream", action="store_true", help="server-sent events, through the SDK's own accumulator")
    options = parser.parse_args()
    conversation.limit(options.timeout)
    client = OpenAI(base_url=options.base_url, api_key=options.key, max_retries=0)
    turn = _streamed if options.stream else _whole
    turns: list[tuple[list[str], Any]] = []
    try:
        turns.append(turn(client, conversation.first_turn(options)))
        if not options.text_only:
            turns.append(turn(client, conversation.second_turn(options, turns[0][1])))
        print(conversation.report(turns))
    except Exception as error:  # noqa: BLE001 - whatever it is, the test wants to read it
        print(json.dumps({"error": f"{type(error).__name__}: {error}", "turns": [events for events, _ in turns]}))
        return 1
    return 0


def _whole(client: OpenAI, request: dict[str, Any]) -> tuple[list[str], Any]:
    return [], client.responses.create(**request)


def _streamed(client: OpenAI, request: dict[str, Any]) -> tuple[list[str], Any]:
    """One response by ``.stream()``, which insists on the order of events more than a plain iteration does."""
    events: list[str] = []
    with client.responses.stream(**request) as stream:
        for event in stream:
            events.append(event.type)
            if event.type in ("response.failed", "response.incomplete"):
                return events, event.response
        return events, stream.get_final_response()


if __name__ == "__main__":
    sys.exit(main())
