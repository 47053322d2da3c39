"""What is true of connections and processes: everything is answered, ends honestly, and leaves nothing behind.

Where a connection was lost, or left by its client, less is owed; the rules see that by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from agentwire.protocol.hello import GOAWAY
from agentwire.testing.entry import Entry, InvariantBroken
from agentwire.testing.journal import Happened, entries
from agentwire.testing.trace_entries import CREATE, HTTP_REQUEST, HTTP_RESPONSE
from agentwire.testing.turns import turns
from agentwire.testing.wires import Recorded, Wire, wires

__all__ = ["honest_close", "no_turn_lost_in_drain", "nothing_leaked", "requests_answered"]

_DRAIN_CODES: Final = ("server_is_draining", "server_shutting_down", "server_shutdown", "shutting_down")


def requests_answered(happened: Happened, *, complete: bool = True) -> None:
    """Every request has an answer: a response or an error.

    Source: OpenAI, WebSocket mode guide; openclaw/openclaw#44168 (requests never heard of again).

    Args:
        happened: what happened.
        complete: False if connections may have been cut without a trace of it.
    """
    for wire in wires(happened):
        if not complete or wire.may_stop or wire.left:
            continue
        asked = [entry for entry in wire.messages if entry.who == "client" and entry.type == CREATE]
        answered = sum(len(lane.responses) + len(lane.refusals) for lane in wire.lanes)
        if wire.body is None and len(asked) > answered:
            message = f"{len(asked)} requests, {answered} answers"
            raise InvariantBroken("requests_answered", message, asked[answered - len(asked) :])


def honest_close(happened: Happened) -> None:
    """A server's close code is one that may be sent, and it is not 1000 while something runs or waits.

    1005, 1006 and 1015 never stand in a close frame, and a close frame without a code says nothing. Where the client
    has begun to close, the server gives back its code.

    Source: RFC 6455, section 7.4; brainlid/langchain#483 (closed with 1000 and not one event).
    """
    for wire in wires(happened):
        closing = wire.closing
        if closing is None or closing.who != "server":
            continue
        code = closing.event.get("code")
        if code is not None and not _may_be_sent(code):
            raise InvariantBroken("honest_close", f"close code {code} may not be sent", [closing])
        if code in (1000, None) and (open_ := _open(wire)):
            how = "without a code" if code is None else "with 1000, which says that all is done"
            raise InvariantBroken("honest_close", f"the server closes {how}", [*open_[-3:], closing])


def _may_be_sent(code: int) -> bool:
    return code in (1000, 1001, 1002, 1003, *range(1007, 1015)) or 3000 <= code <= 4999


def _open(wire: Wire) -> list[Entry]:
    """Events of responses without an end, and requests without an answer."""
    return [
        entry
        for turn in turns(wire)
        if turn.end is None and turn.refusal is None
        for entry in (turn.request, turn.response.events[-1] if turn.response is not None else None)
        if entry is not None
    ]


def no_turn_lost_in_drain(happened: Happened) -> None:
    """A server that shuts down finishes the turns that it has taken, within the time that it gives them.

    A drain begins with `Journal.drain_started`, with an announced end (``agentwire:goaway``), or, if neither is there,
    with the close frame of code 1012.

    Source: hivecommons/hive#5090 and mnfst/llm-gateway#2326 (deploys that cut turns).
    """
    recorded = Recorded.of(happened)
    started = next((entry for entry in recorded if entry.type == "drain.started"), None)
    for wire in recorded.wires:
        begin = started or next((entry for entry in wire.messages if _announces_drain(entry)), None)
        if wire.transport == "websocket" and wire.stopped_by_server:
            _nothing_cut(wire, begin)
        if begin is not None:
            _nothing_failed(wire, begin)


def _announces_drain(entry: Entry) -> bool:
    return entry.type == GOAWAY and entry.event.get("reason") == "drain"


def _nothing_cut(wire: Wire, begin: Entry | None) -> None:
    end = wire.closing or wire.ended
    assert end is not None
    if begin is None and end.event.get("code") != 1012:
        return
    begin = begin or end
    seconds = begin.event.get("seconds")
    limit = begin.time + (seconds if isinstance(seconds, int | float) else math.inf)
    arrived = begin.time - _latency(wire)
    lost = [entry for entry in _open(wire) if entry.type != CREATE or entry.time < arrived]
    if lost and end.time < limit:
        within = "" if seconds is not None else " (how long they are given is not in the record)"
        evidence = [*lost, begin, end] if begin is not end else [*lost, end]
        raise InvariantBroken("no_turn_lost_in_drain", f"these were running or waiting{within}", evidence)


def _latency(wire: Wire) -> float:
    """Seconds from a client's bytes to the server's answer to them, as the handshake shows."""
    asked = next((entry.time for entry in wire.beside if entry.type == HTTP_REQUEST), 0.0)
    return max(0.0, next((entry.time for entry in wire.beside if entry.type == HTTP_RESPONSE), asked) - asked)


def _nothing_failed(wire: Wire, begin: Entry) -> None:
    for turn in turns(wire):
        if turn.end is None or turn.response is None or turn.response.events[0].time >= begin.time:
            continue
        body: Any = turn.end.event.get("response")
        error = body.get("error") if isinstance(body, Mapping) else None
        if isinstance(error, Mapping) and error.get("code") in _DRAIN_CODES:
            evidence = [turn.response.events[0], begin, turn.end]
            raise InvariantBroken("no_turn_lost_in_drain", "this had begun before the drain", evidence)


def nothing_leaked(happened: Happened) -> None:
    """What there is at the end was there at the beginning: tasks, file descriptors, streams.

    It judges the first and the last snapshot that `Journal.resources` has taken; with less than two it holds.

    Source: openonion/connectonion#548 (descriptors left open); structured concurrency.
    """
    taken = [entry for entry in entries(happened) if entry.type == "resources"]
    if len(taken) < 2:
        return
    first, last = taken[0], taken[-1]
    left = [f"{kind}: {what}" for kind in ("tasks", "descriptors", "streams") for what in _new(first, last, kind)]
    if left:
        evidence = [Entry(last.time, "local", {"type": "left behind", "what": what}) for what in left]
        raise InvariantBroken("nothing_leaked", "; ".join(left), evidence)


def _new(first: Entry, last: Entry, kind: str) -> Iterable[str]:
    before, after = first.event.get(kind) or {}, last.event.get(kind) or {}
    changed = kind == "descriptors"  # a number is used again, a task and a stream are the same ones
    return [what for key, what in after.items() if key not in before or (changed and before[key] != what)]
