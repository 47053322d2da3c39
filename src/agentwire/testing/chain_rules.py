"""What is true of conversations over many turns: nobody's history is lost, mixed up, or shown to somebody else.

The rules follow ``previous_response_id`` over all connections of a record; what it does not say, they leave alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from agentwire.protocol.hello import CANCELLED
from agentwire.testing.chains import Chains
from agentwire.testing.entry import Entry, InvariantBroken
from agentwire.testing.journal import Happened, entries
from agentwire.testing.lanes import Response
from agentwire.testing.trace_entries import HTTP_REQUEST, HTTP_RESPONSE
from agentwire.testing.turns import Item, Turn, turns
from agentwire.testing.wires import Wire, wires

__all__ = ["evicted_after_failure", "history_equivalence", "outputs_answer_calls", "tenant_isolation"]

_SETTINGS: Final = (
    "generate",
    "instructions",
    "tools",
    "model",
    "tool_choice",
    "reasoning",
    "text",
    "max_output_tokens",
)
_NOT_STARTED: Final = (
    "previous_response_not_found",
    "invalid_stream_id",
    "websocket_stream_limit_reached",
    "websocket_connection_limit_reached",
    "websocket_queue_full",
    "invalid_json",
    "unknown_event_type",
    "server_is_draining",
)
"""Codes of requests that never reached their lane, so that nothing is evicted."""


def history_equivalence(happened: Happened) -> None:
    """The model is shown the same, however a conversation is told: over a WebSocket, over HTTP, or in full each time.

    What it was shown, if `Journal.saw` has noted it (as a `Rig` does), is the input and the output of
    every turn of the chain, in order. And wherever the same context was asked for with the same settings, the same
    number of input tokens was counted.

    Source: Open Responses, the context of a continuation; router-for-me/CLIProxyAPI#5420 (a warm-up's tools lost).
    """
    chains = Chains.of(happened)
    for entry in entries(happened):
        if entry.type == "model.saw" and not entry.event.get("step"):
            turn = chains.get(entry.event.get("response_id"))
            if turn is not None:
                _shown(chains, turn, entry)
    _counted(chains)


def _shown(chains: Chains, turn: Turn, entry: Entry) -> None:
    expected = chains.context(turn)
    if expected is None:
        return
    shown = chains.shown(entry.event["items"])
    first = len(expected)
    if shown[:first] == expected and _put_in_front(shown[first:], chains.output(turn)):
        return
    place = next(
        (place for place, (one, other) in enumerate(zip(shown, expected, strict=False)) if one != other),
        min(len(shown), len(expected)),
    )
    missing = _at(expected, place)
    message = f"the model of {turn.id} was shown {_at(shown, place)} as item {place}, where the chain has {missing}"
    asked = [] if turn.request is None else [turn.request]
    raise InvariantBroken("history_equivalence", message, [*asked, entry])


def _put_in_front(items: Sequence[Item], made: Sequence[Item] | None) -> bool:
    """Whether the server has put these into the response before it asked its model: a list of tools, approved calls."""
    if made is None:
        return all(str(item.get("type")).startswith("mcp_") for item in items)
    return list(items) == list(made[: len(items)])


def _at(items: Sequence[Item], place: int) -> str:
    text = json.dumps(items[place], ensure_ascii=False) if place < len(items) else "nothing"
    return text if len(text) <= 200 else f"{text[:197]}..."


def _counted(chains: Chains) -> None:
    known: dict[tuple[bytes, str], tuple[int, Entry]] = {}
    for turn in chains.turns:
        tokens = _input_tokens(turn)
        if tokens is None or turn.request is None or turn.end is None:
            continue
        if turn.request.event.get("generate") is False:  # counted without the model
            continue
        context = chains.digest(turn)
        if context is None:
            continue
        settings = json.dumps({name: turn.request.event.get(name) for name in _SETTINGS}, sort_keys=True, default=str)
        count, first = known.setdefault((context, settings), (tokens, turn.end))
        if count != tokens:
            message = f"the same context was counted as {count} and as {tokens} input tokens"
            raise InvariantBroken("history_equivalence", message, [first, turn.end])


def _input_tokens(turn: Turn) -> int | None:
    """As told at the end of a turn of one step: where a server runs tools, the model is asked several times."""
    body = turn.end.event.get("response") if turn.end is not None else None
    usage = body.get("usage") if isinstance(body, Mapping) else None
    if turn.output is None or any(str(item.get("type")).startswith("mcp_") for item in turn.output):
        return None
    count = usage.get("input_tokens") if isinstance(usage, Mapping) else None
    return count if isinstance(count, int) and count > 0 else None


def tenant_isolation(happened: Happened) -> None:
    """What one key's requests have made can be continued, read or deleted with no other key.

    Keys are told apart by the headers of handshakes and requests; a recording has labels for them.

    Source: BerriAI/litellm#39559 and pleaseai/shunt#39 (sockets and stores shared between tenants).
    """
    owners: dict[str, tuple[str | None, Entry]] = {}
    found = Chains.of(happened).turns
    for turn in found:
        if turn.id is not None and turn.response is not None:
            first = turn.response.events[0]
            owner, made = owners.setdefault(turn.id, (turn.wire.principal, first))
            if owner != turn.wire.principal:
                raise InvariantBroken("tenant_isolation", f"{turn.id} was told to another key, too", [made, first])
    for turn in found:
        if turn.response is None or turn.parent not in owners:
            continue
        owner, made = owners[turn.parent]
        if owner != turn.wire.principal:
            message = f"{turn.wire.principal} continued what belongs to {owner}"
            raise InvariantBroken("tenant_isolation", message, [made, turn.response.events[0]])
    _only_owners_reach(entries(happened), owners)


def _only_owners_reach(told: Sequence[Entry], owners: Mapping[str, tuple[str | None, Entry]]) -> None:
    requests: dict[tuple[int, int | None], Entry] = {}
    for entry in told:
        where = (entry.connection, entry.exchange)
        if entry.type == HTTP_REQUEST:
            requests[where] = entry
        elif entry.type == HTTP_RESPONSE and where in requests and entry.event["status"] < 400:
            asked = requests[where]
            for part in urlsplit(str(asked.event.get("target"))).path.split("/"):
                owner, made = owners.get(part, (asked.event.get("principal"), entry))
                if owner != asked.event.get("principal"):
                    message = f"{asked.event.get('principal')} reached what belongs to {owner}"
                    raise InvariantBroken("tenant_isolation", message, [made, asked, entry])


def evicted_after_failure(happened: Happened) -> None:
    """A continuation that fails takes what it continued with it: it cannot be continued on that connection any more.

    It is judged where nothing is stored (``store: false``), and where the failed turn was on the lane of what it
    continued, whose latest response that was. A cancelled turn, and one that was refused before it reached its lane,
    evict nothing.

    Source: OpenAI, WebSocket mode guide, errors; Open Responses, failed continuations.
    """
    for wire in wires(happened):
        if wire.transport == "websocket":
            _evicts(wire)


def _evicts(wire: Wire) -> None:
    places = {id(entry): place for place, entry in enumerate(wire.messages)}
    found = turns(wire)
    made = {turn.id: turn for turn in found if turn.id is not None}
    for failed in found:
        parent, failure = made.get(failed.parent or ""), _failure(failed)
        if failure is None or parent is None or not _evictable(failed, parent, found, places):
            continue
        for later in found:
            if later.request is None or later.parent != failed.parent or later.response is None:
                continue
            if places[id(later.request)] > places[id(failure)]:
                evidence = [failure, later.request, later.response.events[0]]
                raise InvariantBroken("evicted_after_failure", f"{failed.parent} was continued all the same", evidence)


def _failure(turn: Turn) -> Entry | None:
    """What told of the failure of a turn, if it failed in a way that evicts."""
    if turn.request is None:
        return None
    if turn.refusal is not None:
        error: Any = turn.refusal.event.get("error")
        code = error.get("code") if isinstance(error, Mapping) else None
        return None if code in _NOT_STARTED else turn.refusal
    if turn.end is None or turn.end.type != "response.failed":
        return None
    body: Any = turn.end.event.get("response")
    failed = body.get("error") if isinstance(body, Mapping) else None
    return None if isinstance(failed, Mapping) and failed.get("code") == CANCELLED else turn.end


def _evictable(failed: Turn, parent: Turn, found: Sequence[Turn], places: Mapping[int, int]) -> bool:
    """The parent is stored nowhere, and was the latest response of the lane on which the turn failed."""
    if parent.lane != failed.lane or parent.request is None or parent.request.event.get("store") is not False:
        return False
    assert failed.request is not None
    before = [
        turn
        for turn in found
        if turn.lane == failed.lane and turn.output is not None and _comes_before(turn, failed, places)
    ]
    return bool(before) and before[-1] is parent


def _comes_before(turn: Turn, failed: Turn, places: Mapping[int, int]) -> bool:
    failure = failed.refusal or failed.end
    return failure is not None and turn.end is not None and places[id(turn.end)] < places[id(failure)]


def outputs_answer_calls(happened: Happened) -> None:
    """A request is taken only if each tool output in it answers a call of its chain, and answers it once.

    Source: Open Responses, failed continuations; Wei-Shaw/sub2api#2139 and openclaw/openclaw#4204 (orphan outputs).
    """
    chains = Chains.of(happened)
    for turn in chains.turns:
        if turn.response is not None and turn.request is not None:
            _answers_calls(chains, turn, turn.request, turn.response)


def _answers_calls(chains: Chains, turn: Turn, request: Entry, response: Response) -> None:
    given = request.event.get("input")
    if not isinstance(given, list) or not any(_is_output(item) for item in given):
        return
    context = chains.context(turn)
    if context is None:
        return
    open_: set[str] = set()
    answered: set[str] = set()
    for kind, call_id in _calls(context):
        if not kind.endswith("_output"):
            open_.add(call_id)
        elif call_id in answered or call_id not in open_:
            wrong = "answered twice" if call_id in answered else "no call of this conversation"
            raise InvariantBroken("outputs_answer_calls", f"{call_id!r} is {wrong}", [request, response.events[0]])
        else:
            answered.add(call_id)


def _is_output(item: object) -> bool:
    return isinstance(item, Mapping) and str(item.get("type")).endswith("_output")


def _calls(items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    for item in items:
        kind, call_id = str(item.get("type")), item.get("call_id")
        if isinstance(call_id, str) and kind.endswith(("_call", "_call_output")):
            yield kind, call_id
