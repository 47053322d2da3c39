"""What is true of everything that a server says on one wire, whatever goes wrong.

Each rule is one function, takes what happened, and raises `InvariantBroken` with the events that show it; none has to
be told what was supposed to happen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agentwire.protocol.grammar import Checker, GrammarError
from agentwire.protocol.order import DONE_TEXT, LATE_EVENTS, SIDE_EVENTS
from agentwire.testing.entry import Entry, InvariantBroken
from agentwire.testing.journal import Happened
from agentwire.testing.lanes import Lane, Response
from agentwire.testing.trace_entries import CREATE
from agentwire.testing.turns import answers, asked_for, take_steers
from agentwire.testing.wires import Wire, wires

__all__ = [
    "CODES",
    "contiguous_numbers",
    "deltas_match_done",
    "echoes_lane",
    "exact_codes",
    "lane_fifo",
    "legal_order",
    "nothing_after_terminal",
    "one_terminal",
]

CODES: Final[Mapping[str, tuple[int, ...]]] = {
    "previous_response_not_found": (400,),
    "invalid_stream_id": (400,),
    "websocket_stream_limit_reached": (400,),
    "websocket_connection_limit_reached": (400,),
    "context_length_exceeded": (400,),
    "unsupported_parameter": (400,),
    "unsupported_value": (400,),
    "missing_required_parameter": (400,),
    "invalid_type": (400,),
    "invalid_value": (400,),
    "unknown_parameter": (400,),
    "invalid_json": (400,),
    "unknown_event_type": (400,),
    "tool_call_not_found": (400,),
    "tool_output_missing": (400,),
    "duplicate_tool_output": (400,),
    "model_not_found": (400, 404),
    "invalid_api_key": (401,),
    "rate_limit_exceeded": (429,),
    "insufficient_quota": (429,),
    "websocket_queue_full": (429,),
    "server_error": (500,),
    "server_is_overloaded": (503,),
}
"""The protocol's codes, and the statuses that go with them."""

AGE: Final = "websocket_connection_limit_reached"
"""The code of an error that is about the connection, and answers no request."""

_ERROR_KEYS: Final = ("type", "code", "message", "param")


def one_terminal(happened: Happened, *, complete: bool = True) -> None:
    """Every response has exactly one terminal event.

    Source: Open Responses, streaming; livekit/agents-js#1935 and maximhq/bifrost#2998 (sockets open without an end).

    Args:
        happened: what happened.
        complete: False if connections may have been cut without a trace of it: then a response may have none yet.
    """
    for wire, response in _responses(happened):
        if len(response.terminals) > 1:
            raise InvariantBroken("one_terminal", "a response has ended twice", response.terminals)
        if complete and not response.terminals and not wire.may_stop:
            raise InvariantBroken("one_terminal", "a response has no end", response.events[-3:])


def nothing_after_terminal(happened: Happened) -> None:
    """After its terminal event nothing comes of a response, but for late answers to a steer or an inject.

    Nor does anything come of a response that was never created.

    Source: Open Responses, streaming; stippi/code-assistant#200 (every answer was the one before).
    """
    for wire in _from_the_start(happened):
        for lane in wire.lanes:
            for stray in lane.strays:
                if not _is_side(stray):
                    raise InvariantBroken("nothing_after_terminal", "this belongs to no response", [stray])
            for response in lane.responses:
                _ends_with_terminal(response)


def _ends_with_terminal(response: Response) -> None:
    if not response.terminals:
        return
    end = response.terminals[0]
    for entry in response.events[response.events.index(end) + 1 :]:
        if not _is_side(entry):
            raise InvariantBroken("nothing_after_terminal", "the response had ended", [end, entry])


def contiguous_numbers(happened: Happened) -> None:
    """The events of a response are numbered from 0, without a gap.

    Source: OpenAI, background mode guide (``starting_after``); cloudflare/agents#1951 (events repeated).
    """
    for _, response in _responses(happened):
        expected = 0
        for entry in response.events:
            number = entry.event.get("sequence_number")
            if number is None and (entry.type == "error" or _is_side(entry)):
                continue
            if number != expected and _is_aside(entry, response):
                continue
            if number != expected or isinstance(number, bool):
                message = f"{number!r} where {expected} comes next"
                raise InvariantBroken("contiguous_numbers", message, response.events[max(0, expected - 1) :][:2])
            expected += 1


def echoes_lane(happened: Happened) -> None:
    """Every event has the ``stream_id`` of a request that was sent before it, or none where that had none.

    Source: OpenAI, WebSocket mode guide, multiplexing; bolna-ai/bolna#1012 (events of another request).
    """
    for wire in _from_the_start(happened):
        asked: set[object] = set()
        recorded = any(entry.who == "client" for entry in wire.messages)
        for entry in wire.messages:
            lane = entry.event.get("stream_id")
            if entry.who == "client":
                asked.add(lane if isinstance(lane, str) else None)
                continue
            if "stream_id" in entry.event and not isinstance(lane, str):
                raise InvariantBroken("echoes_lane", "stream_id is a string or absent", [entry])
            if recorded and lane not in asked and not (lane is None and _is_of_none(entry)):
                raise InvariantBroken("echoes_lane", f"nobody has asked on lane {lane!r}", [entry])


def _is_of_none(entry: Entry) -> bool:
    """It may belong to the connection instead of a lane."""
    return entry.type == "error" or _is_side(entry)


def lane_fifo(happened: Happened) -> None:
    """On a lane one response runs at a time, none without a request, and in the order of the requests.

    A request may be refused out of turn. Which request a response answers is told by what it repeats of it:
    ``previous_response_id``, ``instructions`` and ``metadata``, as far as both have them, and ``model`` where it is one
    that was asked for.

    Source: OpenAI, WebSocket mode guide, multiplexing; Soju06/codex-lb#2100 (successors mistaken for answers).
    """
    for wire in _from_the_start(happened):
        for lane in wire.lanes:
            _one_at_a_time(lane)
            if lane.requests:
                _answered_in_order(lane, spare=_other_messages(wire))


def _one_at_a_time(lane: Lane) -> None:
    for before, after in zip(lane.responses, lane.responses[1:], strict=False):
        if not before.terminals:
            raise InvariantBroken("lane_fifo", "two responses run on one lane", [before.events[0], after.events[0]])


def _other_messages(wire: Wire) -> int:
    """Messages that are no requests, and may be answered with an error all the same."""
    return sum(entry.who == "client" and entry.type not in (CREATE, "response.steer") for entry in wire.messages)


def _answered_in_order(lane: Lane, *, spare: int) -> None:
    waiting: list[Entry] = []
    unanswered = without_response = 0
    for entry in lane.order:
        if entry.who == "client":
            waiting.append(entry)
            unanswered += 1
            without_response += 1
            continue
        unanswered -= _code(entry) != AGE
        without_response -= entry.type != "error"
        if unanswered + spare < 0 or without_response < 0:
            raise InvariantBroken("lane_fifo", "there are more answers than requests", [*lane.requests, entry])
        if entry.type == "error":
            continue
        if take_steers(entry, waiting) and not asked_for(entry, waiting):
            continue
        while waiting and not answers(entry, waiting[0], waiting):
            waiting.pop(0)
        if not waiting:
            raise InvariantBroken("lane_fifo", "this answers none of the requests that wait", [*lane.requests, entry])
        waiting.pop(0)


def _code(entry: Entry) -> object:
    error = entry.event.get("error")
    return error.get("code") if isinstance(error, Mapping) else None


def legal_order(happened: Happened, *, complete: bool = True) -> None:
    """What the server sends is legal, by the tables of `agentwire.protocol.order`.

    Source: OpenAI's event types, and Open Responses, streaming; the tables are in the protocol reference.

    Args:
        happened: what happened.
        complete: False if connections may have been cut without a trace of it.
    """
    for wire in _from_the_start(happened):
        checker = Checker(lanes=wire.transport == "websocket")
        last: list[Entry] = []
        try:
            for entry in wire.messages:
                if entry.who == "server":
                    last = [*last[-2:], entry]
                    checker.feed(entry.event)
            if complete and not wire.may_stop:
                checker.finish()
        except GrammarError as error:
            raise InvariantBroken("legal_order", str(error), last) from error


def deltas_match_done(happened: Happened) -> None:
    """What came in pieces is what the ``done`` event repeats.

    Source: Open Responses, streaming.
    """
    for _, response in _responses(happened):
        written: dict[tuple[Any, ...], str] = {}
        for entry in response.events:
            stem, _, kind = entry.type.rpartition(".")
            if f"{stem}.done" not in DONE_TEXT:
                continue
            where = (stem, *(str(entry.event.get(f"{part}_index")) for part in ("output", "content", "summary")))
            if kind == "delta":
                written[where] = written.get(where, "") + str(entry.event.get("delta"))
            else:
                pieces, whole = written.pop(where, ""), entry.event.get(DONE_TEXT[entry.type])
                if pieces and pieces != whole:
                    raise InvariantBroken("deltas_match_done", f"the pieces say {pieces!r}", [entry])


def exact_codes(happened: Happened) -> None:
    """Every error has a status, a code and all its members; a known code has the status that the protocol gives it.

    In an event stream over HTTP an error needs no status. What failed says why in words: errors, failed responses,
    and what is handed back.

    Source: OpenAI, WebSocket mode guide, errors; Soju06/codex-lb#1529 (codes renamed on the way).
    """
    for wire in wires(happened):
        for entry in wire.messages:
            if entry.who == "server" and entry.type == "error":
                _judge_error(entry, entry.event.get("error"), entry.event.get("status"), wire.transport)
            elif entry.who == "server" and entry.type.endswith(".failed"):
                _judge_failure(entry)
        if (body := wire.body) is not None and body[1] >= 400:
            entry, status = body
            _judge_error(entry, entry.event["body"].get("error"), status, "json")


def _judge_failure(entry: Entry) -> None:
    response = entry.event.get("response")
    error = (response if isinstance(response, Mapping) else entry.event).get("error")
    if isinstance(error, Mapping) and not all(_is_said(error.get(name)) for name in ("code", "message")):
        raise InvariantBroken("exact_codes", "what failed has a code, and says why", [entry])


def _is_said(text: object) -> bool:
    return isinstance(text, str) and bool(text)


def _judge_error(entry: Entry, error: object, status: object, transport: str) -> None:
    if not isinstance(error, Mapping) or any(key not in error for key in _ERROR_KEYS):
        raise InvariantBroken("exact_codes", f"an error has the members {', '.join(_ERROR_KEYS)}", [entry])
    if not _is_said(error["message"]):
        raise InvariantBroken("exact_codes", "an error says what was wrong", [entry])
    code = error["code"]
    if transport == "sse" and status is None:
        return
    if not isinstance(code, str) or not code or not isinstance(status, int):
        raise InvariantBroken("exact_codes", "an error has a status and a code", [entry])
    if status not in CODES.get(code, (status,)):
        expected = " or ".join(map(str, CODES[code]))
        raise InvariantBroken("exact_codes", f"{code} goes with status {expected}", [entry])


def _from_the_start(happened: Happened) -> list[Wire]:
    """What begins in the middle of a response cannot be judged by its beginning."""
    return [wire for wire in wires(happened) if not wire.partial]


def _responses(happened: Happened) -> Iterator[tuple[Wire, Response]]:
    for wire in _from_the_start(happened):
        for response in wire.responses:
            yield wire, response


def _is_side(entry: Entry) -> bool:
    """An event of the connection, an extension or a late answer: it need not belong to a response that is here."""
    return entry.type in SIDE_EVENTS or entry.type in LATE_EVENTS or ":" in entry.type


def _is_aside(entry: Entry, response: Response) -> bool:
    """A late answer that is about another response than this one, or comes after its end: it is not counted with it."""
    if entry.type not in LATE_EVENTS:
        return False
    steer = entry.event.get("steer")
    about = steer.get("previous_response_id") if isinstance(steer, Mapping) else entry.event.get("response_id")
    begun = response.events[0].event.get("response")
    ended = response.terminals and response.events.index(entry) > response.events.index(response.terminals[0])
    return bool(ended) or not isinstance(begun, Mapping) or about != begun.get("id")
