"""The official Python SDK compacts: on its own, by a trigger and during a response, one JSON line at the end.

    python openai_compact.py http://127.0.0.1:8000/v1 [--key KEY] ...

Exit code 0: everything was answered. 1: it was not; what went wrong is in the line's ``error``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import conversation
from openai import OpenAI

LONG = "word " * 1000
CODE_WORD = "Please remember: the code word is slate."
ASKED = {"role": "user", "content": "What is the code word?"}


def main() -> int:
    """Compact in every way and say what was seen."""
    options = conversation.parser("Compaction, by the official Python SDK.").parse_args()
    conversation.limit(options.timeout)
    client = OpenAI(base_url=options.base_url, api_key=options.key, max_retries=0)
    try:
        found = {
            "alone": _alone(client, options.model),
            "on_the_socket": _on_the_socket(client, options.model),
            "input_tokens": client.responses.input_tokens.count(model=options.model, input=LONG).input_tokens,
        }
        print(json.dumps(found))
    except Exception as error:  # noqa: BLE001 - whatever it is, the test wants to read it
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        return 1
    return 0


def _alone(client: OpenAI, model: str) -> dict[str, Any]:
    """A compaction over HTTP, and a new chain that begins with its output, unpruned."""
    given: Any = [
        {"role": "user", "content": CODE_WORD},
        {"role": "assistant", "content": f"Noted. {LONG}"},
    ]
    compacted = client.responses.compact(model=model, input=given)
    window: Any = [item.to_dict() for item in compacted.output]
    response = client.responses.create(model=model, input=[*window, ASKED])
    return {
        "object": compacted.object,
        "types": [item.type for item in compacted.output],
        "total_tokens": compacted.usage.total_tokens,
        "text": response.output_text,
    }


def _on_the_socket(client: OpenAI, model: str) -> dict[str, Any]:
    """During a response, then by a trigger, then a turn without either; each on the one before."""
    soon: Any = [{"type": "compaction", "compact_threshold": 1000}]
    with client.responses.connect() as connection:
        _, first = _turn(connection, model=model, input=f"{CODE_WORD} {LONG}")
        _, second = _turn(connection, model=model, input=LONG, previous_response_id=first.id)
        events, third = _turn(
            connection, model=model, input="Go on.", previous_response_id=second.id, context_management=soon
        )
        trigger: Any = [{"type": "compaction_trigger"}]
        _, fourth = _turn(connection, model=model, input=trigger, previous_response_id=third.id)
        _, last = _turn(connection, model=model, input=[ASKED], previous_response_id=fourth.id)
    return {
        "events": events,
        "types": [[item.type for item in response.output] for response in (third, fourth, last)],
        "text": last.output_text,
    }


def _turn(connection: Any, **request: Any) -> tuple[list[str], Any]:
    """One response: the types of its events, and what the terminal one holds."""
    connection.response.create(**request)
    events: list[str] = []
    for event in connection:
        events.append(event.type)
        if event.type in ("error", "response.failed", "response.incomplete"):
            raise RuntimeError(event.to_json(indent=None))
        if event.type == "response.completed":
            return events, event.response
    raise RuntimeError(f"the connection ended after {events}")


if __name__ == "__main__":
    sys.exit(main())
