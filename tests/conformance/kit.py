"""Our own server, as the cases want it: three models, small limits, two keys; in memory or on 127.0.0.1."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from agentwire.engines import builtin
from agentwire.protocol.errors import EngineError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Engine, Finish, Out, Store
from agentwire.server import Server, serve
from agentwire.stores import open_sqlite_store
from agentwire.testing import network, no_leaks
from agentwire.testing.conformance import Peer
from agentwire.testing.conformance.rules import Profile
from tests.server.kit import serving

LIMITS = Limits(message_bytes=100_000, queued=20)
KEYS = ("sk-one", "sk-two")
ABLE = frozenset(("tools", "reasoning", "search", "steering"))
SILENCE = 70
CONTEXT = 12_000
SEARCH = {"type": "search", "query": "websockets"}


def models(pace: float) -> Engine:
    """An engine with three models: ``builtin``, ``slow`` and ``fails``.

    Args:
        pace: seconds that ``slow`` takes for a word.
    """
    quick, slow = builtin(), builtin(delay=pace)

    async def engine(ask: Ask, out: Out) -> Finish | None:
        if ask.model == "fails":
            raise EngineError("The model stopped.")
        if ask.tool_choice.names == ("web_search",):
            await out.item({"type": "web_search_call", "status": "completed", "action": SEARCH})
            await out.text("Nothing was found.")
            return None
        if ask.model == "slow":  # it thinks before its first word
            await trio.sleep(SILENCE if "silent" in str(ask.new_items) else pace)
        return await (slow if ask.model == "slow" else quick)(ask, out)

    vars(engine)["context_tokens"] = CONTEXT
    return engine


def peer_at(url: str, profile: Profile, **more: Any) -> Peer:
    """What such a server can do."""
    return Peer(
        url,
        model="builtin",
        key=KEYS[0],
        second_key=KEYS[1],
        slow_model="slow",
        failing_model="fails",
        limits={
            "message_bytes": LIMITS.message_bytes,
            "queued": LIMITS.queued,
            "steers": 16,
            "context_tokens": CONTEXT,
        },
        profile=profile,
        **more,
    )


@asynccontextmanager
async def in_memory(
    profile: Profile,
    *,
    engine: Engine | None = None,
    limits: Limits = LIMITS,
    store: Store | None = None,
    generous: bool = False,
) -> AsyncGenerator[Peer]:
    """A server on a network in memory, where waiting costs nothing; it may have other parts than it tells."""
    options: dict[str, Any] = {"keys": KEYS, "limits": limits, "store": store, "generous": generous}
    async with serving(engine or models(0.5), net=network(keep=False), **options) as rig:
        yield peer_at("http://localhost/v1", profile, able=ABLE | {"patience"}, dial=rig.dial)


@asynccontextmanager
async def on_sockets(profile: Profile, path: Path) -> AsyncGenerator[Peer]:
    """A server on 127.0.0.1, for two minutes at most, in front of a store on disk."""
    with trio.fail_after(110):
        async with no_leaks(rounds=2000), open_sqlite_store(path) as store, trio.open_nursery() as nursery:
            run = partial(serve, models(0.02), keys=KEYS, limits=LIMITS, store=store)
            server: Server = await nursery.start(run)
            yield peer_at(server.http_url, profile, able=ABLE)
            nursery.cancel_scope.cancel(reason="the test is over")
