"""Connections with keys, turns and ends, as entries, for tests of what is true over many of them."""

from __future__ import annotations

from typing import Any

import attrs

from agentwire.testing.entry import Entry, Who
from tests.testing.conversations import Event, answer, create, error, on_lane


@attrs.define
class Tale:
    """Takes down who said what on which connection; each entry comes a second after the one before."""

    told: list[Entry] = attrs.field(factory=list)

    def say(self, who: Who, *events: Event, connection: int = 0, exchange: int | None = None) -> Tale:
        for event in events:
            self.told.append(Entry(float(len(self.told)), who, event, connection, exchange))
        return self

    def opens(self, key: str | None, *, connection: int = 0) -> Tale:
        asked = {"type": "http.request", "method": "GET", "target": "/v1/responses", "upgrade": True, "principal": key}
        self.say("client", asked, connection=connection, exchange=0)
        return self.say("server", {"type": "http.response", "status": 101}, connection=connection, exchange=0)

    def turn(self, response_id: str, *, connection: int = 0, exchange: int | None = None, **asked: Any) -> Tale:
        """A turn that is answered with ``hello``, or as the event list in ``events`` says."""
        events = asked.pop("events", None)
        lane = asked.get("lane")
        self.say("client", create(**asked), connection=connection, exchange=exchange)
        return self.say("server", *(events or told(response_id, lane)), connection=connection, exchange=exchange)

    def refused(self, code: str, status: int, *, connection: int = 0, **asked: Any) -> Tale:
        refusal = error(code, status, lane=asked.get("lane"))
        self.say("client", create(**asked), connection=connection)
        return self.say("server", refusal, connection=connection)

    def closes(self, who: Who, code: int | None, *, connection: int = 0) -> Tale:
        self.say(who, {"type": "closing", "code": code, "reason": ""}, connection=connection)
        return self.ends(who, connection=connection)

    def ends(self, by: str, *, connection: int = 0) -> Tale:
        return self.say("local", {"type": "connection.ended", "cause": "close", "by": by}, connection=connection)


def told(
    response_id: str, lane: str | None = None, *, end: str = "completed", tokens: int | None = None
) -> list[Event]:
    """Created and ended, with one message."""
    first, *_, last = answer(response_id, lane=lane, end=end)
    body = last["response"] | ({} if tokens is None else {"usage": {"input_tokens": tokens}})
    return [first, {**last, "sequence_number": 1, "response": body}]


def called(response_id: str, *call_ids: str, lane: str | None = None) -> list[Event]:
    """Created and ended, with calls."""
    first, last = told(response_id, lane)
    calls = [{"type": "function_call", "call_id": one, "name": "f", "arguments": "{}"} for one in call_ids]
    return [first, {**last, "response": {**last["response"], "output": calls}}]


def output(call_id: str) -> Event:
    return {"type": "function_call_output", "call_id": call_id, "output": "done"}


def said(text: str = "hi", role: str = "user") -> Event:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def saw(response_id: str, *items: Event) -> Event:
    return {"type": "model.saw", "response_id": response_id, "step": 0, "items": list(items)}


__all__ = ["Event", "Tale", "called", "create", "error", "on_lane", "output", "said", "saw", "told"]
