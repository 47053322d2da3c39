"""The official Python SDK and tools of an MCP server, over a WebSocket: listed, called, approved; one JSON line.

    python openai_mcp.py http://127.0.0.1:8000/v1

Exit code 0: the conversation went as it should. 1: it did not; what went wrong is in the line's ``error``.
"""

from __future__ import annotations

import json
from typing import Any

import conversation
from openai import OpenAI

TERMINAL = ("response.completed", "response.failed", "response.incomplete")
SHOP = {"type": "mcp", "server_label": "shop", "require_approval": {"never": {"tool_names": ["look_up"]}}}


def main() -> int:
    """Hold the conversation and say what was seen."""
    options = conversation.parser("Tools of an MCP server, by the official Python SDK.").parse_args()
    conversation.limit(options.timeout)
    client = OpenAI(base_url=options.base_url, api_key=options.key, max_retries=0)
    try:
        with client.responses.connect() as connection:
            print(json.dumps(_hold(client, connection, options.model)))
    except Exception as error:  # noqa: BLE001 - whatever it is, the test wants to read it
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        return 1
    return 0


def _hold(client: Any, connection: Any, model: str) -> dict[str, Any]:
    connection.response.create(model=model, tools=[SHOP], input="First look_up `pears`, then order 40 `pears`.")
    first = _until(connection)
    asked = first[-1].response.output[-1]
    answer = {"type": "mcp_approval_response", "approval_request_id": asked.id, "approve": True}
    id_ = first[-1].response.id
    connection.response.create(model=model, tools=[SHOP], previous_response_id=id_, input=[answer])
    second = _until(connection)
    listed = client.responses.input_items.list(second[-1].response.id, order="asc")
    return {
        "events": [event.type for event in first if ".mcp_" in event.type],
        "tools": [tool.name for tool in first[-1].response.output[0].tools],
        "first": [_told(item) for item in first[-1].response.output],
        "second": [_told(item) for item in second[-1].response.output],
        "text": second[-1].response.output_text,
        "listed": [item.type for item in listed],
    }


def _until(connection: Any) -> list[Any]:
    events = []
    for event in connection:
        events.append(event)
        if event.type in TERMINAL:
            return events
    raise RuntimeError("the connection ended")


def _told(item: Any) -> dict[str, Any]:
    members = ("type", "server_label", "name", "arguments", "output", "status", "approval_request_id", "id")
    return {member: getattr(item, member, None) for member in members}


if __name__ == "__main__":
    raise SystemExit(main())
