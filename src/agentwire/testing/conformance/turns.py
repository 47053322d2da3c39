"""Turns as a case holds and judges them: requests on a socket, event streams, and the events that came of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import attrs

from agentwire.testing.conformance.exchange import StreamReply
from agentwire.testing.conformance.wire import WebSocket

__all__ = [
    "TERMINALS",
    "CaseFailed",
    "Events",
    "NotShown",
    "Socket",
    "Turn",
    "about",
    "check",
    "look_anew",
    "looked_at",
]

Event = dict[str, Any]

MOST_EVENTS: Final = 100_000
"""Events on one connection, after which nobody waits for more; no case needs nearly as many."""

_ABOUT: ContextVar[str | None] = ContextVar("the rule that was looked at when something came to its end", default=None)

TERMINALS: Final = ("response.completed", "response.incomplete", "response.failed")


class CaseFailed(AssertionError):
    """The server does not keep the rule; the text says what it did instead.

    Attributes:
        rule: the id of the rule; None for all that the case proves.
    """

    def __init__(self, otherwise: str, rule: str | None = None) -> None:
        super().__init__(otherwise)
        self.rule = rule


class NotShown(Exception):
    """The case came to nothing: the rule cannot be shown with what the model did; the text says why."""


def check(holds: object, otherwise: str, rule: str | None = None) -> None:
    """Go on if this holds.

    Args:
        holds: what must be so.
        otherwise: what is said if it is not.
        rule: the id of the one rule that this is about, where a case proves rules that bind in different degrees.

    Raises:
        CaseFailed: it does not.
    """
    if not holds:
        raise CaseFailed(otherwise, rule)


@contextmanager
def about(rule: str) -> Iterator[None]:
    """What fails in the block breaks this one rule, unless it says otherwise; so does a silence or an end."""
    try:
        yield
    except CaseFailed as failed:
        failed.rule = failed.rule or rule
        raise
    except BaseException:  # a cancellation, too: the rule of a silence that lasted too long
        _ABOUT.set(rule)
        raise


def looked_at() -> str | None:
    """The rule of the block `about` one that came to a bad end in this task, where the failure itself names none."""
    return _ABOUT.get()


def look_anew() -> None:
    """Forget what was looked at before."""
    _ABOUT.set(None)


@attrs.frozen
class Turn:
    """The events of one request, to its terminal event or its refusal."""

    events: tuple[Event, ...]

    @property
    def types(self) -> list[str]:
        """Their types, without signs of life."""
        return [str(event.get("type")) for event in self.events if event.get("type") != "keepalive"]

    @property
    def end(self) -> Event:
        """The last event."""
        return self.events[-1]

    @property
    def response(self) -> Event:
        """The response in the terminal event.

        Raises:
            CaseFailed: the request was refused.
        """
        check("response" in self.end, f"the request was refused: {self.end}")
        response: Event = self.end["response"]
        return response

    @property
    def error(self) -> Event | None:
        """The ``error`` event, if there is one."""
        return next((event for event in self.events if event.get("type") == "error"), None)

    @property
    def code(self) -> str | None:
        """The code of the error, in an ``error`` event or a failed response."""
        told = self.error["error"] if self.error is not None else self.end.get("response", {}).get("error")
        return told.get("code") if isinstance(told, Mapping) else None

    @property
    def failed(self) -> bool:
        """Whether it was refused, or failed."""
        return self.error is not None or self.end.get("type") == "response.failed"

    @property
    def id(self) -> str:
        """The id of its response."""
        return str(self.response["id"])

    @property
    def output(self) -> list[Event]:
        """The items that were made."""
        return list(self.response["output"])

    @property
    def calls(self) -> list[Event]:
        """The function calls among them."""
        return [item for item in self.output if item["type"] == "function_call"]

    @property
    def text(self) -> str:
        """All text of the answer."""
        parts = [part for item in self.output if item["type"] == "message" for part in item["content"]]
        return "".join(part.get("text", "") for part in parts)

    def completed(self) -> Turn:
        """Itself, if it completed."""
        check(self.end.get("type") == "response.completed", f"the turn did not complete: {self._ending()}")
        return self

    def _ending(self) -> str:
        """How it ended otherwise, in few words."""
        response = self.end.get("response")
        told = self.error if self.error is not None else response
        told = told.get("error") if isinstance(told, Mapping) else None
        if isinstance(told, Mapping):
            return f"{self.end.get('type')}, {told.get('code')}: {told.get('message')}"
        details = response.get("incomplete_details") if isinstance(response, Mapping) else None
        reason = f", {details.get('reason')}" if isinstance(details, Mapping) else ""
        return f"{self.end.get('type')}{reason}"

    def refused(self, code: str | None = None, *, status: int = 400, param: str | None = None) -> Turn:
        """Itself, if it was refused with this code, status and place."""
        check(self.error is not None, f"the request was taken, and ended in {self.end.get('type')}")
        assert self.error is not None
        told = self.error["error"]
        check(self.error.get("status") == status, f"its status is {self.error.get('status')} instead of {status}")
        check(code in (None, told.get("code")), f"its code is {told.get('code')!r} instead of {code!r}")
        check(param in (None, told.get("param")), f"its param is {told.get('param')!r} instead of {param!r}")
        return self


class Socket:
    """One WebSocket in the words of the protocol; ``ws`` is the bare one.

    Attributes:
        ws: frames and bytes.
        events: every event so far.
    """

    def __init__(self, ws: WebSocket, model: str) -> None:
        self.ws = ws
        self.events: list[Event] = []
        self._model = model

    async def create(self, content: Any = "Say hello.", **fields: Any) -> None:
        """Send a ``response.create`` that stores nothing, unless asked to; a field that is ``...`` is left out."""
        body = {"type": "response.create", "model": self._model, "input": content, "store": False, **fields}
        await self.ws.send({name: value for name, value in body.items() if value is not ...})

    async def receive(self) -> Event:
        """The next event."""
        event = await self.ws.event()
        self.events.append(event)
        check(len(self.events) < MOST_EVENTS, f"more than {MOST_EVENTS} events came on one connection")
        return event

    async def until(self, *kinds: str, lane: str | None = None) -> list[Event]:
        """Read to an event of one of these types on a lane; the lane's events on the way."""
        found: list[Event] = []
        while not found or found[-1].get("type") not in kinds:
            event = await self.receive()
            if event.get("stream_id") == lane:
                found.append(event)
        return found

    async def finish(self, lane: str | None = None) -> Turn:
        """Read the lane's next turn to its end."""
        found: list[Event] = []
        while True:
            event = await self.receive()
            if event.get("stream_id") != lane or (event.get("type") == "keepalive" and not found):
                continue
            found.append(event)
            if event.get("type") in TERMINALS or (event.get("type") == "error" and len(found) == 1):
                return Turn(tuple(found))

    async def ask(self, content: Any = "Say hello.", **fields: Any) -> Turn:
        """One turn."""
        await self.create(content, **fields)
        return await self.finish(fields.get("stream_id"))

    async def say(self, message: Mapping[str, Any] | str) -> Turn:
        """One message that is refused, or anything else whose answer is one turn of the default lane."""
        await self.ws.send(message)
        return await self.finish()

    async def usable(self) -> None:
        """It still takes requests."""
        (await self.ask()).completed()


class Events:
    """An event stream over HTTP."""

    def __init__(self, reply: StreamReply) -> None:
        self.reply = reply
        self.raw = b""
        self.done = False
        self._cut = 0

    async def event(self) -> Event | None:
        """The next event; None at the end."""
        while True:  # noqa: ASYNC913 - each round reads
            end = self.raw.find(b"\n\n", self._cut)
            if end < 0:
                piece = await self.reply.more()
                if not piece:
                    return None
                self.raw += piece
                continue
            block, self._cut = self.raw[self._cut : end], end + 2
            data = b"\n".join(line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:"))
            if data == b"[DONE]":
                self.done = True
            elif data:
                found: Event = json.loads(data)
                return found

    async def rest(self) -> Turn:
        """All events to the end."""
        found: list[Event] = []
        while (event := await self.event()) is not None:
            found.append(event)
        check(found, "the stream has no events")
        return Turn(tuple(found))
