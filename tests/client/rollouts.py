"""A rollout of 20 tools, and a small one beside it on the same connection, for a client whose connection is lost.

The model follows the history alone, so that the end shows whether the history was whole: it names the pages in the
order of their outputs. Every tool call is noted by its arguments, and every step by its turn.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

import attrs
import trio

from agentwire.client import Client, TextDelta, TurnFinished, TurnLost, TurnStarted, connect
from agentwire.engines.script import Call, Delay, Text, Turn
from agentwire.engines.scripted import ScriptedEngine, scripted
from agentwire.link import Connector
from agentwire.link.choosing import Transport
from agentwire.protocol.errors import AgentwireError
from agentwire.protocol.hello import EXTENSIONS
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import FunctionCall, FunctionCallOutput, Message
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask
from agentwire.runtime.policies import Resume
from agentwire.testing import Fault, MemoryStream, Network, network, run
from tests.server.kit import serving

LIMITS = Limits(ping_interval=20, ping_timeout=60, handshake=10, close_grace=5)
BOOKS = {"atlas": 20, "novel": 1}
"""What is looked up, side by side: the pages of each book."""


def clerk(ask: Ask) -> Turn:
    """One page, then two at once, then more each time, until all are there."""
    users = [item.text for item in ask.items if isinstance(item, Message) and item.role == "user"]
    book = users[0].partition(" ")[2]
    if book not in BOOKS:
        return Turn(Text(f"You said {users[0]}."))
    calls = {item.call_id: json.loads(item.arguments)["page"] for item in ask.items if isinstance(item, FunctionCall)}
    seen = [calls.pop(item.call_id) for item in ask.items if isinstance(item, FunctionCallOutput)]
    assert not calls, "a call without an output"
    missing = [page for page in range(1, BOOKS[book] + 1) if page not in seen]
    if not missing:
        return Turn(Text(f"The {book}: {' '.join(map(str, seen))}.", pieces=2, every=0.1))
    told = [Text(f"The {book} from {missing[0]}.")] if len(seen) % 2 == 0 else []
    asked = [Call("look_up", {"book": book, "page": page}) for page in missing[: min(1 + len(seen), 5)]]
    return Turn(*told, *(part for call in asked for part in (call, Delay(0.1))))


@attrs.define
class Watched:
    """What one run has shown."""

    book: str
    patience: float = math.inf
    text: str = ""
    error: AgentwireError | OSError | None = None
    turns: list[tuple[str, str]] = attrs.field(factory=list)
    lost: int = 0

    async def follow(self, wire: Client, tool: Tool) -> None:
        """Run it, as long as there is patience for it, and see to it that each turn has its own text."""
        with trio.move_on_after(self.patience):
            await self._follow(wire, tool)

    async def _follow(self, wire: Client, tool: Tool) -> None:
        try:
            async with wire.run(f"Read {self.book}", tools=[tool.look_up]) as rollout:
                async for step in rollout:
                    match step:
                        case TurnStarted(response_id=response_id):
                            self.turns.append((response_id, ""))
                        case TextDelta(text=piece):
                            response_id, text = self.turns[-1]
                            self.turns[-1] = (response_id, text + piece)
                        case TurnFinished(response=response):
                            assert self.turns[-1] == (response.id, response.output_text), self.turns
                        case TurnLost():
                            self.lost += 1
                        case _:
                            pass
                assert rollout.response is not None
                self.text = rollout.response.output_text
        except (AgentwireError, OSError) as error:
            self.error = error

    def check(self) -> None:
        """It is done, nothing was lost on the way, and nothing of another turn came in between."""
        assert self.text == f"The {self.book}: {' '.join(map(str, range(1, BOOKS[self.book] + 1)))}."
        for _, text in self.turns:
            assert text == "" or self.book in text or f"The {self.book} from".startswith(text.rstrip("1234567890. "))
        assert len({response_id for response_id, _ in self.turns}) == len(self.turns)


@attrs.define
class Tool:
    """The tool of all runs: which pages it has begun and ended to look up."""

    begun: list[tuple[str, int]] = attrs.field(factory=list)
    ended: list[tuple[str, int]] = attrs.field(factory=list)

    async def look_up(self, book: str, page: int) -> str:
        self.begun.append((book, page))
        try:
            await trio.sleep(0.3 + 0.4 * (page % 3))
        finally:
            self.ended.append((book, page))
        return f"page {page} of the {book}"


@attrs.define
class Played:
    """What came of it."""

    net: Network
    engine: ScriptedEngine = attrs.field(factory=partial(scripted, clerk))
    tool: Tool = attrs.field(factory=Tool)
    runs: list[Watched] = attrs.field(factory=lambda: [Watched(book) for book in BOOKS])
    error: Exception | None = None
    after: str = ""

    def check(self) -> None:
        """What holds wherever the connection was lost, as long as it had been there."""
        assert self.error is None, self.error
        for watched in self.runs:
            assert watched.error is None, watched.error
            if watched.patience == math.inf:
                watched.check()
        pages = {(book, page) for book, most in BOOKS.items() for page in range(1, most + 1)}
        assert sorted(self.tool.begun) == sorted(self.tool.ended) == sorted(set(self.tool.begun))
        left = {watched.book for watched in self.runs if watched.patience < math.inf}
        assert {page for page in pages if page[0] not in left} <= set(self.tool.begun) <= pages
        assert self.engine.running == 0
        assert self.after == "You said Still there?."


async def rollouts(
    faults: Sequence[Fault], extensions: tuple[str, ...], patience: float, transport: Transport
) -> Played:
    """Both runs over one client, with these faults on its network; nothing may be left of it."""
    played = Played(network(faults=faults))
    played.runs[0].patience = patience
    async with serving(played.engine, net=played.net, extensions=extensions, limits=LIMITS) as rig:
        with trio.fail_after(600):
            try:
                await _play(played, transport=transport)
            except (AgentwireError, OSError) as error:
                played.error = error
            await trio.sleep(LIMITS.ping_timeout + 61)  # the server notices, too
            await rig.gone()
    return played


async def restarted(extensions: tuple[str, ...]) -> tuple[Played, list[ScriptedEngine]]:
    """Both runs, while their server is replaced by another one that knows nothing of them, twice."""
    played, engines = Played(network()), [scripted(clerk) for _ in range(3)]
    nets = [network() for _ in engines]
    ready = 0

    async def dial() -> MemoryStream:
        return await nets[ready].connect()

    async with AsyncExitStack() as stack:
        rigs = []
        for seed, engine in enumerate(engines):
            ids = Sources.seeded(seed + 2)
            serve = serving(engine, net=nets[seed], extensions=extensions, limits=LIMITS, sources=ids)
            rigs.append(await stack.enter_async_context(serve))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_play, played, dial)
            for rig in rigs[:2]:
                await trio.sleep(2)
                ready += 1
                await rig.server.drain()
        await trio.sleep(LIMITS.ping_timeout + 61)
    return played, engines


async def _play(played: Played, connector: Connector | None = None, transport: Transport = "auto") -> None:
    options = {"limits": LIMITS, "sources": Sources.seeded(1), "connector": connector or played.net.connect}
    options["transport"] = transport
    async with connect("ws://localhost/v1", on_disconnect=Resume(within=60), **options) as wire:  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            for watched in played.runs:
                nursery.start_soon(watched.follow, wire, played.tool)
        played.after = (await wire.respond("Still there?")).output_text
        shown = wire.statistics()
        assert (shown.waiting, shown.unexpected) == (0, 0)
        if not any(watched.patience < math.inf for watched in played.runs):
            assert (shown.running, shown.unsent_bytes) == (0, 0)


def play(
    faults: Sequence[Fault] = (),
    extensions: tuple[str, ...] = EXTENSIONS,
    *,
    patience: float = math.inf,
    transport: Transport = "auto",
    seed: int | None = None,
) -> Played:
    """In virtual time.

    Args:
        faults: of the network.
        extensions: that the server has.
        patience: seconds after which the long run is left.
        transport: what the client may use.
        seed: of the order of tasks.
    """
    return run(partial(rollouts, faults, extensions, patience, transport), seed=seed)
