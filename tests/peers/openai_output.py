"""The official Python SDK reads every kind of output, over the WebSocket and with its ``stream()`` helper.

    python openai_output.py http://127.0.0.1:8000/v1

It asks a server of ``tests.peers.showing``. One JSON line at the end; exit code 1 if something raised.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import conversation
from openai import OpenAI

TOOLS = [{"type": "function", "name": name, "parameters": None, "strict": None} for name in ("one", "two")]
ASKED: dict[str, Any] = {
    "model": "showing",
    "input": "show",
    "tools": [*TOOLS, {"type": "custom", "name": "patch"}],
    "include": ["message.output_text.logprobs"],
}
ENDS = ("response.completed", "response.failed", "response.incomplete", "error")


def main() -> int:
    """Read it both ways and say what was seen."""
    options = conversation.parser("Every kind of output, by the official Python SDK.").parse_args()
    conversation.limit(options.timeout)
    client = OpenAI(base_url=options.base_url, api_key=options.key, max_retries=0)
    try:
        print(json.dumps({"socket": _over_socket(client), "stream": _over_stream(client)}))
    except Exception as error:  # noqa: BLE001 - whatever it is, the test wants to read it
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        return 1
    return 0


def _over_socket(client: OpenAI) -> dict[str, Any]:
    events: list[Any] = []
    with client.responses.connect() as connection:
        connection.response.create(**ASKED)
        for event in connection:
            events.append(event)
            if event.type in ENDS:
                break
    return _seen(events, events[-1].response)


def _over_stream(client: OpenAI) -> dict[str, Any]:
    with client.responses.stream(**ASKED) as stream:
        events = list(stream)
        return _seen(events, stream.get_final_response())


def _seen(events: list[Any], response: Any) -> dict[str, Any]:
    """What was told, and what the response came to, by the SDK's own classes and names."""
    thought, search, message, *calls = response.output
    text, refusal = message.content
    return {
        "events": sorted({event.type for event in events}),
        "reasoning": [thought.summary[0].text, thought.encrypted_content],
        "search": [type(search).__name__, search.status],
        "phase": message.phase,
        "text": [text.text, text.annotations[0].url, text.logprobs[0].token],
        "refusal": refusal.refusal,
        "calls": [[call.name, getattr(call, "arguments", None) or call.input] for call in calls],
    }


if __name__ == "__main__":
    sys.exit(main())
