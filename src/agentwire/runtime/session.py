"""A session: what one client has going. It owns the turns, and with them their engine steps and the server's tools.

Its desk decides what runs. A turn runs in a task of its own, and is over when all that it said has been read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Self

import attrs
import trio

from agentwire.protocol.codec import encode_json
from agentwire.protocol.desk import Desk, DeskStatistics, Outcome, State, Ticket
from agentwire.protocol.errors import RequestError, StoreError
from agentwire.runtime.groups import single
from agentwire.runtime.opening import Transport
from agentwire.runtime.service import Service
from agentwire.runtime.turn import Turn
from agentwire.runtime.window import Window, WindowStatistics

__all__ = ["Session", "SessionStatistics"]

log = logging.getLogger("agentwire.session")


@attrs.frozen
class SessionStatistics:
    """A snapshot of one session."""

    desk: DeskStatistics
    windows: tuple[WindowStatistics, ...]


class Session:
    """One client's turns; whoever has started one reads its window.

    `run` is its task and owns everything; it ends by `cancel`.

    Args:
        service: what all sessions share.
        principal: who the client is.
        transport: how requests come.

    Attributes:
        ended: why it is over, or about to be; None until then.
        finished: it is over, and so is all that it owned.
        idle_since: Trio's time since when no turn has run.
    """

    def __init__(self, service: Service, *, principal: str, transport: Transport = "http") -> None:
        self.id = service.sources.new_id("sess")
        self.principal = principal
        self.desk = Desk(service.limits, service.sources, generous=service.generous)
        self.turns: dict[Ticket, Turn] = {}
        self.ended: str | None = None
        self.finished = trio.Event()
        self.idle_since = trio.current_time()
        self._service = service
        self._transport: Transport = transport
        self._patient = trio.lowlevel.ParkingLot()  # who waits until no turn runs
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        service.tally.sessions += 1

    # Its life

    async def run(self, *, task_status: trio.TaskStatus[Self] = trio.TASK_STATUS_IGNORED) -> None:  # noqa: ASYNC114 - named in its docstring
        """The session's task: hold its turns until it is cancelled. Use ``await nursery.start(session.run)``."""
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    task_status.started(self)
                    try:
                        await trio.sleep_forever()
                    finally:  # from here on the nursery may close at any moment, and takes nothing
                        self.ended = self.ended or "the server stopped"
        finally:
            self._nursery = None
            self.turns.clear()  # those that never began
            self._patient.unpark_all()
            self.finished.set()

    def cancel(self, reason: str) -> None:
        """End everything in the session; the first reason counts, and is what each cancelled tool sees."""
        if self.ended is None:
            self.ended = reason
            self.desk.drop_queued()
            self._scope.cancel(reason=reason)

    async def idle(self) -> None:
        """Wait until no turn runs (what waits in lanes counts, too: it starts when a lane is free)."""
        while self.turns:
            await self._patient.park()

    def statistics(self) -> SessionStatistics:
        """Queues at this moment."""
        windows = tuple(turn.window.statistics() for turn in self.turns.values())
        return SessionStatistics(self.desk.statistics(), windows)

    # Its turns

    def start_only(self, ticket: Ticket, make: Callable[..., Turn] = Turn) -> Turn:
        """Start the only request of an HTTP session, as a turn made by ``make``; somebody else reads its window."""
        started = next(self.desk.start())
        assert started is ticket
        turn = self.open_turn(ticket, make)
        self._start(turn)
        return turn

    def _start_ready(self) -> None:
        for ticket in self.desk.start():
            self._start(self.open_turn(ticket))

    def _start(self, turn: Turn) -> None:
        if self._nursery is not None:  # else the session has ended, and nobody will hear of it
            self._nursery.start_soon(self.run_turn, turn, name=f"turn of {self.id}")

    def open_turn(self, ticket: Ticket, make: Callable[..., Turn] = Turn) -> Turn:
        """The turn of a request that may run now, with its window; `run_turn` is to follow."""
        turn = make(
            self._service,
            self.desk,
            ticket,
            self._open_window(ticket),
            principal=self.principal,
            transport=self._transport,
        )
        self.turns[ticket] = turn
        return turn

    async def run_turn(self, turn: Turn) -> None:
        """Run one request to its end, then free its lane. Raises nothing but `trio.Cancelled`."""
        try:
            await trio.lowlevel.checkpoint_if_cancelled()  # a session that has ended begins nothing
            try:
                await turn.run()
            except Exception as exception:  # noqa: BLE001 - our own fault: this turn's, and nobody else's
                self._crash(turn, exception)
            self._close_window(turn.window)
            await turn.window.drained()
        except BaseExceptionGroup as group:
            _, faults = group.split(trio.Cancelled)
            if faults is None:
                raise single(group) from None
            if not isinstance(faults, Exception):
                raise
            log.error("session %s: a turn failed while it was cancelled", self.id, exc_info=faults)  # noqa: TRY400
        finally:
            self._close_turn(turn)

    def _crash(self, turn: Turn, exception: Exception) -> None:
        message = "The server failed; its log has the reason."
        if isinstance(exception, StoreError):
            log.error("session %s: %s", self.id, exception)
            message = "What this server stores cannot be read or written now; its log has the reason."
        else:
            log.error("session %s: a turn crashed", self.id, exc_info=exception)
        if turn.ticket.state is State.RUNNING:
            turn.fail(RequestError(500, "server_error", message))

    def _close_turn(self, turn: Turn) -> None:
        """The turn is over, whatever came of it: its lane may go on."""
        ticket = turn.ticket
        turn.window.close()
        del self.turns[ticket]
        if ticket.state is State.RUNNING:
            self.desk.settle(ticket, Outcome.CANCELLED)
        if turn.makes:
            self._service.tally.enter(turn.account())
        self.desk.release(ticket)
        if self.ended is None:
            self._start_ready()
        if not self.turns:
            self._patient.unpark_all()
            self.idle_since = trio.current_time()

    # Their windows, which somebody reads who knows the turn

    def _open_window(self, ticket: Ticket) -> Window:
        return Window(limit=self._service.limits.window_bytes, ready=_unheard, ending=lane_ending(ticket.lane.name))

    def _close_window(self, window: Window) -> None:
        """Its turn has said everything."""
        window.close()


def lane_ending(stream_id: str | None) -> bytes:
    """How an event of a lane ends."""
    return b"}" if stream_id is None else b',"stream_id":%b}' % encode_json(stream_id)


def _unheard(_: Window) -> None:
    """Whoever reads the window waits at it, and need not be told."""
