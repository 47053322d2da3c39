"""One task, done by an agent over each transport: the same tools, the same engine, the same events read.

Over HTTP every turn is a request with an event stream as its answer. Tools start as soon as their call is complete,
and run beside each other, on every transport.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio

from agentwire.client import connect
from agentwire.protocol.codec import decode_event, encode_create
from agentwire.protocol.events import OutputItemDone, ResponseCompleted, ResponseFailed, ResponseIncomplete
from agentwire.protocol.items import FunctionCall, FunctionCallOutput, Item, McpCall, Message
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.response import Response
from agentwire.runtime.tools import Toolbox
from agentwire.transport.http_client import HttpClient, open_http_client

__all__ = ["MODEL", "Rollout", "over_http", "over_wire"]

MODEL: Final = "builtin"

Tools = Sequence[Callable[..., Any]]
Done = Callable[[], None]


@attrs.frozen(kw_only=True)
class Rollout:
    """What came of one run of the task.

    Attributes:
        turns: responses.
        calls: tool calls, whoever ran them.
        text: the last answer.
    """

    turns: int
    calls: int
    text: str


async def over_wire(url: str, task: str, tools: Tools, done: Done) -> Rollout:
    """On one WebSocket, by the library's own client.

    Args:
        url: the server's base URL.
        task: the user's message.
        tools: what the agent may call; without any, those that the server itself runs are the only ones.
        done: called when the last answer is complete, before the connection is closed.
    """
    async with connect(url) as wire, wire.run(task, model=MODEL, tools=tools) as run:
        last = await run.finish()
        done()
        calls = len(run.results) + sum(isinstance(item, McpCall) for item in last.output)
        return Rollout(turns=run.turns, calls=calls, text=run.text)


async def over_http(url: str, task: str, tools: Tools, done: Done, *, keep_alive: bool, full_history: bool) -> Rollout:
    """By POST requests, each with the whole history, or with what is new and ``previous_response_id``.

    Args:
        url: the server's base URL.
        task: the user's message.
        tools: what the agent may call.
        done: called when the last answer is complete.
        keep_alive: one connection for all turns; otherwise each turn opens its own.
        full_history: nothing is stored by the server, and each turn carries everything before it.
    """
    agent = _HttpAgent(Toolbox.of(tools), full_history)
    agent.say(Message("user", task))
    async with _clients(url, keep_alive=keep_alive) as client:
        while agent.waiting:
            async with client() as http:
                await agent.turn(http)
        done()
    return Rollout(turns=agent.turns, calls=agent.calls, text=agent.text)


@asynccontextmanager
async def _clients(url: str, *, keep_alive: bool) -> AsyncGenerator[Callable[[], Any]]:
    """Gives the client for each turn: always the same one, or each time another."""

    @asynccontextmanager
    async def another() -> AsyncGenerator[HttpClient]:
        async with open_http_client(url, limits=Limits()) as http:
            yield http

    @asynccontextmanager
    async def the_same() -> AsyncGenerator[HttpClient]:
        yield kept

    if keep_alive:
        async with another() as kept:
            yield the_same
    else:
        yield another


@attrs.define
class _HttpAgent:
    """A tool loop over HTTP, one turn at a time."""

    toolbox: Toolbox
    full_history: bool
    turns: int = 0
    calls: int = 0
    text: str = ""
    waiting: list[Item] = attrs.field(factory=list)
    _history: list[Item] = attrs.field(factory=list)
    _previous: str | None = None

    def say(self, *items: Item) -> None:
        """This goes with the next turn."""
        self.waiting.extend(items)

    async def turn(self, http: HttpClient) -> None:
        """Send what waits, run the tools that are called, and keep their outputs for the next turn."""
        self._history += self.waiting
        request = self._request()
        self.waiting = []
        calls: list[FunctionCall] = []
        outputs: dict[str, FunctionCallOutput] = {}
        body = encode_create(request, transport="http")
        async with trio.open_nursery() as nursery, http.stream_sse("/responses", json=body) as events:
            async for payload in events:
                match decode_event(payload):
                    case OutputItemDone(item=FunctionCall() as call):
                        calls.append(call)
                        nursery.start_soon(self._run, call, outputs)
                    case ResponseCompleted() | ResponseFailed() | ResponseIncomplete() as end:
                        self._end(end.response)
        self.say(*(outputs[call.call_id] for call in calls))
        self.calls += len(calls)

    def _request(self) -> CreateRequest:
        return CreateRequest(
            model=MODEL,
            input=tuple(self._history if self.full_history else self.waiting),
            previous_response_id=None if self.full_history else self._previous,
            store=not self.full_history,
            stream=True,
            tools=self.toolbox.specs,
        )

    async def _run(self, call: FunctionCall, outputs: dict[str, FunctionCallOutput]) -> None:
        result = await self.toolbox.run(call.name, call.arguments, call_id=call.call_id, limits=Limits())
        outputs[call.call_id] = FunctionCallOutput(call.call_id, result.output)

    def _end(self, response: Response) -> None:
        if response.status != "completed":
            raise RuntimeError(f"a turn ended {response.status}: {response.error or response.incomplete_details}")
        self.turns += 1
        self._history += response.output
        self._previous = response.id
        self.text = response.output_text
        self.calls += sum(isinstance(item, McpCall) for item in response.output)
