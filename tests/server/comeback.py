"""A small client that follows the extensions' specification: it resumes its session until its whole rollout is done."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import attrs
import trio

from agentwire.link.progress import Progress
from agentwire.protocol.hello import WELCOME, decode_welcome, encode_hello
from tests.runtime.kit import TERMINALS, Event, create, output_for
from tests.server.kit import Closed, Peer

Dial = Callable[[], Awaitable[trio.abc.Stream]]


@attrs.define(eq=False)
class Comeback:
    """A rollout on several lanes, each with its requests one after the other, over as many connections as it takes.

    Attributes:
        plan: the lanes, and how many turns each has; a turn answers the calls of the one before.
        dial: opens a connection.
        events: all events of the session.
        progress: what is had of it; None for a client that asks for no session, and is done when its connection ends.
        connections: how many it took.
    """

    plan: Mapping[str, int]
    dial: Dial
    progress: Progress | None = attrs.field(factory=Progress)
    events: list[Event] = attrs.field(factory=list)
    connections: int = 0
    _said: list[bytes] = attrs.field(factory=list)
    _asked: dict[str, int] = attrs.field(factory=dict)

    async def run(self) -> None:
        """To the end of the rollout."""
        while not self._done():
            self.connections += 1
            peer = Peer(await self.dial())
            with suppress(Closed):
                await peer.shake_hands()
                await self._greet(peer)
                await self._play(peer)
                await peer.close()
            await trio.aclose_forcefully(peer.stream)
            if self.progress is None:
                return
            await trio.sleep(0.7)

    def _done(self) -> bool:
        return sum(event["type"] in TERMINALS for event in self.events) == sum(self.plan.values())

    async def _greet(self, peer: Peer) -> None:
        """Say hello, and again what the server has not received."""
        if self.progress is None:
            return
        await peer.say(encode_hello(self.progress.hello()).decode())
        event = await peer.receive()
        assert event["type"] == WELCOME, event
        self.progress.welcome(decode_welcome(json.dumps(event)))
        for message in self._said[self.progress.sent :]:  # saying them again may have been cut short, too
            await self._send(peer, message)

    async def _send(self, peer: Peer, message: bytes) -> None:
        if self.progress is not None:
            self.progress.say()
        await peer.say(message.decode())

    async def _say(self, peer: Peer, message: bytes) -> None:
        self._said.append(message)
        await self._send(peer, message)

    async def _play(self, peer: Peer) -> None:
        await self._ask(peer)
        while not self._done():
            event = await peer.receive()
            if self.progress is not None:
                self.progress.take(json.dumps(event))
            self.events.append(event)
            await self._ask(peer)

    async def _ask(self, peer: Peer) -> None:
        """What can be asked now and was not yet: on each lane the next turn, once the last one has ended."""
        for lane, turns in self.plan.items():
            ends = [event for event in self.events if event["stream_id"] == lane and event["type"] in TERMINALS]
            asked = self._asked.get(lane, 0)
            if asked < turns and len(ends) == asked:
                self._asked[lane] = asked + 1
                await self._say(peer, self._next(lane, ends))

    def _next(self, lane: str, ends: list[Event]) -> bytes:
        if not ends:
            return create(f"go {lane}", stream_id=lane)
        given = output_for(ends[-1]) or "go on"
        return create(given, stream_id=lane, previous_response_id=ends[-1]["response"]["id"])
