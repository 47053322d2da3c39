"""The `wire` engine: one step of a turn is one response of a server that speaks the WebSocket mode, relayed.

It keeps a few connections open, and with each lane what the upstream remembers there: a turn that continues that, or
whose history says the same, goes up as what is new in it. Everything else goes up whole.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Literal

import attrs

from agentwire.engines.faults import server_of
from agentwire.engines.relay.asking import ENCRYPTED, free_text_tools, is_about_include, own_tools
from agentwire.engines.relay.hearing import Relay
from agentwire.engines.relay.notes import HeardNotes
from agentwire.engines.wire.conversation import Conversation, open_conversation
from agentwire.engines.wire.index import ChainIndex
from agentwire.engines.wire.pool import Pool, PoolStatistics
from agentwire.engines.wire.step import Attempts, Step
from agentwire.link import Address, Connector, open_link
from agentwire.link.address import find_key
from agentwire.protocol.errors import EngineError
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Finish, Out, Summarized
from agentwire.runtime.counting import estimated_usage
from agentwire.runtime.groups import open_flat_nursery
from agentwire.transport.proxy import Proxy

__all__ = ["WireEngine", "WireStatistics", "open_wire_engine"]

ROTATE_AFTER: Final = 55 * 60.0
"""Seconds after which a connection takes no more turns: hosted servers end it at 60 minutes."""
CONNECTIONS: Final = 8


@attrs.frozen(kw_only=True)
class WireStatistics:
    """A snapshot of an engine.

    Attributes:
        pool: its connections.
        chains: conversations that are known by what they say.
        full: requests that went up with the whole conversation.
        deltas: requests that went up with what was new.
        found: those among the deltas whose history was recognized by what it says.
        forgotten: deltas that the upstream could not continue, and that went up again in full.
        again: requests that never ran, and went up again on another connection.
        lost: turns that ended with their connection.
    """

    pool: PoolStatistics
    chains: int
    full: int
    deltas: int
    found: int
    forgotten: int
    again: int
    lost: int


@asynccontextmanager
async def open_wire_engine(
    url: str,
    *,
    key: str | None = None,
    model: str | None = None,
    headers: Mapping[str, str] | None = None,
    store: bool = False,
    connections: int = CONNECTIONS,
    lanes: bool | None = None,
    rotate_after: float = ROTATE_AFTER,
    on_cancel: Literal["close", "isolate"] = "close",
    repeat_unanswered: bool = False,
    context_tokens: int | None = None,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    sources: Sources | None = None,
    connector: Connector | None = None,
    proxy: str | None = "environment",
) -> AsyncGenerator[WireEngine]:
    """Open an engine in front of a server that speaks the WebSocket mode: OpenAI, xAI, Azure, another agentwire.

    Nothing is connected before the first turn. The engine may be used by any number of turns at once, until the block
    is left, which closes its connections. A step that is cancelled is cancelled at the upstream, where that has the
    extension for it; elsewhere see ``on_cancel``.

    The client's request goes up with all its members, unknown ones too; the server's events come down with this
    server's ids and numbers. A turn goes up as what is new in it where the upstream has the rest: because it continues
    a response of this engine, or because its history says just what such a response and those before it said, under
    the same settings and from the same principal. A client that reads slowly slows the upstream, and loses nothing.

    The engine raises `EngineError`: what the server has against the request, in its own words and with its code; 502
    or 503 if it cannot be reached, fails, breaks off or refuses this server's key. A request that may have run is never
    sent again.

    Args:
        url: see `agentwire.link.Address`, such as ``wss://api.openai.com/v1``.
        key: for ``Authorization: Bearer``; never shown to a client nor written to a log.
        model: the name that the server knows its model by; each request's own if left out.
        headers: for the upgrade.
        store: have the server keep the responses, and continue them from any connection; without, the server
            remembers the latest response of each lane, and nothing else.
        connections: how many may be open at once.
        lanes: whether the server has lanes; without them, a connection has one turn at a time. None: its first answer
            shows it.
        rotate_after: seconds after which a connection takes no new turns; it ends with the last one it has.
        on_cancel: at a server without the extension, an abandoned turn is only stopped by closing its connection:
            ``close`` does that once nobody else uses it, and gives it no new turns; ``isolate`` lets it run on unheard.
        repeat_unanswered: send a request again, on another connection, of which nothing was heard when its connection
            ended: it may run twice. Not where the upstream itself may run tools for it.
        context_tokens: how many tokens the model can read; without it the server itself must say what is too long.
        limits: deadlines and sizes.
        tls: trust other than the system's.
        sources: randomness for masking frames.
        connector: opens the byte stream instead of dialling.
        proxy: the URL of a proxy, or None for none; the environment's settings if left out.

    Raises:
        LocalProtocolError: the address or the key is not possible.
        ValueError: there must be at least one connection, or ``proxy`` is no HTTP URL.
    """
    limits = limits or Limits()
    key = find_key(Address.parse(url), key or "", {})  # never one of the environment: that may be this server's own
    if connections < 1:
        raise ValueError("connections must be at least 1")
    if proxy not in (None, "environment"):
        Proxy.parse(proxy)
    dial = partial(
        open_link,
        url,
        key=key or "",
        headers=tuple((headers or {}).items()),
        tls=tls,
        limits=limits,
        sources=sources,
        connector=connector,
        proxy=proxy,
        relaying=True,
    )
    index = ChainIndex(limits.upstream_chains)
    async with open_flat_nursery() as nursery:
        pool = Pool(
            nursery,
            dial,
            limits=limits,
            most=connections,
            age=rotate_after,
            lanes=lanes,
            cuts=on_cancel == "close",
            lost=_keep if store else index.drop,
            stores=store,
        )
        yield WireEngine(
            pool=pool,
            index=index,
            server=server_of(url),
            model=model,
            store=store,
            repeats=repeat_unanswered,
            context_tokens=context_tokens,
            limits=limits,
        )
        nursery.cancel_scope.cancel(reason="the engine is closed")


def _keep(response_id: str) -> None:
    """A server that keeps its responses has this one still."""


@attrs.frozen(eq=False, kw_only=True)
class WireEngine:
    """The engine itself; made by `open_wire_engine`.

    Attributes:
        context_tokens: see `open_wire_engine`.
        hosts_tools: the server may run tools of its own, such as MCP servers that it reaches.
    """

    pool: Pool = attrs.field(repr=False)
    index: ChainIndex = attrs.field(repr=False)
    server: str
    model: str | None
    store: bool
    repeats: bool
    context_tokens: int | None
    limits: Limits = attrs.field(repr=False)
    hosts_tools: bool = attrs.field(default=True, init=False)
    plain: set[str] = attrs.field(factory=set, init=False, repr=False)
    attempts: Attempts = attrs.field(factory=Attempts, init=False, repr=False)

    async def __call__(self, ask: Ask, out: Out) -> Finish:
        """Answer one step."""
        conversation = self._conversation(ask)
        hide = () if ENCRYPTED in ask.request.include else ("encrypted_content",)
        try:
            finish, mark = await self._step(ask, out, conversation, hide).run()
        except EngineError as error:
            if error.may_have_run or not is_about_include(conversation.asking, error):
                raise
            self.plain.add(conversation.asking.model)
            conversation.asking = conversation.asking.without(ENCRYPTED)
            finish, mark = await self._step(ask, out, conversation, hide).run()
        conversation.end(mark, self.index)
        return finish

    async def compact(self, ask: Ask) -> Summarized:
        """A summary of the conversation, by the model."""
        conversation, notes = self._conversation(ask), HeardNotes(ask.use)
        conversation.asking = conversation.asking.for_summary(self.limits.summary_tokens)
        finish, _ = await self._step(ask, notes, conversation, ()).run()
        return Summarized("".join(notes.pieces).strip(), finish.usage)

    def statistics(self) -> WireStatistics:
        """Connections and requests at this moment."""
        return WireStatistics(pool=self.pool.statistics(), chains=len(self.index), **attrs.asdict(self.attempts))

    def _conversation(self, ask: Ask) -> Conversation:
        conversation = open_conversation(
            ask, owner=self, model=self.model, store=self.store, index=self.index, reaches=self._reaches
        )
        if conversation.asking.model in self.plain:
            conversation.asking = conversation.asking.without(ENCRYPTED)
        return conversation

    def _reaches(self, mark: str) -> bool:
        return self.store or self.pool.has(mark)

    def _step(self, ask: Ask, out: Out, conversation: Conversation, hide: tuple[str, ...]) -> Step:
        def relay() -> Relay:
            return Relay(
                out,
                server=self.server,
                new_id=ask.sources.new_id,
                response_id=ask.response_id,
                own_tools=own_tools(ask),
                free_text=free_text_tools(ask),
                hide=hide,
                keep=conversation.keep,
                most=self.limits.response_bytes,
                estimate=partial(estimated_usage, ask),
            )

        return Step(
            self.pool,
            conversation,
            relay,
            server=self.server,
            limits=self.limits,
            store=self.store,
            repeats=self.repeats,
            attempts=self.attempts,
            forget=self.index.drop,
        )
