"""The HTTP side of a scripted server: responses as event streams and whole, stored ones, and the list of models."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import trio

from agentwire.protocol.errors import RequestError
from agentwire.runtime.groups import open_flat_nursery
from agentwire.testing.hostile.dialogue import Dialogue, Planned
from agentwire.testing.hostile.script import End, Refuse
from agentwire.testing.hostile.socket import reset_now
from agentwire.testing.hostile.steps import Raw, Step, Tell
from agentwire.testing.hostile.telling import error_body, is_end_of, is_terminal_event
from agentwire.testing.replies import Pause
from agentwire.transport.http11 import HttpConnection
from agentwire.transport.requests import Request

__all__ = ["answer_http"]

_JSON: Final = {"content-type": "application/json"}
_EVENTS: Final = {"content-type": "text/event-stream", "cache-control": "no-cache"}
_PIECE: Final = 7


async def answer_http(http: HttpConnection, request: Request, dialogue: Dialogue) -> None:
    """Answer one request of the API.

    Raises:
        RequestError: there is nothing here, or it is not valid.
        ConnectionEnded: the client has gone.
    """
    body = await http.read_body()
    if request.method == "GET" and request.path.endswith("/models"):
        model = {"id": "scripted", "object": "model", "created": 0, "owned_by": "scripted"}
        await http.respond(200, _JSON, json.dumps({"object": "list", "data": [model]}).encode())
        return
    if request.method != "POST" or not request.path.endswith("/responses"):
        raise RequestError(404, "not_found", f"there is no {request.method} {request.path} here")
    planned = dialogue.ask(_decoded(body), "http")
    dialogue.seen.note(dialogue.connection, "<", body.decode(errors="replace"))
    if isinstance(planned.plan, Refuse):
        refusal = json.dumps({"error": error_body(planned.plan)}).encode()
        dialogue.seen.note(dialogue.connection, ">", f"{planned.plan.status} {refusal.decode()}")
        await http.respond(planned.plan.status or 500, {**_JSON, **planned.plan.headers}, refusal)
        return
    with dialogue.seen.answering():
        await _Answering(http, dialogue, planned, streams=bool(planned.asked.body.get("stream"))).play(planned.plan)


def _decoded(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RequestError(400, "invalid_json", "the body is a JSON object")
    return found


class _Answering:
    """One response, as a stream of events or, at its end, whole."""

    def __init__(self, http: HttpConnection, dialogue: Dialogue, planned: Planned, *, streams: bool) -> None:
        self._http = http
        self._dialogue = dialogue
        self._planned = planned
        self._streams = streams
        self._last: Mapping[str, Any] | None = None

    async def play(self, steps: Iterable[Step]) -> None:
        """Do this, one after the other, as long as the client is there."""
        async with open_flat_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            if self._streams:
                await self._http.start_stream(200, _EVENTS)
            for step in steps:
                await self._play(step)
            await self._finish()
            nursery.cancel_scope.cancel(reason="all is said")

    async def _watch(self, scope: trio.CancelScope) -> None:
        how = await self._http.wait_disconnect()
        self._dialogue.connection.end(how)
        await self._http.abort(how)
        scope.cancel(reason=how)

    async def _play(self, step: Step) -> None:
        match step:
            case Tell():
                await self._tell(step)
            case Raw():
                await self._send(step.body * step.times)
            case Pause():
                await trio.sleep(step.seconds)
            case End():
                await self._end(step)

    async def _tell(self, step: Tell) -> None:
        if is_end_of(self._planned.remembered, step.event):
            self._dialogue.told(self._planned)
        if is_terminal_event(step.event):
            self._last = step.event
        if step.lane:
            return  # over HTTP there are no lanes
        self._dialogue.seen.note(self._dialogue.connection, ">", step.event)
        text = json.dumps(step.event, ensure_ascii=False)
        data = f"event: {step.event.get('type')}\ndata: {text}\n\n".encode()
        for piece in _cut(data, 1 if step.form == "drip" else _PIECE if step.form == "fragments" else len(data)):
            await self._send(piece)

    async def _send(self, data: bytes) -> None:
        if self._streams and data:
            await self._http.send_chunk(data)

    async def _end(self, end: End) -> None:
        self._dialogue.seen.note(self._dialogue.connection, "*", end.how)
        if end.how in ("dead", "quiet"):
            await trio.sleep_forever()
        self._dialogue.connection.end(f"the server ended it ({end.how})")
        if end.how == "reset":
            await reset_now(self._http._stream)
        await self._http.abort(f"the server ended it ({end.how})")

    async def _finish(self) -> None:
        if self._http.broken:
            return
        if self._streams:
            await self._http.end_stream()
            return
        if self._last is None:
            await trio.sleep_forever()
        await self._http.respond(200, _JSON, json.dumps(self._last["response"]).encode())


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
