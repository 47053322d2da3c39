"""Wires in memory: to a server of ours, or to one that follows a script on each of its connections."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio

from agentwire.client.dropin.answer import Answer
from agentwire.client.dropin.asked import Asked
from agentwire.client.dropin.asking import Events
from agentwire.client.dropin.place import Place
from agentwire.client.dropin.wire import Times
from agentwire.client.dropin.wires import WireOptions, Wires
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import FunctionCallOutput
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Engine, Finish, Out
from agentwire.server import serve
from agentwire.testing import Network, network, no_leaks
from tests.link.lines import Serve, Servers
from tests.link.peer import LIMITS

Json = dict[str, Any]
URL = "http://server/v1/responses"
PATIENT = Times(math.inf, math.inf, math.inf)
TOOL: Json = {"type": "function", "name": "look", "parameters": {"type": "object"}}


async def looking(ask: Ask, out: Out) -> Finish:
    """Call a tool three times, then say how long the conversation has become."""
    if sum(isinstance(item, FunctionCallOutput) for item in ask.items) < 3:
        await out.call("look", {"at": len(ask.items)})
    else:
        await out.text(f"{len(ask.items)} items")
    return Finish()


def asked(given: Any = "Hi.", **members: Any) -> Asked:
    """A request as an SDK would post it."""
    body = {"model": "m", "input": given, **members}
    read = Asked.read(json.dumps(body).encode())
    assert read is not None
    return read


def place(key: str = "k") -> Place:
    return Place.of(None, URL, [("Authorization", f"Bearer {key}")])


@attrs.define(eq=False)
class Rig:
    """Wires, and the network to the server."""

    wires: Wires
    net: Network

    async def whole(self, wanted: Asked, where: Place | None = None, times: Times = PATIENT) -> Answer:
        async with self.wires.ask(wanted, where or place(), times) as answer:
            assert isinstance(answer, Answer)
            return answer

    async def text(self, wanted: Asked, where: Place | None = None, times: Times = PATIENT) -> str:
        """The text of a whole answer."""
        answer = await self.whole(wanted, where, times)
        assert answer.status == 200, answer.body
        return texts(json.loads(answer.body))

    async def converse(self, turns: int = 4, where: Place | None = None, **members: Any) -> list[Json]:
        """A tool loop that hands over its whole history each time; returns the history."""
        history: list[Json] = [{"role": "user", "content": "Look three times."}]
        for _ in range(turns):
            answer = await self.whole(asked(history, tools=[TOOL], **members), where)
            assert answer.status == 200, answer.body
            output = json.loads(answer.body)["output"]
            history += output
            calls = [item for item in output if item["type"] == "function_call"]
            history += [{"type": "function_call_output", "call_id": call["call_id"], "output": "x"} for call in calls]
        return history

    @property
    def requests(self) -> list[Json]:
        """What has gone out, as messages."""
        said = [message for who, _, message in self.net.trace.events() if who == "client"]
        return [message for message in said if message["type"] == "response.create"]

    @property
    def lengths(self) -> list[int]:
        """How many items each of them had."""
        return [len(request["input"]) for request in self.requests]


def texts(response: Json) -> str:
    messages: Sequence[Json] = [item for item in response["output"] if item["type"] == "message"]
    return "".join(part["text"] for item in messages for part in item["content"])


async def read(events: Events) -> bytes:
    """All that comes."""
    said = b""
    while piece := await events.more():
        said += piece
    return said


def types(said: bytes) -> list[str]:
    """The types of server-sent events."""
    return [line.removeprefix("event: ") for line in said.decode().splitlines() if line.startswith("event: ")]


@asynccontextmanager
async def wired(
    engine: Engine = looking, *, net: Network | None = None, server: Json | None = None, **options: Any
) -> AsyncGenerator[Rig]:
    """Wires to an agentwire; nothing may be left of either in the end."""
    net = net or network()
    async with no_leaks(rounds=50), trio.open_nursery() as nursery:
        chosen = {"sources": Sources.seeded(2), **(server or {})}
        await nursery.start(partial(serve, engine, host=None, listeners=[net.listener()], **chosen))
        async with _running(net, options) as rig:
            yield rig
        nursery.cancel_scope.cancel(reason="the test is over")


@asynccontextmanager
async def wired_to(*scripts: Serve, limits: Limits = LIMITS, **options: Any) -> AsyncGenerator[tuple[Rig, Servers]]:
    """Wires to servers that follow these scripts, one after the other."""
    servers = Servers(network(), scripts)
    async with no_leaks(rounds=50), trio.open_nursery() as nursery:
        await nursery.start(servers.net.serve, servers.serve)
        async with _running(servers.net, {"limits": limits, **options}) as rig:
            yield rig, servers
        nursery.cancel_scope.cancel(reason="the test is over")


@asynccontextmanager
async def _running(net: Network, options: Json) -> AsyncGenerator[Rig]:
    wires = Wires(WireOptions(**{"connector": net.connect, "sources": Sources.seeded(3), **options}))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wires.run)
        yield Rig(wires, net)
        wires.close()
