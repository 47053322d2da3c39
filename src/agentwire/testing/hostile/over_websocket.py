"""One WebSocket of a scripted server: requests in, each on its lane and in order, and what is done about them out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import trio

from agentwire.runtime.groups import open_flat_nursery
from agentwire.testing.hostile.deeds.model import Deed
from agentwire.testing.hostile.dialogue import Dialogue, Planned
from agentwire.testing.hostile.script import End, Refuse
from agentwire.testing.hostile.socket import Gone, ServerSocket
from agentwire.testing.hostile.steps import Raw, Step, Tell
from agentwire.testing.hostile.telling import error_body, error_event, is_end_of
from agentwire.testing.replies import Pause
from agentwire.transport.requests import Request

__all__ = ["serve_websocket"]

_LANES: Final = 32
_RUNNING: Final = 16
_QUEUED: Final = 256
_LANE: Final = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_KNOWN: Final = ("response.create", "response.steer", "response.processed")

Json = Mapping[str, Any]


async def serve_websocket(socket: ServerSocket, request: Request, dialogue: Dialogue, deeds: Iterable[Deed]) -> None:
    """Serve one until it ends.

    Args:
        socket: not yet accepted.
        request: the upgrade.
        dialogue: what its requests lead to.
        deeds: what is done to it from the start.
    """
    opened: list[Step] = []
    for deed in deeds:
        opened += deed.opened
        if deed.socket is not None:
            deed.socket(socket)
    dialogue.deafen = socket.deafen
    try:
        await socket.accept(request)
        async with open_flat_nursery() as nursery:
            connection = _Connection(socket, dialogue, nursery)
            nursery.start_soon(connection.play, opened, None)
            await connection.read()
    except* Gone:
        pass


class _Connection:
    """The lanes of one WebSocket."""

    def __init__(self, socket: ServerSocket, dialogue: Dialogue, nursery: trio.Nursery) -> None:
        self._socket = socket
        self._dialogue = dialogue
        self._nursery = nursery
        self._lanes: dict[str | None, trio.MemorySendChannel[Json]] = {}
        self._stuck: set[str | None] = set()
        self._permits = trio.CapacityLimiter(_RUNNING)

    async def read(self) -> None:
        """Take messages until there are no more; raises `Gone` then."""
        while True:
            message = await self._socket.receive()
            self._dialogue.seen.note(self._socket.connection, "<", message.decode(errors="replace"))
            try:
                body = json.loads(message)
            except ValueError:
                body = None
            refusal = self._judge(body)
            if refusal is None:
                refusal = self._queue(body)
            if refusal is not None:
                self._dialogue.seen.complain(self._socket.connection, f"{refusal.code}: {refusal.message}")
                await self._socket.tell(error_event(refusal))

    def _judge(self, body: Any) -> Refuse | None:
        if not isinstance(body, dict):
            return Refuse(400, "invalid_json", "A message is a JSON object.")
        kind, lane = body.get("type"), body.get("stream_id")
        if kind not in _KNOWN:
            return Refuse(400, "unknown_event_type", f"There is no event {kind!r}.", "type")
        if lane is not None and not (isinstance(lane, str) and _LANE.fullmatch(lane)):
            return Refuse(400, "invalid_stream_id", "That is no name of a lane.", "stream_id")
        return None

    def _queue(self, body: Json) -> Refuse | None:
        if body["type"] == "response.processed":
            return None
        if body["type"] == "response.steer":
            self._nursery.start_soon(self._refuse_steer, body)
            return None
        lane = body.get("stream_id")
        if lane not in self._lanes:
            if len(self._lanes.keys() - {None}) >= _LANES:
                return Refuse(400, "websocket_stream_limit_reached", f"There are {_LANES} lanes.", "stream_id")
            self._lanes[lane], receive = trio.open_memory_channel[Json](_QUEUED)
            self._nursery.start_soon(self._run, lane, receive)
        if lane in self._stuck:
            what = "asked again on a lane whose last answer had no end"
            self._dialogue.seen.reused.append(what)
            self._dialogue.seen.note(self._socket.connection, "!", what)
        try:
            self._lanes[lane].send_nowait(body)
        except trio.WouldBlock:
            return Refuse(429, "websocket_queue_full", f"{_QUEUED} requests wait on this lane.")
        return None

    async def _refuse_steer(self, body: Json) -> None:
        steer = {name: body.get(name) for name in ("previous_response_id", "input")}
        error = error_body(Refuse(400, "steering_not_supported", "This server does not steer."))
        await self._socket.tell({"type": "response.steer.failed", "sequence_number": 0, "error": error, "steer": steer})

    async def _run(self, lane: str | None, asked: trio.MemoryReceiveChannel[Json]) -> None:
        async for body in asked:
            async with self._permits:
                planned = self._dialogue.ask(body, "websocket", lane)
                if isinstance(planned.plan, Refuse):
                    await self.play([Tell(error_event(planned.plan))], lane)
                else:
                    with self._dialogue.seen.answering():
                        await self.play(planned.plan, lane, planned)

    async def play(self, steps: Iterable[Step], lane: str | None, planned: Planned | None = None) -> None:
        """Do this, one after the other."""
        for step in steps:
            match step:
                case Tell():
                    if planned is not None and is_end_of(planned.remembered, step.event):
                        self._dialogue.told(planned)
                    told = lane if step.lane is None else step.lane or None
                    event = step.event if told is None else {**step.event, "stream_id": told}
                    await self._socket.tell(event, step.form)
                case Raw():
                    self._dialogue.seen.note(self._socket.connection, ">", f"{step.times} x {step.data[:80]!r}")
                    for _ in range(step.times):
                        await self._socket.send(step.data)
                case Pause():
                    await trio.sleep(step.seconds)
                case End():
                    if planned is not None and step.how == "quiet":
                        self._stuck.add(lane)
                    await self._socket.end(step)
