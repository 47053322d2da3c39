"""The official Python SDK and what HTTP has beside the conversation: background responses, their streams, and lists.

    python openai_background.py http://127.0.0.1:8000/v1

It asks a server of ``tests.peers.patient``. One JSON line at the end; exit code 1 if something raised.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import conversation
from openai import NotFoundError, OpenAI

SAID = "one two three four five"


def main() -> int:
    """Go through it all and say what was seen."""
    options = conversation.parser("Background responses, by the official Python SDK.").parse_args()
    conversation.limit(options.timeout)
    client = OpenAI(base_url=options.base_url, api_key=options.key, max_retries=0)
    report: dict[str, Any] = {}
    try:
        for part in (_polled, _streamed, _cancelled, _listed, _counted, _deleted):
            report[part.__name__[1:]] = part(client)
        print(json.dumps(report))
    except Exception as error:  # noqa: BLE001 - whatever it is, the test wants to read it
        print(json.dumps({"error": f"{type(error).__name__}: {error}", **report}))
        return 1
    return 0


def _polled(client: OpenAI) -> dict[str, Any]:
    response = client.responses.create(model="patient", input=SAID, background=True)
    states = [response.status]
    while response.status in ("queued", "in_progress"):
        time.sleep(0.02)
        response = client.responses.retrieve(response.id)
        states.append(response.status)
    return {"states": list(dict.fromkeys(states)), "text": response.output_text, "background": response.background}


def _streamed(client: OpenAI) -> dict[str, Any]:
    """Read a few events, leave, and come back for the rest; the SDK's own accumulator reads it once more."""
    first: list[Any] = []
    with client.responses.create(model="patient", input=SAID, background=True, stream=True) as stream:
        for event in stream:
            first.append(event)
            if len(first) == 5:
                break
    response_id = first[0].response.id
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=first[-1].sequence_number))
    with client.responses.stream(response_id=response_id, starting_after=2) as again:
        numbers = [event.sequence_number for event in again]
        final = again.get_final_response()
    return {
        "numbers": [event.sequence_number for event in (*first, *rest)],
        "last": rest[-1].type,
        "text": rest[-1].response.output_text,
        "again": numbers,
        "final": final.output_text,
    }


def _cancelled(client: OpenAI) -> dict[str, Any]:
    response = client.responses.create(model="patient", input="hang", background=True)
    cancelled = client.responses.cancel(response.id)
    again = client.responses.cancel(response.id)
    events = list(client.responses.retrieve(response.id, stream=True))
    return {
        "states": [cancelled.status, again.status, client.responses.retrieve(response.id).status],
        "last": events[-1].type,
        "code": cancelled.error.code if cancelled.error else None,
    }


def _listed(client: OpenAI) -> dict[str, Any]:
    first = client.responses.create(model="patient", input=[_message("a"), _message("b")])
    second = client.responses.create(model="patient", input="c", previous_response_id=first.id)
    pages = client.responses.input_items.list(second.id, order="asc", limit=1)
    newest = client.responses.input_items.list(second.id)
    return {
        "texts": [item.content[0].text for item in pages],
        "ids": len({item.id for item in newest}),
        "same": [item.id for item in pages] == [item.id for item in newest][::-1],
    }


def _message(text: str) -> Any:
    return {"role": "user", "content": text}


def _counted(client: OpenAI) -> int:
    return int(client.responses.input_tokens.count(model="patient", input="x" * 400).input_tokens)


def _deleted(client: OpenAI) -> list[str]:
    response = client.responses.create(model="patient", input="hang", background=True)
    client.responses.delete(response.id)
    seen = []
    for ask in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
        try:
            ask(response.id)
        except NotFoundError as error:
            seen.append(str(error.code))
    return seen


if __name__ == "__main__":
    sys.exit(main())
