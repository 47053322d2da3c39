"""A server in a thread of its own, for tests of clients that have no Trio; and what such clients leave behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import trio

import agentwire

__all__ = ["loops", "serving"]


@contextmanager
def serving(engine: agentwire.Engine, **options: Any) -> Iterator[str]:
    """A server in a Trio loop of its own thread: its URL."""
    started: list[Any] = []
    ready = threading.Event()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(agentwire.serve, engine, **options))
            over = trio.Event()
            started.extend((server.url, trio.lowlevel.current_trio_token(), over))
            ready.set()
            await over.wait()
            nursery.cancel_scope.cancel(reason="the test is over")

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    ready.wait()
    url, token, over = started
    try:
        yield url
    finally:
        token.run_sync_soon(over.set)
        thread.join()


def loops() -> list[threading.Thread]:
    """The threads of the clients' loop."""
    return [thread for thread in threading.enumerate() if thread.name == "agentwire"]
