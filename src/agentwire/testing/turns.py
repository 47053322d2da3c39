"""Which request a response answers, and what the model has to be shown for it: the whole chain before it.

What cannot be told for sure, such as which of two waiting requests was refused, is left out rather than guessed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from agentwire.protocol import items as protocol
from agentwire.protocol.codec import decode_item, encode_item
from agentwire.protocol.errors import AgentwireError
from agentwire.testing.entry import Entry
from agentwire.testing.exchanges import Lane, Response
from agentwire.testing.journal import Happened
from agentwire.testing.retelling import CREATE
from agentwire.testing.wires import Story, Wire

__all__ = ["Chains", "Turn", "answers", "follows_steers", "normal", "turns"]

Item = Mapping[str, Any]


@attrs.define(eq=False)
class Turn:
    """A request and what became of it.

    Attributes:
        wire: where it went by.
        lane: its ``stream_id``.
        request: the client's; None for the successor of a steered response.
        steers: what it takes up of what was said meanwhile.
        response: what was made for it; None if it was refused or has no answer.
        refusal: the error that refused it.
    """

    wire: Wire
    lane: object
    request: Entry | None = None
    steers: Sequence[Entry] = ()
    response: Response | None = None
    refusal: Entry | None = None

    @property
    def id(self) -> str | None:
        """The id of its response."""
        found = self._member("id")
        return found if isinstance(found, str) else None

    @property
    def parent(self) -> str | None:
        """The id of the response that it continues, as asked for or as told."""
        asked = self.request.event.get("previous_response_id") if self.request is not None else None
        found = asked or self._member("previous_response_id")
        return found if isinstance(found, str) else None

    @property
    def end(self) -> Entry | None:
        """Its terminal event."""
        return self.response.terminals[0] if self.response is not None and self.response.terminals else None

    @property
    def output(self) -> list[Item] | None:
        """The items that came of it, if it ended in a way that can be continued."""
        if self.end is None or self.end.type == "response.failed":
            return None
        body = self.end.event.get("response")
        output = body.get("output") if isinstance(body, Mapping) else None
        whole = isinstance(output, list) and all(isinstance(item, Mapping) for item in output)
        return output if whole else None

    def _member(self, name: str) -> Any:
        body = self.response.events[0].event.get("response") if self.response is not None else None
        return body.get(name) if isinstance(body, Mapping) else None


def follows_steers(created: Entry, waiting: list[Entry]) -> list[Entry]:
    """The steers that a response takes up, if nobody asked for it but by them.

    They are taken from what waits, whoever continues the response that they name.
    """
    response = created.event.get("response")
    parent = response.get("previous_response_id") if isinstance(response, Mapping) else None
    continuing = [request for request in waiting if request.event.get("previous_response_id") == parent]
    steers = [request for request in continuing if request.type == "response.steer"]
    for steer in steers:
        waiting.remove(steer)
    return steers if len(steers) == len(continuing) else []


def answers(created: Entry, request: Entry, waiting: Sequence[Entry] = ()) -> bool:
    """Whether a response may be the one that was asked for, by what it repeats of the request.

    A server may give a model another name; one that somebody else who waits has asked for tells the two apart.
    """
    response = created.event.get("response")
    if request.type != CREATE or not isinstance(response, Mapping):
        return True  # a steer is answered by a response that it did not describe
    members = ["previous_response_id", "instructions", "metadata"]
    if any(other.event.get("model") == response.get("model") for other in waiting):
        members.append("model")
    return all(
        response[key] == request.event[key]
        for key in members
        if request.event.get(key) is not None and response.get(key) is not None
    )


def turns(wire: Wire) -> list[Turn]:
    """The turns of a conversation, lane by lane, in the order of their answers; then those without one."""
    if wire.partial:
        return []
    if wire.body is not None:
        return _posted(wire)
    return [turn for lane in wire.lanes for turn in _of_lane(wire, lane)]


def _posted(wire: Wire) -> list[Turn]:
    """A request that was answered with one JSON document."""
    assert wire.body is not None
    (entry, status), request = wire.body, next(iter(wire.messages), None)
    body = entry.event["body"]
    if status >= 400 or ("error" in body and "output" not in body):
        return [Turn(wire, None, request, refusal=entry)]
    kind = f"response.{body.get('status')}"
    told = attrs.evolve(entry, event={"type": kind, "response": body})
    response = Response()
    response.add(told)
    return [Turn(wire, None, request, response=response)]


def _of_lane(wire: Wire, lane: Lane) -> Iterator[Turn]:
    waiting: list[Entry] = []
    begun = iter(lane.responses)
    handed_back = _handed_back(lane)
    for entry in lane.order:
        if entry.who == "client" and (back := _steer(entry.event)) in handed_back:
            handed_back.remove(back)
        elif entry.who == "client":
            waiting.append(entry)
        elif entry.type == "error":
            if len(waiting) == 1:
                yield Turn(wire, lane.name, waiting.pop(), refusal=entry)
            elif waiting and all(request.event == waiting[0].event for request in waiting):
                yield Turn(wire, lane.name, waiting.pop(0), refusal=entry)
        else:
            yield _answered(wire, lane, entry, waiting, next(begun))
    for request in waiting:
        if request.type == CREATE:
            yield Turn(wire, lane.name, request)


def _handed_back(lane: Lane) -> list[object]:
    """The steers that nobody takes up."""
    told = [*lane.strays, *(entry for response in lane.responses for entry in response.events)]
    return [_steer(entry.event["steer"]) for entry in told if entry.type == "response.steer.failed"]


def _steer(event: Mapping[str, Any]) -> object:
    """By whom and what a steer tells; None for any other request."""
    if event.get("type") not in (None, "response.steer"):
        return None
    return [event.get("previous_response_id"), event.get("input")]


def _answered(wire: Wire, lane: Lane, created: Entry, waiting: list[Entry], response: Response) -> Turn:
    steers = follows_steers(created, waiting)
    if steers:
        return Turn(wire, lane.name, None, steers, response)
    fitting = [place for place, request in enumerate(waiting) if answers(created, request, waiting)]
    parent = Turn(wire, lane.name, response=response).parent
    best = [place for place in fitting if waiting[place].event.get("previous_response_id") == parent]
    place = next(iter(best or fitting), None)
    request = None if place is None else waiting.pop(place)
    return Turn(wire, lane.name, request, response=response)


class Chains:
    """What each response of a record continues; made by `Chains.of`, once for a story.

    Attributes:
        turns: the turns of all conversations.
    """

    def __init__(self, turns: Sequence[Turn]) -> None:
        self.turns = turns
        self._by_id = {turn.id: turn for turn in turns if turn.id is not None}
        self._given: dict[int, list[Item] | None] = {}
        self._made: dict[int, list[Item] | None] = {}
        self._digests: dict[int, Any] = {}
        self._normal: dict[int, tuple[object, Item]] = {}

    @classmethod
    def of(cls, happened: Happened) -> Chains:
        """Those of a record."""
        story = Story.of(happened)
        if not isinstance(story.memo, Chains):
            story.memo = cls([turn for wire in story.wires for turn in turns(wire)])
        return story.memo

    def get(self, response_id: object) -> Turn | None:
        """The turn that made this response."""
        return self._by_id.get(response_id) if isinstance(response_id, str) else None

    def line(self, turn: Turn) -> list[Turn] | None:
        """The turns that lead to this one, oldest first, itself included; None if one of them is not in the record."""
        line, known = [turn], {id(turn)}
        while (parent := line[-1].parent) is not None:
            before = self._by_id.get(parent)
            if before is None or id(before) in known:
                return None
            line.append(before)
            known.add(id(before))
        return line[::-1]

    def context(self, turn: Turn) -> list[Item] | None:
        """The items that the model has to be shown, as `normal` gives them; None where the record does not say."""
        items: list[Item] = []
        for one in self.line(turn) or ():
            given, made = self._given_of(one), [] if one is turn else self._made_of(one)
            if given is None or made is None:
                return None
            items += [*given, *made]
        return items or None

    def digest(self, turn: Turn) -> bytes | None:
        """The same for the same context, and for no other."""
        given = self._given_of(turn)
        before = self._digest_before(turn)
        if given is None or before is None:
            return None
        before.update(_spelt(given))
        found: bytes = before.digest()
        return found

    def _digest_before(self, turn: Turn) -> Any:
        """The digest of the context and the output of the turn that this one continues; it may be added to."""
        climbed: dict[int, Turn] = {}
        one = turn
        while one.parent is not None and id(one) not in self._digests:
            before = self._by_id.get(one.parent)
            if before is None or id(before) in climbed:
                return None
            climbed[id(before)] = one = before
        digest: Any = hashlib.sha256()
        for one in reversed(climbed.values()):
            if id(one) not in self._digests:
                self._digests[id(one)] = self._digest_after(one, digest)
            digest = self._digests[id(one)]
        return None if digest is None else digest.copy()

    def _digest_after(self, turn: Turn, before: Any) -> Any:
        given, made = self._given_of(turn), self._made_of(turn)
        if before is None or given is None or made is None:
            return None
        digest = before.copy()
        digest.update(_spelt([*given, *made]))
        return digest

    def shown(self, items: Iterable[Item | protocol.Item]) -> list[Item]:
        """Items that a model was shown, as `normal` gives them; the same object is read once."""
        found = []
        for item in items:
            known = self._normal.get(id(item))
            if known is None:
                known = self._normal[id(item)] = (item, normal(item))
            found.append(known[1])
        return found

    def _given_of(self, turn: Turn) -> list[Item] | None:
        if id(turn) not in self._given:
            self._given[id(turn)] = _input(turn)
        return self._given[id(turn)]

    def _made_of(self, turn: Turn) -> list[Item] | None:
        if id(turn) not in self._made:
            output = turn.output
            self._made[id(turn)] = None if output is None else [normal(item) for item in output]
        return self._made[id(turn)]


def _spelt(items: Sequence[Item]) -> bytes:
    return "".join(json.dumps(item, sort_keys=True, default=str) + "\n" for item in items).encode()


def _input(turn: Turn) -> list[Item] | None:
    if turn.request is None:
        parts = [_items(steer.event.get("input")) for steer in turn.steers]
        return [item for part in parts for item in part or ()] if parts and None not in parts else None
    event = turn.request.event
    if event.get("context_management") or event.get("conversation") or event.get("prompt"):
        return None
    if event.get("truncation") not in (None, "disabled"):
        return None
    return _items(event.get("input", []))


def _items(given: object) -> list[Item] | None:
    if isinstance(given, str):
        given = [{"type": "message", "role": "user", "content": given}]
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(item, Mapping) for item in given):
        return None
    unknown = ("item_reference", "compaction", "compaction_trigger")
    return None if any(item.get("type") in unknown for item in given) else [normal(item) for item in given]


def normal(item: Item | protocol.Item) -> Item:
    """An item without what may differ between two tellings of it: ids of items, statuses, short forms."""
    try:
        shown = encode_item(decode_item(dict(item)) if isinstance(item, Mapping) else item)
    except AgentwireError:
        shown = dict(item) if isinstance(item, Mapping) else {}
    content = shown.get("content")
    if isinstance(content, str) and shown.get("role"):
        kind = "output_text" if shown["role"] == "assistant" else "input_text"
        content = [{"type": kind, "text": content}]
    if isinstance(content, list):
        shown["content"] = [_part(part) for part in content]
    return {key: value for key, value in shown.items() if key not in ("id", "status") and value not in (None, [], {})}


def _part(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    return {key: value for key, value in part.items() if value not in (None, [], {}) and key != "logprobs"}
