"""Ways for a server to be wrong, to see whether the cases notice.

A lie changes what a server says (every message of its sockets, or every answer over HTTP), what it hears, or how it
decides; all of it at the client's end of the wire, on a server of our own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import pytest
import trio

from agentwire.protocol.desk import MEMORY, Memory, Outcome
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Ask, Engine, Finish, Out, Store, Stored
from agentwire.stores.memory import MemoryStore
from agentwire.testing.conformance import exchange as exchanging
from agentwire.testing.conformance.exchange import Reply
from agentwire.testing.conformance.wire import Closed, Refused, WebSocket
from tests.conformance.kit import models

Event = dict[str, Any]
Patch = Callable[[pytest.MonkeyPatch], None]


@attrs.frozen
class Lie:
    """One way to be wrong.

    Attributes:
        name: what it does.
        names: the cases that have to notice, by name.
        tell: do it, on a running server of our own.
        engine: instead of the usual one.
        limits: other bounds of the server.
        store: makes another one than usual.
        generous: keep more than the hosted service does.
        wrap: puts something around the engine in front of the companion.
    """

    name: str
    names: str
    tell: Patch | None = None
    engine: Engine | None = None
    limits: Mapping[str, Any] = attrs.field(factory=dict)
    store: Callable[[], Store] | None = None
    generous: bool = False
    wrap: Callable[[Engine], Engine] | None = None

    @property
    def cases(self) -> list[str]:
        """The names, one by one."""
        return self.names.split()


def saying(change: Callable[[Event], Event | None]) -> Patch:
    """Change every event on every socket; None drops it."""

    def tell(patch: pytest.MonkeyPatch) -> None:
        message = WebSocket.message

        async def lying(ws: WebSocket) -> bytes:
            while True:
                event = change(json.loads(await message(ws)))
                if event is not None:
                    return json.dumps(event).encode()

        patch.setattr(WebSocket, "message", lying)

    return tell


def on(kind: str, **members: Any) -> Patch:
    """Set members of every event of a kind; ``...`` removes one."""

    def change(event: Event) -> Event:
        return with_(event, **members) if event["type"] == kind else event

    return saying(change)


def with_(value: Event, **members: Any) -> Event:
    """An object with other members; ``...`` removes one."""
    return {name: member for name, member in {**value, **members}.items() if member is not ...}


def responses(kinds: Iterable[str] = (), /, **members: Any) -> Patch:
    """Set members of the response in lifecycle events (of these kinds)."""
    wanted = tuple(f"response.{kind}" for kind in kinds)

    def change(event: Event) -> Event:
        if "response" not in event or (wanted and event["type"] not in wanted):
            return event
        return {**event, "response": with_(event["response"], **members)}

    return saying(change)


def errors(**members: Any) -> Patch:
    """Set members of the error object in every error event."""

    def change(event: Event) -> Event:
        return {**event, "error": with_(event["error"], **members)} if event["type"] == "error" else event

    return saying(change)


def without(*kinds: str) -> Patch:
    """Say nothing of these kinds, and count on without them."""
    dropped: dict[object, int] = {}

    def change(event: Event) -> Event | None:
        lane = event.get("stream_id")
        if event.get("sequence_number") == 0:
            dropped[lane] = 0
        if event["type"] in kinds:
            dropped[lane] = dropped.get(lane, 0) + 1
            return None
        if "sequence_number" in event:
            return {**event, "sequence_number": event["sequence_number"] - dropped.get(lane, 0)}
        return event

    return saying(change)


def renamed(old: str, new: str) -> Patch:
    """Call one kind of event by another name."""
    return saying(lambda event: {**event, "type": new} if event["type"] == old else event)


def remembering(outcome: Outcome, memory: Memory) -> Patch:
    """Decide otherwise what a lane remembers."""

    def tell(patch: pytest.MonkeyPatch) -> None:
        patch.setitem(MEMORY, outcome, memory)

    return tell


def replying(change: Callable[[Reply], Reply]) -> Patch:
    """Change every whole HTTP answer."""

    def tell(patch: pytest.MonkeyPatch) -> None:
        exchange = exchanging.exchange

        async def lying(*arguments: Any) -> Reply:
            return change(await exchange(*arguments))

        patch.setattr("agentwire.testing.conformance.peer.exchange", lying)

    return tell


def body(old: bytes, new: bytes) -> Patch:
    """Put other bytes into every HTTP body."""
    return replying(lambda reply: reply._replace(body=reply.body.replace(old, new)))


def piecewise(old: bytes, new: bytes) -> Patch:
    """Put other bytes into every piece of an HTTP body."""

    def tell(patch: pytest.MonkeyPatch) -> None:
        more = exchanging.StreamReply.more

        async def lying(reply: exchanging.StreamReply) -> bytes:
            return (await more(reply)).replace(old, new)

        patch.setattr(exchanging.StreamReply, "more", lying)

    return tell


def header(name: str, value: str) -> Patch:
    """Give every HTTP answer another header, and every 101."""

    def tell(patch: pytest.MonkeyPatch) -> None:
        replying(lambda reply: reply._replace(headers={**reply.headers, name: value}))(patch)
        shake = WebSocket.shake_hands

        async def lying(ws: WebSocket, *arguments: Any, **more: Any) -> None:
            try:
                await shake(ws, *arguments, **more)
            except Refused as refused:
                refused.headers = {**refused.headers, name: value}
                raise
            ws.headers = {**ws.headers, name: value}

        patch.setattr(WebSocket, "shake_hands", lying)

    return tell


def status(new: int, *old: int) -> Patch:
    """Answer with another status over HTTP, and in refusals of upgrades."""

    def tell(patch: pytest.MonkeyPatch) -> None:
        replying(lambda reply: reply._replace(status=new) if reply.status in old else reply)(patch)
        init = Refused.__init__

        def lying(refused: Refused, code: int, *arguments: Any) -> None:
            init(refused, new if code in old else code, *arguments)

        patch.setattr(Refused, "__init__", lying)

    return tell


def patched(owner: Any, name: str, value: Any) -> Patch:
    """Replace a part of the server."""
    return lambda patch: patch.setattr(owner, name, value)


def asking(change: Callable[[Ask], Ask]) -> Engine:
    """An engine that is asked something else than the client asked."""
    inner = models(0.5)

    async def engine(ask: Ask, out: Out) -> Finish | None:
        return await inner(change(ask), out)

    return engine


def wanting(**settings: Any) -> Engine:
    """An engine that is given other settings than the client's."""
    return asking(lambda ask: attrs.evolve(ask, request=attrs.evolve(ask.request, **settings)))


class ForgetfulStore(MemoryStore):
    """Says that it keeps, and keeps nothing."""

    async def put(self, principal: str, stored: Stored) -> None:
        await trio.lowlevel.checkpoint()


class OpenStore(MemoryStore):
    """Gives everybody everything."""

    async def put(self, principal: str, stored: Stored) -> None:
        await super().put("all", stored)

    async def get(self, principal: str, response_id: str) -> Stored | None:
        return await super().get("all", response_id)


async def mute(ask: Ask, out: Out) -> Finish:
    """A model that says nothing at all."""
    await trio.lowlevel.checkpoint()
    return Finish(Usage(1, 0))


async def eager(ask: Ask, out: Out) -> None:
    """A model that calls whatever it likes, twice, and says why in words."""
    if any(item.type.endswith("_output") for item in ask.new_items) or not ask.tools:
        await out.text("hello " * 40)
        return
    for _ in range(2):
        await out.call("get_weather", "no JSON")


def refusing(text: str) -> Patch:
    """Refuse every message that holds this."""
    return _instead(text, '{"type":"response.create","model":"builtin","input":"x","store":false,"temperature":99}')


def taking(text: str) -> Patch:
    """Take every message that holds this for a plain request."""
    return _instead(text, '{"type":"response.create","model":"builtin","input":"x","store":false}')


def _instead(text: str, other: str) -> Patch:
    """Hear something else where a message holds this."""

    def tell(patch: pytest.MonkeyPatch) -> None:
        send = WebSocket.send

        async def lying(ws: WebSocket, message: Mapping[str, Any] | str) -> None:
            said = message if isinstance(message, str) else json.dumps(message)
            await send(ws, other if text in said else message)

        patch.setattr(WebSocket, "send", lying)

    return tell


def hearing(text: str, other: str) -> Patch:
    """Hear this wherever a message says that."""

    def tell(patch: pytest.MonkeyPatch) -> None:
        send = WebSocket.send

        async def lying(ws: WebSocket, message: Mapping[str, Any] | str) -> None:
            said = message if isinstance(message, str) else json.dumps(message)
            await send(ws, said.replace(text, other))

        patch.setattr(WebSocket, "send", lying)

    return tell


def unwelcoming(text: str) -> Patch:
    """Refuse every upgrade whose target or headers hold this."""

    def tell(patch: pytest.MonkeyPatch) -> None:
        shake = WebSocket.shake_hands

        async def lying(ws: WebSocket, host: str, target: str, headers: Any, **more: Any) -> None:
            if text in target or any(text == name for name, _ in headers):
                raise Refused(400, {}, b"")
            await shake(ws, host, target, headers, **more)

        patch.setattr(WebSocket, "shake_hands", lying)

    return tell


async def hear_nothing(*_: object) -> None:
    await trio.lowlevel.checkpoint()


async def own_close(ws: WebSocket, code: int | None = 1000, reason: str = "") -> Closed:
    await trio.lowlevel.checkpoint()
    return Closed(1000)


def plus(event: Event, name: str, more: int) -> Event:
    return {**event, name: event[name] + more} if name in event else event


def usage(event: Event, **members: Any) -> Event:
    response = event.get("response")
    if not response or not response.get("usage"):
        return event
    return {**event, "response": {**response, "usage": {**response["usage"], **members}}}


def wrong_sum(event: Event) -> Event:
    return usage(event, total_tokens=1)
