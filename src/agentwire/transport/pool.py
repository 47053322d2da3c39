"""The connections of a client to one server: kept for the next request, and in its books as long as they are open.

A request has a connection of its own. Whatever ends it, the connection comes back here, and is kept if it is fit for
another request and closed at once if not; there is nothing to wait for, so that a cancelled request leaves nothing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import attrs
import trio

from agentwire.protocol.errors import AgentwireError, ConnectionEnded, LocalProtocolError
from agentwire.protocol.limits import Limits
from agentwire.transport.caller import Caller
from agentwire.transport.dial import ConnectFailed
from agentwire.transport.route import Connector
from agentwire.transport.watchdog import Watchdog

__all__ = ["Pool", "PoolStatistics", "Unreachable"]

_SLOW_END: Final = "did not end its answer within {:g} s"
_IDLE: Final = "not needed for {:g} s"
_CONNECT_ERRORS: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


class Unreachable(ConnectionEnded):
    """No connection could be made; nothing was sent."""


@attrs.frozen
class PoolStatistics:
    """A snapshot of a client's connections.

    Attributes:
        dialling: those that are being made.
        busy: those with a request under way.
        settling: those whose server has said everything, and only has to end its answer.
        idle: those that are kept.
        opened: how many there have been.
        requests: how many requests went out.
    """

    dialling: int
    busy: int
    settling: int
    idle: int
    opened: int
    requests: int


class Pool:
    """Connections to one server.

    Args:
        open_stream: makes a connection.
        server: its name, for errors.
        limits: deadlines and sizes.
        nursery: for what goes on without a request; its end is the pool's.
    """

    def __init__(self, open_stream: Connector, server: str, limits: Limits, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._open_stream = open_stream
        self._server = server
        self._limits = limits
        self._watchdog = Watchdog()
        nursery.start_soon(self._watchdog.run)
        self._idle: list[Caller] = []  # the one that was used last is the last
        self._busy: set[Caller] = set()
        self._settling: set[Caller] = set()
        self._dialling = self._opened = self._requests = 0
        self._closed = False

    def statistics(self) -> PoolStatistics:
        """What there is at this moment, and totals."""
        counts = len(self._busy), len(self._settling), len(self._idle)
        return PoolStatistics(self._dialling, *counts, self._opened, self._requests)

    async def take(self) -> Caller:
        """A connection for one request: a kept one, or else a new one. Hand it back with `give_back`.

        Raises:
            Unreachable: there is none to be had.
            LocalProtocolError: the pool is closed.
        """
        if self._closed:
            raise LocalProtocolError("this client is closed")
        self._requests += 1
        while self._idle:
            caller = self._idle.pop()
            if caller.fit and not caller.has_input():
                caller.relax()
                self._busy.add(caller)
                return caller
            await caller.aclose()
        caller = await self._dial()
        self._busy.add(caller)
        return caller

    async def warm(self) -> None:
        """Make a connection and keep it for the next request; raises as `take` does."""
        caller = await self._dial()
        self._busy.add(caller)
        await self.give_back(caller)

    async def _dial(self) -> Caller:
        self._dialling += 1
        try:
            stream = await self._open_stream()
        except ConnectFailed as error:
            raise Unreachable(cause=f"{self._server}: {error.cause}") from error
        except _CONNECT_ERRORS as error:
            raise Unreachable(cause=f"{self._server}: {error}") from error
        finally:
            self._dialling -= 1
        self._opened += 1
        return Caller(stream, self._server, self._watchdog, self._limits, self._forget)

    async def give_back(self, caller: Caller, *, settle: bool = False) -> None:
        """A request is over, however it ended.

        Args:
            caller: its connection.
            settle: the server has said everything but for the formal end of its answer. That is waited for elsewhere,
                for ``limits.close_grace`` seconds, so that the connection can be used again.
        """
        self._busy.discard(caller)
        if settle and not (self._closed or caller.complete) and await self._settle_now(caller):
            self._settling.add(caller)
            self._nursery.start_soon(self._settle, caller)
        elif not self._keep(caller):
            await caller.aclose()

    async def _settle_now(self, caller: Caller) -> bool:
        """Read what is here of the end; True if more has to come."""
        caller.expect(_SLOW_END, self._limits.close_grace)
        try:
            while not caller.complete and caller.has_input():
                await caller.read()
        except AgentwireError:
            return False
        except BaseException:
            await caller.aclose()  # noqa: ASYNC102, ASYNC120 - it waits for nothing
            raise
        finally:
            caller.relax()
        return not caller.complete

    async def _settle(self, caller: Caller) -> None:
        try:
            with trio.move_on_after(self._limits.close_grace), suppress(AgentwireError):
                await caller.skip()
        finally:
            self._settling.discard(caller)
            if not self._keep(caller):
                await caller.aclose()  # noqa: ASYNC102 - it waits for nothing

    def _keep(self, caller: Caller) -> bool:
        """Keep a connection, if it is fit and there is room; False if it is of no more use."""
        if self._closed or len(self._idle) >= self._limits.upstream_kept or not caller.fit:
            return False
        self._idle.append(caller)
        caller.expect(_IDLE, self._limits.idle)
        return True

    def _forget(self, caller: Caller) -> None:
        """A connection has been closed."""
        self._busy.discard(caller)
        if caller in self._idle:
            self._idle.remove(caller)

    async def aclose(self) -> None:
        """Close every connection; requests that are under way end with `ConnectionEnded`."""
        self._closed = True
        for caller in [*self._idle, *self._busy, *self._settling]:
            await caller.aclose()
