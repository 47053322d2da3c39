"""Everything that a lifecycle machine plays with: a server that can be replaced, clients, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
import trio

from agentwire.link.progress import Progress
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Engine, Finish, Out
from agentwire.runtime.policies import Cancel, Resume
from agentwire.server import Keys
from agentwire.stores import MemoryStore
from agentwire.testing.faults import Fault
from agentwire.testing.lifecycle.oracle import Lane, Oracle, Unexpected
from agentwire.testing.lifecycle.own import Holder
from agentwire.testing.lifecycle.raw import RawClient
from agentwire.testing.lifecycle.talker import About, Talker
from agentwire.testing.network import Network
from agentwire.testing.rig import Rig, open_rig

__all__ = ["HOLDERS", "KEYS", "TALKERS", "Witness", "World"]

KEYS: Final = ("key-of-alice", "key-of-bob")
PRINCIPALS: Final = tuple(str(Keys.of(KEYS).principal(f"Bearer {key}")) for key in KEYS)
TALKERS: Final = ("plain", "session", "rival")
"""Clients on the plain wire: one without extensions, one with a session, and one with another key."""
HOLDERS: Final = ("wire", "brittle", "http")
"""agentwire's own clients: one that comes back, one whose only connection is its life, and one over HTTP."""

_SESSION: Final = 60.0


class Witness:
    """An engine that is looked at: what it is shown is judged, and which requests it works for is known.

    Args:
        engine: what answers; all else that is asked of this object is asked of it.
        world: where what is wrong is kept.
    """

    def __init__(self, engine: Engine, world: World) -> None:
        self._engine = engine
        self._world = world

    async def __call__(self, ask: Ask, out: Out) -> Finish | None:
        """One step."""
        number = self._world.judge(lambda: self._world.oracle.shown(ask)) or 0
        running = self._world.oracle.running
        running[number] += 1
        try:
            return await self._engine(ask, out)
        finally:
            running[number] -= 1

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._engine, name)
        return (lambda request: Witness(value(request), self._world)) if name == "engine_for" else value


@attrs.define(eq=False)
class World:
    """One run of a machine.

    Attributes:
        net: the network.
        limits: of the server and of the clients.
        oracle: what must be.
        talkers: clients on the plain wire, by name, as they come to be used.
        holders: agentwire's clients.
        broken: what was not as it must be, oldest first.
        moves: when the machine did what, and after how many records of the trace.
        drained_at: when the latest drain began.
    """

    net: Network
    limits: Limits
    oracle: Oracle = attrs.field(factory=Oracle)
    talkers: dict[str, Talker] = attrs.field(factory=dict)
    holders: dict[str, Holder] = attrs.field(factory=dict)
    broken: list[AssertionError] = attrs.field(factory=list)
    moves: list[tuple[float, int, str]] = attrs.field(factory=list)
    drained_at: float | None = None
    draining: bool = False
    _rig: Rig | None = None
    _over: trio.Event = attrs.field(factory=trio.Event)
    _numbers: int = 0

    @property
    def rig(self) -> Rig:
        """The server, and its record."""
        assert self._rig is not None
        return self._rig

    @property
    def served(self) -> bool:
        """Whether there has been a server."""
        return self._rig is not None

    def note(self, time: float, move: str) -> None:
        """The machine does this."""
        self.moves.append((time, len(self.net.trace.records), move))

    def next_number(self) -> int:
        """Of one more request."""
        self._numbers += 1
        return self._numbers

    def judge(self, look: Callable[[], Any]) -> Any:
        """Look at something; what is wrong with it is kept, as whoever looks may not be the one to be told."""
        try:
            return look()
        except AssertionError as error:
            self.broken.append(error)
            return None

    # The server

    async def live(
        self, engine: Engine, tools: Sequence[Any], options: dict[str, Any], ready: Callable[[], None]
    ) -> None:
        """Serve until `leave`; ``ready`` is called once it listens."""
        options = {"tools": tools, "keys": KEYS, "store": MemoryStore(self.limits), **options}
        async with open_rig(Witness(engine, self), net=self.net, limits=self.limits, **options) as self._rig:
            ready()
            await self._over.wait()

    def leave(self) -> None:
        """The server has served."""
        self._over.set()

    async def drain(self, gap: float) -> None:
        """Shut the server down in good order, and start the next one so long after."""
        self.drained_at = trio.current_time()
        self.disturb()
        await self.rig.drain()
        await trio.sleep(gap)
        await self.rig.start()
        self.draining = False
        self.disturb()

    async def kill(self, gap: float) -> None:
        """The server dies, and another one is started so long after."""
        self.disturb()
        for number in sorted({stream.link.index for stream in self.net.open_streams()}):
            self.net.arm(Fault("reset", "server", connection=number))  # as the system does for a process that dies
        await self.rig.stop()
        await trio.sleep(gap)
        await self.rig.start()
        self.draining = False

    def disturb(self) -> None:
        """Something happens to all clients."""
        for holder in self.holders.values():
            holder.disturb()

    # Clients

    def talker(self, name: str) -> Talker:
        """A client on the plain wire."""
        if name not in self.talkers:
            at, extended = int(name == "rival"), name == "session"
            progress = Progress(within=_SESSION) if extended else None
            raw = RawClient(
                self.net,
                KEYS[at],
                lambda event: self.judge(lambda: talker.hear(event)),
                progress=progress,
                forgotten=lambda: talker.lose(),  # noqa: PLW0108 - there is no talker yet
            )
            talker = self.talkers[name] = Talker(name, raw, self.oracle, PRINCIPALS[at], extended)
        return self.talkers[name]

    def holder(self, name: str) -> Holder:
        """An agentwire client."""
        if name not in self.holders:
            policy = Cancel() if name == "brittle" else Resume(within=_SESSION)
            options = {"transport": "http" if name == "http" else "websocket"}
            self.holders[name] = Holder(name, self.rig, self.oracle, KEYS[0], PRINCIPALS[0], policy, options)
        return self.holders[name]

    def find(self, talker: Talker, lane: Lane, about: About) -> str | None:
        """The response that a request is to continue; None where there is none of that kind."""
        others = [one for one in talker.lanes.values() if one is not lane]
        match about:
            case "latest":
                return lane.remembered
            case "fork":
                return next((one.remembered for one in others if one.remembered), None)
            case "ahead":
                return lane.running
            case "forgotten":
                kept = {one.remembered for one in talker.lanes.values()}
                return next((known for known in reversed(talker.known) if known not in kept), None)
            case "foreign":
                strange = [one for one in self.talkers.values() if one is not talker]
                return next((known for one in strange for known in one.known[-1:]), None)
            case "unknown":
                return "resp_unknown"
            case _:
                return None

    async def connect(self, talker: Talker, ready: Callable[[], None]) -> None:
        """Connect a client on the plain wire, until its connection ends."""
        raw, drained = talker.raw, self.drained_at
        await raw.live(ready)
        closed = raw.closed
        assert closed is not None
        self.judge(lambda: self._check_close(talker, drained))
        if not talker.extended or (closed.ours and closed.code == 1000):
            talker.lose()
            if raw.progress is not None:
                raw.progress = Progress(within=_SESSION)

    def _check_close(self, talker: Talker, drained: float | None) -> None:
        """A server that drains closes when its turns have ended, or when it has waited for as long as it may."""
        closed, at = talker.raw.closed, self.drained_at
        if (
            closed is None
            or closed.code != 1012
            or at is None
            or at == drained
            or closed.time - at >= self.limits.drain
        ):
            return
        running = [asked.number for asked in talker.unanswered() if asked.phase == "running"]
        if running:
            raise Unexpected(f"the drain has cut request {running[0]} off, {closed.time - at:g} s after it began")
