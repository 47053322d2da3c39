"""The official Python SDK on lanes: a warm-up, a fork, and a steer, by its own methods; one JSON line at the end.

    python openai_lanes.py http://127.0.0.1:8000/v1

Exit code 0: the conversation went as it should. 1: it did not; what went wrong is in the line's ``error``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import conversation
from openai import OpenAI

TERMINAL = ("response.completed", "response.failed", "response.incomplete")


def main() -> int:
    """Hold the conversation and say what was seen."""
    options = conversation.parser("Lanes, a warm-up, a fork and a steer, by the official Python SDK.").parse_args()
    conversation.limit(options.timeout)
    client = OpenAI(base_url=options.base_url, api_key=options.key, max_retries=0)
    try:
        with client.responses.connect() as connection:
            print(json.dumps(_hold(connection, {"model": options.model, "store": False})))
    except Exception as error:  # noqa: BLE001 - whatever it is, the test wants to read it
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        return 1
    return 0


def _hold(connection: Any, base: dict[str, Any]) -> dict[str, Any]:
    create = connection.response.create
    create(**base, stream_id="main", generate=False, input="Remember slate.")
    warm = _until(connection, *TERMINAL)[-1]
    create(**base, stream_id="main", previous_response_id=warm.response.id, input=[])
    first = _until(connection, *TERMINAL)[-1]
    for lane in ("left", "right"):
        create(**base, stream_id=lane, previous_response_id=first.response.id, input=f"Go {lane}.")
    forks = _until(connection, *TERMINAL) + _until(connection, *TERMINAL)
    return {
        "warm_up": _told(warm),
        "first": _told(first),
        "forks": [_told(event) for event in forks if event.type in TERMINAL],
        "steered": _steer(connection, base),
    }


def _steer(connection: Any, base: dict[str, Any]) -> list[dict[str, Any]]:
    connection.response.create(**base, stream_id="steered", input="Wait.")
    events = _until(connection, "response.web_search_call.completed", "response.output_item.done")
    id_ = events[0].response.id
    connection.response.steer(previous_response_id=id_, input="Be brief.")
    events += _until(connection, "response.incomplete") + _until(connection, "response.completed")
    connection.response.steer(previous_response_id=id_, input=[{"role": "user", "content": "Too late."}])
    return [_told(event) for event in events + _until(connection, "response.steer.failed")]


def _until(connection: Any, *kinds: str) -> list[Any]:
    """The events up to one of these."""
    events: list[Any] = []
    for event in connection:
        if event.type == "error":
            raise RuntimeError(event.to_json(indent=None))
        events.append(event)
        if event.type in kinds:
            return events
    raise RuntimeError(f"the connection ended after {[event.type for event in events]}")


def _told(event: Any) -> dict[str, Any]:
    """What matters of an event, as the SDK has read it."""
    told: dict[str, Any] = {"type": event.type, "lane": event.stream_id, "number": event.sequence_number}
    response = getattr(event, "response", None)
    if response is not None:
        told |= {"id": response.id, "previous": response.previous_response_id, "status": response.status}
        told |= {"text": response.output_text, "items": [item.type for item in response.output]}
        told["reason"] = response.incomplete_details.reason if response.incomplete_details else None
    if event.type.startswith("response.steer."):
        told |= {"steer": event.steer.to_dict(), "code": event.error.code if event.type.endswith("failed") else None}
    return told


if __name__ == "__main__":
    sys.exit(main())
