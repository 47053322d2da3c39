"""Work that is done for a client that waits for its answer over HTTP, and ends when the client goes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import trio

from agentwire.transport.http11 import HttpConnection

__all__ = ["while_present"]


@asynccontextmanager
async def while_present(
    connection: HttpConnection, gone: Callable[[str], None] | None = None
) -> AsyncGenerator[trio.Nursery]:
    """A nursery that is cancelled when the client goes, and when the block ends; the request must have been read.

    The connection is cut off before anything is cancelled: no write that waits can hold that up.

    Args:
        connection: the client's.
        gone: told why, then.
    """
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            reason = f"the client went away: {await connection.wait_disconnect()}"
            await connection.abort(reason)
            if gone is not None:
                gone(reason)
            nursery.cancel_scope.cancel(reason=reason)

        nursery.start_soon(watch)
        yield nursery
        nursery.cancel_scope.cancel(reason="the request has been answered")
