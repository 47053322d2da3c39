"""Lifecycle bugs, made by hand: each is one that somebody's server or client had, or could have, and the check for it.

A bug is put into a running program by changing one function; what it does is said in its name and its docstring.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NoReturn

import attrs
import pytest
import trio

from agentwire.client.calls import Calls
from agentwire.protocol import succession
from agentwire.protocol.desk import Desk, Outcome, Ticket
from agentwire.protocol.tickets import State
from agentwire.protocol.transcript import Node
from agentwire.runtime import opening
from agentwire.runtime.connection import Connection
from agentwire.runtime.pulse import Pulse
from agentwire.runtime.tools.running import Running
from agentwire.runtime.turn import Turn
from agentwire.runtime.window import Window
from agentwire.runtime.wire_session import WireSession
from agentwire.stores import MemoryStore
from agentwire.transport import outgoing
from agentwire.transport.outgoing import Outgoing
from agentwire.transport.websocket import WebSocketWire

__all__ = ["BUGS", "Bug"]

Patch = pytest.MonkeyPatch


@attrs.frozen
class Bug:
    """One bug.

    Attributes:
        name: what is wrong.
        put: puts it in, until the patch is undone.
        found: the checks that find it, by name.
    """

    name: str
    put: Callable[[Patch], None]
    found: tuple[str, ...]


BUGS: Final[list[Bug]] = []


def bug(*found: str) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Note a bug, and what finds it."""

    def note(put: Callable[[Patch], None]) -> Callable[[Patch], None]:
        BUGS.append(Bug(put.__name__, put, found))
        return put

    return note


# What a lane remembers, and in which order it works


@bug("case:a_failed_continuation_evicts", "case:a_response_that_fails_is_not_remembered", "desk machine")
def skipped_eviction(patch: Patch) -> None:
    """A failed turn leaves its parent where it was."""
    settle = Desk.settle

    def wrong(desk: Desk, ticket: Ticket, outcome: Outcome, node: Node | None = None) -> None:
        kept = list(ticket.lane.kept)
        settle(desk, ticket, outcome, node)
        if not ticket.lane.kept:
            ticket.lane.kept.extend(kept)

    patch.setattr(Desk, "settle", wrong)


@bug("case:only_the_latest_is_remembered", "desk machine")
def wrong_parent(patch: Patch) -> None:
    """A lane is continued from its own latest response, whatever the request names."""
    find = Desk.find_parent

    def wrong(desk: Desk, ticket: Ticket) -> Node | None:
        return ticket.lane.kept[-1] if ticket.lane.kept else find(desk, ticket)

    patch.setattr(Desk, "find_parent", wrong)


@bug("case:an_unknown_parent_is_not_found", "case:another_connection_does_not_know_it")
def unknown_parent_taken(patch: Patch) -> None:
    """A parent that is nowhere is a fresh chain."""

    async def wrong(service: Any, desk: Desk, ticket: Ticket, principal: str, wanted: str | None) -> Node | None:
        stored = await service.store.get(principal, wanted) if wanted is not None else None
        return ticket.parent or desk.find_parent(ticket) or (stored.node if stored is not None else None)

    patch.setattr(opening, "_find_parent", wrong)


@bug("case:owners_do_not_see_each_other")
def cross_tenant_cache(patch: Patch) -> None:
    """What one owner has stored, another one may continue."""
    put, get = MemoryStore.put, MemoryStore.get

    async def put_for_all(store: MemoryStore, principal: str, stored: Any) -> None:
        await put(store, "everybody", stored)

    async def get_of_all(store: MemoryStore, principal: str, response_id: str) -> Any:
        return await get(store, "everybody", response_id)

    patch.setattr(MemoryStore, "put", put_for_all)
    patch.setattr(MemoryStore, "get", get_of_all)


@bug("case:a_lane_is_first_come_first_served", "desk machine")
def reordered_lane(patch: Patch) -> None:
    """What comes last is done first."""
    enqueue = Desk._enqueue

    def wrong(desk: Desk, envelope: Any, frame: bytes) -> Ticket:
        ticket = enqueue(desk, envelope, frame)
        ticket.lane.queue.rotate()
        return ticket

    patch.setattr(Desk, "_enqueue", wrong)


@bug("case:the_queue_is_bounded", "desk machine")
def queue_without_bound(patch: Patch) -> None:
    """Whatever is asked waits, however much it is."""
    enqueue = Desk._enqueue

    def wrong(desk: Desk, envelope: Any, frame: bytes) -> Ticket:
        desk._limits = attrs.evolve(desk._limits, queued=1 << 30, queued_bytes=1 << 40)
        return enqueue(desk, envelope, frame)

    patch.setattr(Desk, "_enqueue", wrong)


@bug("desk machine", "wire:nothing_is_left_of_what_was_asked")
def permit_kept_by_a_failure(patch: Patch) -> None:
    """A turn that has failed goes on counting as one that runs."""
    release = Desk.release

    def wrong(desk: Desk, ticket: Ticket) -> None:
        release(desk, ticket)
        if ticket.node is None and ticket.response_id is not None:
            desk._running[Ticket(ticket.lane, ticket.envelope, b"", State.RUNNING)] = None

    patch.setattr(Desk, "release", wrong)


@bug("case:the_model_is_sent_what_was_steered", "desk machine")
def lost_steer(patch: Patch) -> None:
    """The successor of a steered response begins without what was steered."""

    def wrong(ticket: Ticket) -> tuple[Any, ...]:
        ticket.lane.steers = ()
        return ()

    patch.setattr(succession, "take", wrong)


# What is told


@bug("case:a_chain_goes_on_without_storing", "cut:cancel")
def double_terminal(patch: Patch) -> None:
    """A response is completed twice."""
    put = Window.put

    async def wrong(window: Window, head: bytes, tail: bytes) -> None:
        await put(window, head, tail)
        if b"response.completed" in head:
            await put(window, head, tail)

    patch.setattr(Window, "put", wrong)


@bug("case:a_failing_model_fails_its_response")
def missing_terminal(patch: Patch) -> None:
    """A response that fails ends with its error, and is never said to have failed."""
    put = Window.put

    async def wrong(window: Window, head: bytes, tail: bytes) -> None:
        if b"response.failed" not in head:
            await put(window, head, tail)

    patch.setattr(Window, "put", wrong)


@bug("case:a_failing_model_fails_its_response")
def gap_in_the_numbers(patch: Patch) -> None:
    """What is said at once takes two numbers."""
    put = Window.put_nowait

    def wrong(window: Window, head: bytes, tail: bytes) -> None:
        put(window, head, tail)
        window.next_number += 1

    patch.setattr(Window, "put_nowait", wrong)


@bug("case:there_are_32_lane_names", "wire:a_cancelled_response_fails_and_its_lane_goes_on")
def error_without_lane(patch: Patch) -> None:
    """A refusal does not say which lane it is about."""
    say = WireSession.say
    patch.setattr(WireSession, "say", lambda session, answer: say(session, attrs.evolve(answer, stream_id=None)))


@bug("case:a_client_that_does_not_read_stops_the_model")
def window_without_bound(patch: Patch) -> None:
    """The model writes on, however little its client reads."""
    init = Window.__init__

    def wrong(window: Window, **settings: Any) -> None:
        init(window, **(settings | {"limit": 1 << 40}))

    patch.setattr(Window, "__init__", wrong)


# Who waits for whom


@bug("case:lanes_run_at_the_same_time", "case:a_silent_model_holds_up_no_other_lane")
def reader_that_waits(patch: Patch) -> None:
    """The next message is read when the turns of the ones before are done."""

    async def wrong(wire: WebSocketWire, take: Callable[[bytes], None]) -> NoReturn:
        connection: Connection = getattr(take, "__self__")  # noqa: B009 - a function has none
        while True:
            await connection.session.idle()
            take(await wire.receive())

    patch.setattr(WebSocketWire, "receive_each", wrong)


@bug("cut:cancel", "case:a_client_that_vanishes_ends_the_models_work")
def turns_outlive_their_client(patch: Patch) -> None:
    """A client that is gone is no reason to stop."""
    detach = WireSession.detach

    def wrong(session: WireSession, wire: Any, reason: str, *, goodbye: bool = False) -> None:
        if session.granted.sessions or not session.turns:
            detach(session, wire, reason, goodbye=goodbye)
        else:
            session.outbox.disconnect()

    patch.setattr(WireSession, "detach", wrong)


@bug("cut:cancel")
def leaked_tool(patch: Patch) -> None:
    """A tool of the server runs beside its turn, and nobody ends it or waits for it."""
    call = Running._call

    async def wrong(running: Running) -> Any:
        values: list[Any] = []
        done = trio.Event()

        async def outside() -> None:
            try:
                values.append(await call(running))
            finally:
                done.set()

        trio.lowlevel.spawn_system_task(outside)
        await done.wait()
        return values[0]

    patch.setattr(Running, "_call", wrong)


@bug("case:a_silent_client_is_pinged_and_given_up")
def dead_peer_kept(patch: Patch) -> None:
    """A peer that answers no ping is waited for."""
    init = Pulse.__init__

    def wrong(pulse: Pulse, limits: Any, *arguments: Any, **more: Any) -> None:
        init(pulse, attrs.evolve(limits, ping_timeout=1e9), *arguments, **more)

    patch.setattr(Pulse, "__init__", wrong)


@bug("case:a_shutdown_lets_a_turn_finish")
def drain_that_cuts(patch: Patch) -> None:
    """A server that shuts down waits for nobody's turn."""
    retire = Connection.retire

    async def wrong(connection: Connection, *arguments: Any, grace: float, **more: Any) -> None:
        await retire(connection, *arguments, grace=0 if math.isfinite(grace) else grace, **more)

    patch.setattr(Connection, "retire", wrong)


# Losing a connection, and coming back


@bug("cut:resume", "client cuts:session")
def resume_that_repeats(patch: Patch) -> None:
    """Who comes back hears the last event once more."""
    rewind = Window.rewind

    def wrong(window: Window, number: int, ready: Callable[[Window], None]) -> None:
        rewind(window, number - 1 if number and window.has(number - 1) else number, ready)

    patch.setattr(Window, "rewind", wrong)


@bug("cut:resume", "client cuts:session")
def resume_that_skips(patch: Patch) -> None:
    """Who comes back never hears the next event."""
    rewind = Window.rewind

    def wrong(window: Window, number: int, ready: Callable[[Window], None]) -> None:
        rewind(window, number + 1 if number and window.has(number + 1) else number, ready)

    patch.setattr(Window, "rewind", wrong)


@bug("wire:a_session_that_came_back_is_not_given_up", "rig:long turn")
def resumed_and_still_given_up(patch: Patch) -> None:
    """The time within which a session may be resumed goes on running when it has been resumed."""
    resume = WireSession._resume

    def wrong(session: WireSession, reading: Any, outbox: Any) -> None:
        if session._expiry is not None:
            session._expiry = trio.CancelScope()
        resume(session, reading, outbox)

    patch.setattr(WireSession, "_resume", wrong)


@bug("wire:a_cancelled_response_fails_and_its_lane_goes_on", "rig:stopped")
def stopped_turn_stays_busy(patch: Patch) -> None:
    """A turn that its client has stopped keeps its lane."""
    close = WireSession._close_turn

    def wrong(session: WireSession, turn: Turn) -> None:
        if turn.ending is None or turn.ending.outcome is not Outcome.CANCELLED:
            close(session, turn)

    patch.setattr(WireSession, "_close_turn", wrong)


@bug("client cuts:none", "client cuts:session")
def tool_run_twice(patch: Patch) -> None:
    """A client that hears of a call again runs its tool again."""
    start = Calls.start

    def wrong(calls: Calls, call: Any) -> None:
        calls._tasks.pop(call.call_id, None)
        start(calls, call)

    patch.setattr(Calls, "start", wrong)


@bug("wire:what_is_being_written_is_written_whole")
def unshielded_send(patch: Patch) -> None:
    """Whoever stops a turn stops the write that is going on, in the middle of a frame."""
    writing: set[trio.CancelScope] = set()
    slowly, cancel = Outgoing._write_slowly, Turn.cancel

    async def wrong(wire: Outgoing, data: Any, *, full: bool) -> None:
        with trio.CancelScope() as scope:
            writing.add(scope)
            try:
                await slowly(wire, data, full=full)
            finally:
                writing.discard(scope)

    def stopping(turn: Turn, error: Any) -> bool:
        for scope in writing:
            scope.cancel(reason="the turn was stopped")
        return cancel(turn, error)

    def unshielded(seconds: float, *, shield: bool = False) -> trio.CancelScope:
        return trio.move_on_after(seconds)

    patch.setattr(outgoing, "trio", _Instead(trio, move_on_after=unshielded))
    patch.setattr(Outgoing, "_write_slowly", wrong)
    patch.setattr(Turn, "cancel", stopping)


class _Instead:
    """A module of which some functions are others."""

    def __init__(self, module: Any, **others: Any) -> None:
        self._module = module
        vars(self).update(others)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)
