"""The watch on all tests: real connections, event streams, and the wires in memory that stand for connections."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from agentwire.runtime.outbox import Outbox
from agentwire.runtime.wire_session import WireSession
from agentwire.testing.telling import Telling
from agentwire.testing.watch import Follower, Watch, watching

__all__ = ["WATCH", "watching_everything"]

WATCH = Watch()


@contextmanager
def watching_everything() -> Generator[Watch]:
    """Follow every connection, and every wire of a test that has a ``heard`` to be told what it takes."""
    attach = WireSession.attach
    tellings: WeakKeyDictionary[WireSession, Telling] = WeakKeyDictionary()

    def watched(session: WireSession, wire: Any, *arguments: Any, **more: Any) -> Outbox:
        outbox = attach(session, wire, *arguments, **more)
        if hasattr(wire, "heard"):
            telling = tellings.get(session)
            if telling is None:
                telling = tellings[session] = Telling()
                telling.keep()
            else:
                telling.resume()
            follower = Follower(WATCH, "a wire in memory")
            wire.heard = lambda event: follower.take(event, telling.take)
        return outbox

    patched: Any = WireSession
    patched.attach = watched
    try:
        with watching(WATCH):
            yield WATCH
    finally:
        patched.attach = attach
