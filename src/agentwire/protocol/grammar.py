"""Checks that a stream of events is legal, event by event, against the tables of `order`.

One checker follows one response, or with ``lanes=True`` everything that one connection sends. It is meant for tests and
for watching servers: it believes nothing, and a broken stream is a `GrammarError` that names the rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from agentwire.protocol.checks import shorten
from agentwire.protocol.errors import RemoteProtocolError
from agentwire.protocol.order import (
    DONE_TEXT,
    ITEM,
    ITEM_EVENTS,
    LATE,
    LATE_EVENTS,
    LIFECYCLE,
    NEEDS_FLOW,
    PART_TEXT,
    SIDE,
    SIDE_EVENTS,
    STATUS,
    Flow,
    flows_for,
    label,
)

__all__ = ["Checker", "GrammarError", "ItemChecker"]

ADDED: Final = "response.output_item.added"
DONE: Final = "response.output_item.done"
OVER: Final = frozenset(("start", "ended", "refused"))
NO_ITEM_ID: Final = "response.shell_call_command."


class GrammarError(RemoteProtocolError):
    """A stream of events broke a rule.

    Args:
        rule: the rule's name, a key of `agentwire.protocol.order.RULES`.
        message: what was wrong.
    """

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(f"{rule}: {message}")
        self.rule = rule
        self.message = message


class Checker:
    """Follows a stream of server events.

    Args:
        lanes: follow a whole connection: lanes side by side, response after response in each. Without, one response.
    """

    def __init__(self, *, lanes: bool = False) -> None:
        self._lanes = lanes
        self._streams: dict[str | None, _Stream] = {}

    def feed(self, event: Mapping[str, Any]) -> None:
        """Take the next event.

        Raises:
            GrammarError: it is not legal here. The checker is of no use afterwards.
        """
        kind = _text(event, "type")
        lane = event.get("stream_id")
        if lane is not None and not isinstance(lane, str):
            raise GrammarError("shape", f"stream_id must be a string or absent, and is {shorten(lane)}")
        group = _group(kind)
        if group in (SIDE, LATE) and event.get("sequence_number") is None:
            return  # of the connection, or about no response here
        stream = self._stream(lane)
        if self._lanes and (_is_refusal(kind, event, stream) or _is_aside(group, event, stream)):
            return
        if self._lanes and stream.state == "ended" and kind == "response.created":
            stream = self._streams[lane] = _Stream()
        stream.feed(kind, group, event)

    def _stream(self, lane: str | None) -> _Stream:
        if not self._lanes and self._streams and lane not in self._streams:
            (known,) = self._streams
            raise GrammarError("lane", f"stream_id was {known!r} and is now {shorten(lane)}")
        return self._streams.setdefault(lane, _Stream())

    def finish(self) -> None:
        """The stream is over.

        Raises:
            GrammarError: a response has no terminal event, or there was none at all.
        """
        for lane, stream in self._streams.items():
            if stream.state not in OVER or (stream.state == "start" and not self._lanes):
                raise GrammarError("unfinished", f"the response on lane {lane!r} is {stream.state}, without an end")
        if not self._lanes and not self._streams:
            raise GrammarError("unfinished", "there was no event")


def _is_refusal(kind: str, event: Mapping[str, Any], stream: _Stream) -> bool:
    """Whether an error tells of another request than the lane's running one, which is left alone then."""
    return kind == "error" and (stream.state in OVER or event.get("sequence_number") != stream.expected)


def _is_aside(group: str, event: Mapping[str, Any], stream: _Stream) -> bool:
    """Whether an answer to a steer or an inject is about another response than the lane's, and not counted with it."""
    if group is not LATE or (event.get("sequence_number") == stream.expected and stream.state != "start"):
        return False
    steer = event.get("steer")
    about = steer.get("previous_response_id") if isinstance(steer, Mapping) else event.get("response_id")
    return stream.state in OVER or about != stream.response_id


def _group(kind: str) -> str:
    """What an event is called in `LIFECYCLE`."""
    if kind in STATUS or kind == "error":
        return kind
    if kind in ITEM_EVENTS or kind in (ADDED, DONE):
        return ITEM
    if kind in LATE_EVENTS:
        return LATE
    if kind in SIDE_EVENTS or ":" in kind:
        return SIDE
    raise GrammarError("unknown", f"no event has the type {shorten(kind)}")


@attrs.define
class _Stream:
    """One response as it comes in."""

    state: str = "start"
    expected: int = 0
    response_id: str | None = None
    items: list[ItemChecker] = attrs.field(factory=list)

    def feed(self, kind: str, group: str, event: Mapping[str, Any]) -> None:
        target = LIFECYCLE[self.state].get(group)
        if target is None:
            raise GrammarError("order", f"{kind} cannot come when the response is {self.state}")
        self._number(kind, event)
        self.state = target
        if kind in STATUS:
            self._lifecycle(kind, event)
        elif kind == ADDED:
            self._add(event)
        elif group == ITEM:
            self._item(event, kind).feed(kind, event)

    def _number(self, kind: str, event: Mapping[str, Any]) -> None:
        number = event.get("sequence_number")
        if kind == "error" and number is None:
            return  # optional there
        if number != self.expected or isinstance(number, bool):
            raise GrammarError("sequence", f"{kind} has {shorten(number)} where {self.expected} comes next")
        self.expected += 1

    def _lifecycle(self, kind: str, event: Mapping[str, Any]) -> None:
        response = _object(event, "response")
        identity, status = _text(response, "id"), response.get("status")
        if not isinstance(status, str) or status not in STATUS[kind]:
            raise GrammarError("status", f"{kind} has a response with status {shorten(status)}")
        if self.response_id not in (None, identity):
            raise GrammarError("identity", f"the response was {self.response_id} and is now {shorten(identity)}")
        self.response_id = identity
        if kind == "response.created" and response.get("output"):
            raise GrammarError("content", "a response begins without output")
        if kind in ("response.completed", "response.incomplete"):
            self._end(kind, response)

    def _end(self, kind: str, response: Mapping[str, Any]) -> None:
        for index, item in enumerate(self.items):
            if item.final is None:
                raise GrammarError("unfinished", f"{kind} came before item {index} was done")
            cut = item.final.get("status") == "incomplete"
            if cut and (kind == "response.completed" or index < len(self.items) - 1):
                raise GrammarError("status", f"item {index} is incomplete, but not the last of an incomplete response")
        if response.get("output") != [item.final for item in self.items]:
            raise GrammarError("content", f"the output of {kind} is not the items that were done")

    def _add(self, event: Mapping[str, Any]) -> None:
        index, item = _index(event, "output_index"), _object(event, "item")
        if index != len(self.items):
            raise GrammarError("index", f"an item is added at {index} where {len(self.items)} comes next")
        self.items.append(ItemChecker.begin(item))

    def _item(self, event: Mapping[str, Any], kind: str) -> ItemChecker:
        index = _index(event, "output_index")
        if index >= len(self.items):
            raise GrammarError("index", f"{kind} is about item {index}, which was not added")
        return self.items[index]


_BEGINS_EMPTY: Final = {"message": "content", "function_call": "arguments", "custom_tool_call": "input"}
"""Items of which `added` shows nothing yet, and where what is to come will stand."""


@attrs.define
class _Thread:
    """One flow of one item on its way."""

    flow: Flow
    state: str = "new"
    part: str | None = None
    pieces: list[str] = attrs.field(factory=list)
    annotations: int = 0


@attrs.define
class ItemChecker:
    """Follows one item.

    Attributes:
        kind: its type.
        id: its id.
        threads: how far each part of it is.
        final: how it ended.
    """

    kind: str
    id: str
    threads: dict[tuple[str | None, int], _Thread] = attrs.field(factory=dict)
    final: Mapping[str, Any] | None = None
    _counts: dict[str | None, int] = attrs.field(factory=dict, init=False, repr=False)  # of threads, by their index
    _unfinished: set[int] = attrs.field(factory=set, init=False, repr=False)  # which of them may not end here

    @classmethod
    def begin(cls, item: Mapping[str, Any]) -> ItemChecker:
        """A checker for an item that is added like this.

        Raises:
            GrammarError: no item begins like this.
        """
        kind, id_ = _text(item, "type"), _text(item, "id")
        empty = _BEGINS_EMPTY.get(kind)
        if empty is not None and item.get(empty):
            raise GrammarError("content", f"{id_} is added with {empty} already in it")
        if empty is not None and item.get("status") != "in_progress":
            raise GrammarError("status", f"{id_} is added with status {shorten(item.get('status'))}")
        return cls(kind, id_)

    def said(self) -> dict[str, Any]:
        """The text that its events have told so far, as the members of the item in which it will stand."""
        return {
            member: [_part_of(*part) for part in value if part[0] is not None] if isinstance(value, list) else value
            for member, value in self._texts().items()
        }

    def feed(self, kind: str, event: Mapping[str, Any]) -> None:
        """Take the next event of the item, its end too.

        Raises:
            GrammarError: it is not legal here. The checker is of no use afterwards.
        """
        if self.final is not None:
            raise GrammarError("order", f"{kind} comes after {self.id} is done")
        if kind == DONE:
            self._done(_object(event, "item"))
            return
        if event.get("item_id") != self.id and not kind.startswith(NO_ITEM_ID):
            raise GrammarError("identity", f"{kind} has item_id {shorten(event.get('item_id'))} in {self.id}")
        self._move(kind, event)

    def pieces(self, kind: str, event: Mapping[str, Any]) -> list[str]:
        """Take a delta; each string that is added to this list, before the next event, is one more delta like it.

        Raises:
            GrammarError: it is not legal here.
        """
        return self._move(kind, event).pieces

    def _move(self, kind: str, event: Mapping[str, Any]) -> _Thread:
        part = _object(event, "part") if kind.partition("_part.")[1] else None
        name = label(kind, _text(part, "type") if part is not None else None)
        thread = self._thread(name, event)
        target = thread.flow.moves.get(thread.state, {}).get(name)
        if target is None:
            raise GrammarError("order", f"{name} cannot come when its part of {self.id} is {thread.state}")
        thread.state = target
        (self._unfinished.discard if target in thread.flow.ends else self._unfinished.add)(id(thread))
        _check_text(thread, kind, event, part)
        return thread

    def _thread(self, name: str, event: Mapping[str, Any]) -> _Thread:
        """The thread that an event is about; a new one if it is the next by its index and begins a flow."""
        flows = flows_for(self.kind, name)
        if not flows:
            raise GrammarError("order", f"{name} cannot come in an item of type {self.kind}")
        member = flows[0].index
        index = _index(event, member) if member is not None else 0
        known = self.threads.get((member, index))
        if known is not None and known.flow not in flows:
            known = self._alternative(known, flows)
        if known is None:
            count = self._counts.get(member, 0)
            if index != count:
                raise GrammarError("index", f"{name} is about {member} {index} where {count} comes next")
            if self._unfinished:
                raise GrammarError("order", f"{name} comes before another part of {self.id} is done")
            known = self.threads[member, index] = _Thread(flows[0])
            self._counts[member] = count + 1
        return known

    def _alternative(self, thread: _Thread, flows: tuple[Flow, ...]) -> _Thread:
        """Flows that begin alike are told apart by a later event, as long as nothing else has come."""
        if thread.state != "open" or thread.pieces or flows[0].moves["new"] != thread.flow.moves["new"]:
            raise GrammarError("order", f"two kinds of content are mixed in one part of {self.id}")
        thread.flow = flows[0]
        return thread

    def _done(self, item: Mapping[str, Any]) -> None:
        if item.get("id") != self.id or item.get("type") != self.kind:
            raise GrammarError("identity", f"{self.id} was added, and {shorten(item.get('id'))} is done")
        self.final = item
        if item.get("status") == "incomplete":
            return
        if self.kind in NEEDS_FLOW and not self.threads:
            raise GrammarError("unfinished", f"{self.id} is done, but not its content")
        for thread in self.threads.values():
            if thread.state not in thread.flow.ends:
                raise GrammarError("unfinished", f"{self.id} is done while its content is {thread.state}")
        for member, texts in self._texts().items():
            if _told(item.get(member)) != texts:
                raise GrammarError("content", f"{self.id} is done with other {member} than its events said")

    def _texts(self) -> dict[str, Any]:
        """What the finished item must say, by member."""
        said: dict[str, Any] = {}
        for (space, _), thread in sorted(self.threads.items(), key=lambda entry: entry[0][1]):
            text = "".join(thread.pieces)
            if space is None and self.kind in _WHOLE_TEXT:
                said[_WHOLE_TEXT[self.kind]] = text
            elif space in _LISTS:
                said.setdefault(_LISTS[space], []).append((thread.part, text))
        return said


_LISTS: Final = {"content_index": "content", "summary_index": "summary"}
_WHOLE_TEXT: Final = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "mcp_call": "arguments",
    "code_interpreter_call": "code",
}


def _part_of(kind: str, text: str) -> dict[str, Any]:
    part = {"type": kind, PART_TEXT[kind]: text}
    return {**part, "annotations": [], "logprobs": []} if kind == "output_text" else part


def _told(value: Any) -> Any:
    """A member of a finished item as `ItemChecker._texts` has it: parts of types that have no events do not count."""
    if not isinstance(value, list):
        return value
    parts = [(str(part.get("type")), part) for part in value if isinstance(part, Mapping)]
    return [(kind, part.get(PART_TEXT[kind])) for kind, part in parts if kind in PART_TEXT]


def _check_text(thread: _Thread, kind: str, event: Mapping[str, Any], part: Mapping[str, Any] | None) -> None:
    """Collect deltas, and compare them with what later events repeat."""
    if part is not None:
        thread.part = _text(part, "type")
        if part.get(PART_TEXT[thread.part]) != "".join(thread.pieces):
            raise GrammarError("content", f"{kind} has another text than its deltas")
    elif kind in DONE_TEXT:
        whole = _text(event, DONE_TEXT[kind], empty=True)
        if whole != "".join(thread.pieces):
            raise GrammarError("content", f"{kind} has another text than its deltas")
    elif kind.endswith(".delta") and isinstance(event.get("delta"), str):
        thread.pieces.append(event["delta"])
    elif kind.endswith(".annotation.added"):
        if _index(event, "annotation_index") != thread.annotations:
            raise GrammarError("index", f"an annotation is added out of turn, {thread.annotations} comes next")
        thread.annotations += 1


# Members


def _text(event: Mapping[str, Any], name: str, *, empty: bool = False) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not (value or empty):
        raise GrammarError("shape", f"{name} must be a string, and is {shorten(value)}")
    return value


def _index(event: Mapping[str, Any], name: str) -> int:
    value = event.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise GrammarError("shape", f"{name} must be a whole number, and is {shorten(value)}")
    return value


def _object(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = event.get(name)
    if not isinstance(value, Mapping):
        raise GrammarError("shape", f"{name} must be an object, and is {shorten(value)}")
    return value
