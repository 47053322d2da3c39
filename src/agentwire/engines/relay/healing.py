"""One item of another server on its way to the client: what its events leave out is filled in.

Every event is looked up in the tables of `agentwire.protocol.order`. Where it may come, it goes on; where something is
missing before it, that is told first; where it says again what was said, it is dropped. Text may only grow: an upstream
that takes something back cannot be relayed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs
import msgspec

from agentwire.engines.relay.parts import are_told_as_one, known_parts, with_unknown_parts
from agentwire.protocol.checks import shorten
from agentwire.protocol.errors import RemoteProtocolError
from agentwire.protocol.order import DONE_TEXT, FLOWS, PART_TEXT, Flow, flows_for, label
from agentwire.runtime.contracts import Out

__all__ = ["HeardItem", "Thread", "is_same_text"]

Event = Mapping[str, Any]

WHOLE_TEXT: Final = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "mcp_call": "arguments",
    "code_interpreter_call": "code",
}
"""Items whose text is one member of them, and that member."""
_LISTS: Final = {"content_index": "content", "summary_index": "summary"}
_BEGINS_EMPTY: Final[Mapping[str, Mapping[str, Any]]] = {
    "message": {"role": "assistant", "content": []},
    "function_call": {"arguments": ""},
    "custom_tool_call": {"input": ""},
    "mcp_call": {"arguments": ""},
}
_NUMBERING: Final = frozenset(("type", "item_id", "output_index", "sequence_number", "stream_id"))
_PLAIN_DELTA: Final = frozenset((*_NUMBERING, "delta", "content_index", "summary_index", "obfuscation"))
"""Members of a delta that is nothing but its text; the padding is for one hop only."""
_NEVER_MADE_UP: Final = (".delta", ".partial_image", ".annotation.added")


@attrs.define(eq=False)
class Thread:
    """One flow of the item.

    Attributes:
        flow: its table.
        index: its number within the item, as the client sees it.
        part: the type of its part, if it is one.
        state: where in the table it is.
        pieces: the text so far.
        annotations: what was said of the text.
        logprobs: of its tokens.
    """

    flow: Flow
    index: int
    part: str | None = None
    state: str = "new"
    pieces: list[str] = attrs.field(factory=list)
    annotations: list[Any] = attrs.field(factory=list)
    logprobs: list[Any] = attrs.field(factory=list)

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.pieces)

    @property
    def over(self) -> bool:
        """Whether the item may end now, as far as this thread goes."""
        return self.state in self.flow.ends

    def way_to(self, target: str) -> tuple[str, ...] | None:
        """The events that lead to this one and it; nothing that only the upstream can know is made up on the way."""
        if target in self.flow.moves.get(self.state, {}):
            return (target,)
        return _way(self.flow, self.state, lambda event, _: event == target)

    def way_out(self, *, failed: bool) -> tuple[str, ...]:
        """The events that bring it to an end."""
        way = _way(
            self.flow, self.state, lambda event, to: to in self.flow.ends and failed == event.endswith(".failed")
        )
        return way or _way(self.flow, self.state, lambda _, to: to in self.flow.ends) or ()

    def event_for(self, suffix: str) -> str | None:
        """The event of this flow that ends like that and carries text."""
        stem = next((event for events in self.flow.moves.values() for event in events if event in DONE_TEXT), None)
        return stem.removesuffix(".done") + suffix if stem is not None else None


def _way(flow: Flow, state: str, found: Any) -> tuple[str, ...] | None:
    queue: deque[tuple[str, tuple[str, ...]]] = deque([(state, ())])
    seen = {state}
    while queue:
        at, way = queue.popleft()
        moves = flow.moves.get(at, {})
        for event, to in moves.items():
            if found(event, to):
                return (*way, event)
        for event, to in moves.items():
            if to not in seen and not event.endswith(_NEVER_MADE_UP):
                seen.add(to)
                queue.append((to, (*way, event)))
    return None


class HeardItem:
    """An item that is told as it comes.

    Args:
        out: where it goes.
        raw: what the upstream said when it began, or all there is of it.
        id_: its id here.
        hidden: members that are not for the client.

    Attributes:
        kind: its type.
        raw: what is known of it.
        out: where it goes.
    """

    def __init__(self, out: Out, raw: Mapping[str, Any], *, id_: str, hidden: Iterable[str] = ()) -> None:
        self.kind = str(raw["type"])
        self.raw = {"role": "assistant", **raw} if self.kind == "message" else dict(raw)
        self.id = id_
        self.out = out
        self._hidden = frozenset(hidden)
        self._threads: list[Thread] = []
        self._theirs: dict[tuple[str | None, int], Thread] = {}
        self._highest: dict[str | None, int] = {}  # of their numbers, in each list of parts
        self._spaces: dict[str | None, list[Thread]] = {}  # the threads of each list

    async def begin(self) -> None:
        """Tell the client that it begins."""
        shown = {name: value for name, value in self.raw.items() if name not in self._hidden}
        empty: dict[str, Any] = {name: [] for name in _LISTS.values() if isinstance(shown.get(name), list)}
        role = {"role": self.raw["role"]} if self.kind == "message" and "role" in self.raw else {}
        await self.out.open_item({**shown, **empty, **_BEGINS_EMPTY.get(self.kind, {}), **role, "id": self.id})

    @property
    def written(self) -> int:
        """How many pieces of text it has."""
        return sum(len(thread.pieces) for thread in self._threads)

    @property
    def writes(self) -> bool:
        """Whether more may come of it; a message has one text, as far as anybody knows."""
        return self.kind != "message" or not self._threads or not self._threads[-1].over

    def flowing(self, kind: str, event: Event) -> Thread | None:
        """The thread that this delta goes on with, if it has begun."""
        thread = self._theirs.get(self._place(kind, event))
        goes_on = thread is not None and thread.flow.moves.get(thread.state, {}).get(kind) == thread.state
        return thread if goes_on else None

    async def take(self, kind: str, event: Event) -> None:
        """Its next event.

        Raises:
            RemoteProtocolError: it takes something back, or is text that belongs nowhere.
        """
        part = event.get("part") if "_part." in kind else None
        name = label(kind, str(part.get("type"))) if isinstance(part, dict) else kind
        thread = await self._find(name, event)
        whole = _whole(kind, event)
        if thread is not None and whole is not None:
            await self._complete(thread, whole)
        way = thread.way_to(name) if thread is not None else None
        if thread is not None and way is not None and _skips_text(way) and not thread.pieces:
            if not (known := self.raw.get(WHOLE_TEXT.get(self.kind, ""))):
                return  # a stage after a text that only the finished item will have
            await self._complete(thread, str(known))
            way = thread.way_to(name)
        if thread is None or way is None:
            if kind.endswith(".delta") and event.get("delta"):
                raise RemoteProtocolError(f"{kind} cannot come here, in an item of type {shorten(self.kind)}")
            return
        for missing in way[:-1]:
            await self._write(thread, missing, {})
        await self._write(thread, name, event)

    async def end(self, final: Mapping[str, Any] | None, *, status: str | None = None) -> Mapping[str, Any]:
        """Tell the rest of it, and that it is done.

        Args:
            final: what the upstream said at its end, if it did.
            status: what it must have, whatever the upstream said.

        Returns:
            It, as the upstream should have said it.
        """
        raw = self.raw = {**self.raw, **{name: value for name, value in (final or {}).items() if value is not None}}
        cut = (status or raw.get("status")) == "incomplete"
        await self._catch_up(raw)
        for thread in self._threads:
            if not cut or thread.event_for(".done") is not None:
                await self._settle(thread)
        whole = {**raw, **self._texts(raw), "id": self.id}
        whole.pop("status", None)
        if "status" in (raw if final is None else final) or self.kind in (
            "message",
            "function_call",
            "custom_tool_call",
        ):
            known = raw.get("status") not in (None, "in_progress")
            whole["status"] = status or (raw["status"] if known else "completed")
        await self.out.close_item({name: value for name, value in whole.items() if name not in self._hidden})
        return whole

    # Threads

    def _place(self, name: str, event: Event) -> tuple[str | None, int]:
        """What the upstream calls the thread of an event; where it does not say, the latest one."""
        flows = flows_for(self.kind, name)
        space = flows[0].index if flows else None
        index = event.get(space) if space is not None else 0
        if isinstance(index, int):
            return space, index
        return space, self._highest.get(space, 0)

    async def _find(self, name: str, event: Event) -> Thread | None:
        flows = flows_for(self.kind, name)
        if not flows:
            return None
        place = self._place(name, event)
        known = self._theirs.get(place) or self._counted_on(name, place[0], flows)
        if known is not None:
            if not known.over or known.flow.index is None or name not in known.flow.moves["new"]:
                return known if known.flow in flows else _alternative(known, flows)
            place = place[0], self._free(place[0])  # another part under a number that was used before
        return await self._open(flows[0], place, name.partition("/")[2] or None)

    def _counted_on(self, name: str, space: str | None, flows: tuple[Flow, ...]) -> Thread | None:
        """The part that is open, if an event goes on with one that nobody announced.

        There are servers that count pieces where they should count parts.
        """
        latest = self._threads[-1] if self._threads else None
        if space != "content_index" or latest is None or "_part.added" in name or latest.flow not in flows:
            return None
        return latest if latest.way_to(name) is not None else None

    async def _open(self, flow: Flow, place: tuple[str | None, int], part: str | None) -> Thread:
        if self._threads:
            await self._settle(self._threads[-1])  # those before it have ended
        mine = self._spaces.setdefault(flow.index, [])
        thread = self._theirs[place] = Thread(flow, len(mine), part)
        self._highest[place[0]] = max(place[1], self._highest.get(place[0], place[1]))
        mine.append(thread)
        self._threads.append(thread)
        return thread

    async def _settle(self, thread: Thread) -> None:
        """Bring a thread to its end."""
        if not thread.over:
            for missing in thread.way_out(failed=self.raw.get("status") == "failed" or bool(self.raw.get("error"))):
                await self._write(thread, missing, {})

    async def _complete(self, thread: Thread, whole: str) -> None:
        """What a text has more than its pieces said is one more piece."""
        delta, said = thread.event_for(".delta"), thread.text
        if whole.startswith(said) and len(whole) > len(said) and delta is not None:
            way = thread.way_to(delta)
            if way is None:
                raise RemoteProtocolError(f"text came after the end of it, in an item of type {shorten(self.kind)}")
            for missing in way[:-1]:
                await self._write(thread, missing, {})
            await self._write(thread, delta, {"delta": whole[len(said) :]})
        elif whole.strip() and not whole.startswith(said) and not is_same_text(whole, said):
            raise RemoteProtocolError(f"a text is not what its pieces said: {shorten(whole)}")

    # Events

    async def _write(self, thread: Thread, name: str, event: Event) -> None:
        kind, _, part = name.partition("/")
        if part:
            thread.part = part
        if kind.endswith(".delta") and isinstance(event.get("delta"), str):
            await self._piece(thread, kind, event)
        else:
            members = {key: value for key, value in event.items() if key not in _NUMBERING}
            if thread.flow.index is not None:
                members[thread.flow.index] = thread.index
            await self.out.event(kind, {**members, **self._told(thread, kind, part, event)})
        thread.state = thread.flow.moves[thread.state][name]

    async def _piece(self, thread: Thread, kind: str, event: Event) -> None:
        logprobs = event.get("logprobs") or ()
        index = thread.index if thread.flow.index is not None else None
        if not logprobs and event.keys() <= _PLAIN_DELTA | {"logprobs"}:
            await self.out.delta(kind, event["delta"], index=index)
        else:
            members = {key: value for key, value in event.items() if key not in _NUMBERING}
            if thread.flow.index is not None:
                members[thread.flow.index] = thread.index
            await self.out.event(kind, members)
        thread.pieces.append(event["delta"])
        if isinstance(logprobs, list):
            thread.logprobs += logprobs

    def _told(self, thread: Thread, kind: str, part: str, event: Event) -> dict[str, Any]:
        """The members in which an event must say what was said."""
        if part:
            given = event.get("part")
            begins = kind.endswith(".added")
            return {"part": _part(thread, part, given if isinstance(given, dict) else {}, empty=begins)}
        if kind in DONE_TEXT:
            told: dict[str, Any] = {DONE_TEXT[kind]: thread.text}
            return {**told, "logprobs": thread.logprobs} if kind == "response.output_text.done" else told
        if kind.endswith(".annotation.added"):
            thread.annotations.append(event.get("annotation"))
            return {"annotation_index": len(thread.annotations) - 1}
        return {}

    # The end

    async def _catch_up(self, raw: Mapping[str, Any]) -> None:
        """Tell what the finished item says and no event has said."""
        member = WHOLE_TEXT.get(self.kind)
        thread = self._theirs.get((None, 0))
        if member is not None and isinstance(raw.get(member), str):
            if thread is None and self.kind in ("function_call", "custom_tool_call"):
                thread = await self._open(FLOWS[self.kind][0], (None, 0), None)
            if thread is not None and not thread.over:
                await self._complete(thread, raw[member])
        for space, name in _LISTS.items():
            parts, mine = known_parts(raw.get(name)), self._spaces.get(space, [])
            if len(mine) == 1 and are_told_as_one(parts, mine[0].text):
                continue
            for index, part in enumerate(parts):
                await self._catch_up_part(space, index, part)

    async def _catch_up_part(self, space: str, index: int, part: Mapping[str, Any]) -> None:
        kind = str(part.get("type"))
        text = part.get(PART_TEXT.get(kind, ""))
        mine = self._spaces.get(space, [])
        if not isinstance(text, str):
            return
        if index < len(mine):
            thread = mine[index]
        else:
            flow = next((flow for flow in FLOWS.get(self.kind, ()) if _is_part(flow, space, kind)), None)
            if flow is None:
                return
            thread = await self._open(flow, (space, self._free(space)), kind)
        if thread.part in (None, kind):
            thread.part = kind
            if not thread.over:
                await self._complete(thread, text)
                await self._annotate(thread, part)

    async def _annotate(self, thread: Thread, part: Mapping[str, Any]) -> None:
        """What a finished text has more annotations than were told of is told now, while it is open."""
        annotations = part.get("annotations")
        name = "response.output_text.annotation.added"
        for annotation in annotations[len(thread.annotations) :] if isinstance(annotations, list) else ():
            if name in thread.flow.moves.get(thread.state, {}):
                await self._write(thread, name, {"annotation": annotation})

    def _free(self, space: str | None) -> int:
        return 1 + self._highest.get(space, -1)

    def _texts(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The members that must repeat what was said."""
        told: dict[str, Any] = {}
        known = {space: known_parts(raw.get(name)) for space, name in _LISTS.items()}
        for thread in self._threads:
            space = thread.flow.index
            if space is None and self.kind in WHOLE_TEXT:
                told[WHOLE_TEXT[self.kind]] = thread.text
            elif space in _LISTS and thread.part is not None:
                said = told.setdefault(_LISTS[space], [])
                given = known[space]
                fits = len(said) < len(given) and given[len(said)].get("type") == thread.part
                said.append(_part(thread, thread.part, given[len(said)] if fits else {}))
        for name in _LISTS.values():
            if name in told:
                told[name] = with_unknown_parts(told[name], raw.get(name))
        return told


def is_same_text(whole: str, said: str) -> bool:
    """Whether two texts say the same: but for the blanks around them, or as JSON."""
    if whole.strip() == said.strip():
        return True
    try:
        return bool(msgspec.json.decode(whole) == msgspec.json.decode(said))
    except (ValueError, RecursionError):
        return False


def _skips_text(way: tuple[str, ...]) -> bool:
    """Whether a text would be told as done on the way to a stage."""
    return any(event in DONE_TEXT for event in way[:-1]) and "_part." not in way[-1]


def _is_part(flow: Flow, space: str, kind: str) -> bool:
    return flow.index == space and any(event.endswith(f"/{kind}") for event in flow.moves.get("new", {}))


def _alternative(thread: Thread, flows: tuple[Flow, ...]) -> Thread | None:
    """Two flows that begin alike are told apart by a later event."""
    if thread.pieces or thread.state != "open" or flows[0].moves["new"] != thread.flow.moves["new"]:
        return None
    thread.flow = flows[0]
    return thread


def _whole(kind: str, event: Event) -> str | None:
    """The whole text, where an event repeats it."""
    holder: Any = event.get("part") if kind.endswith("_part.done") else event
    if not isinstance(holder, dict):
        return None
    name = PART_TEXT.get(str(holder.get("type")), "") if holder is not event else DONE_TEXT.get(kind, "")
    text = holder.get(name)
    return text if isinstance(text, str) else None


def _part(thread: Thread, kind: str, given: Mapping[str, Any], *, empty: bool = False) -> dict[str, Any]:
    """A part as it must be said."""
    part = {**given, "type": kind, PART_TEXT[kind]: "" if empty else thread.text}
    if kind == "output_text":
        annotations = [] if empty else thread.annotations
        logprobs = [] if empty else thread.logprobs
        part |= {"annotations": annotations or (not empty and given.get("annotations")) or [], "logprobs": logprobs}
    return part
