"""Which item of another server an event is about.

Servers number their items, name them, or do neither; some change the names on the way, and some give all of them the
same number. What an event says is weighed in that order: the name, the number, the latest item in which it may come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from agentwire.engines.relay.healing import HeardItem
from agentwire.engines.relay.owned import OwnCall
from agentwire.engines.relay.plain import PlainMessage
from agentwire.protocol.checks import shorten
from agentwire.protocol.errors import RemoteProtocolError
from agentwire.protocol.order import FLOWS, ITEM_EVENTS

__all__ = ["CALLS", "Heard", "Matcher", "item_of"]

CALLS: Final = frozenset(("function_call", "custom_tool_call"))
"""Items that cannot begin before their name is known."""

_FITS: Final[Mapping[str, list[str]]] = {
    event: [
        item
        for item, flows in FLOWS.items()
        if any(name.partition("/")[0] == event for flow in flows for names in flow.moves.values() for name in names)
    ]
    for event in ITEM_EVENTS
}
"""The types of items in which an event may come."""


@attrs.define(eq=False)
class Heard:
    """One item of the upstream.

    Attributes:
        index: its number there, if it gave one.
        ids: what it called it so far.
        raw: what is known of it.
        waiting: its events that cannot be told yet.
        item: it as it is told; None until then.
        final: what the upstream said at its end.
        is_done: the upstream has said all of it.
        over: it is told as a whole.
        goes_on: it is more of one that was done before, and nothing but its pieces says of what.
        kept: it as it was kept for the next request; None if it was not.
        place: which item of the response it is, from 0.
    """

    index: int | None
    ids: set[str]
    raw: dict[str, Any]
    waiting: deque[Mapping[str, Any]] = attrs.field(factory=deque)
    item: HeardItem | OwnCall | PlainMessage | None = None
    final: Mapping[str, Any] | None = None
    is_done: bool = False
    over: bool = False
    goes_on: bool = False
    kept: Mapping[str, Any] | None = None
    place: int = 0

    @property
    def kind(self) -> str:
        """Its type; empty as long as only some of its events are known."""
        return str(self.raw.get("type") or "")

    @property
    def written(self) -> int:
        """How many pieces of it came, as far as is known."""
        return len(self.waiting) + (self.item.written if self.item is not None else 0)

    @property
    def writes(self) -> bool:
        """Whether its text may go on, as far as is known."""
        return self.item is None or self.item.writes

    @property
    def can_begin(self) -> bool:
        """Whether enough is known of it."""
        if self.kind not in CALLS:
            return bool(self.kind)
        return bool(self.raw.get("name")) and (bool(self.raw.get("call_id")) or self.is_done)


class Matcher:
    """The items of one response; to find one by its name or number costs the same however many there are.

    Attributes:
        items: as they came.
    """

    def __init__(self) -> None:
        self.items: list[Heard] = []
        self._by_name: dict[str, Heard] = {}
        self._by_index: dict[int, Heard] = {}
        self._told = 0  # how many at the beginning are over

    def __iter__(self) -> Iterator[Heard]:
        return iter(self.items)

    @property
    def over(self) -> bool:
        """Whether each of them is told as a whole."""
        return self.first() is None

    def first(self, *, besides: Heard | None = None) -> Heard | None:
        """The first that is not told as a whole."""
        return next((heard for heard in self._rest() if not heard.over and heard is not besides), None)

    def _rest(self) -> Iterator[Heard]:
        """All behind those at the beginning that are over."""
        items = self.items
        while self._told < len(items) and items[self._told].over:
            self._told += 1
        return (items[place] for place in range(self._told, len(items)))

    def add(self, heard: Heard) -> None:
        """The next item."""
        heard.place = len(self.items)
        self.items.append(heard)
        for name in heard.ids:
            self._by_name[name] = heard
        if heard.index is not None:
            self._by_index[heard.index] = heard

    def name(self, heard: Heard, name: Any) -> None:
        """The upstream calls it that, too, if it is a name."""
        if isinstance(name, str) and name and name not in heard.ids:
            heard.ids.add(name)
            if (other := self._by_name.get(name)) is None or other.place < heard.place:
                self._by_name[name] = heard

    def known(self, event: Mapping[str, Any]) -> Heard | None:
        """The item that an event names: by its id, or else by its number, as some change the ids on the way."""
        name, index = _name_in(event), event.get("output_index")
        heard = self._by_name.get(name) if name is not None else None
        if heard is None and isinstance(index, int):
            heard = self._by_index.get(index)
        return heard

    def find(self, kind: str, event: Mapping[str, Any]) -> Heard:
        """The item that an event is about; one that was not announced begins with it."""
        known = self.known(event)
        fits = _FITS[kind]
        if known is not None and known.kind in fits:
            if not (known.is_done and kind.endswith(".delta") and event.get("delta")):
                return known
            if _name_in(event) in known.ids:
                return self._go_on(known, kind, event)
        elif known is not None or not isinstance(event.get("output_index"), int):
            named = _name_in(event) is not None
            for heard in reversed([*self._rest()]):
                if heard.kind in fits and not heard.is_done and (heard.writes or not named):
                    return heard
        part = event.get("part")
        thought = isinstance(part, dict) and part.get("type") in ("reasoning_text", "summary_text")
        return self.begin({"type": fits[-1 if thought else 0]}, event)

    def _go_on(self, done: Heard, kind: str, event: Mapping[str, Any]) -> Heard:
        """A message that was called done too early: what is more of it is one more."""
        if done.kind != "message":
            raise RemoteProtocolError(f"{kind} came after the end of its item")
        more = self.begin({"type": done.kind}, event)
        more.goes_on = True
        del more.raw["id"]
        return more

    def begin(self, raw: Mapping[str, Any], event: Mapping[str, Any]) -> Heard:
        """A new item, of which this is known, brought by this event."""
        ids = {name for name in (raw.get("id"), event.get("item_id")) if isinstance(name, str) and name}
        index = event.get("output_index")
        heard = Heard(index if isinstance(index, int) else None, ids, dict(raw))
        if "id" not in heard.raw and ids:
            heard.raw["id"] = next(iter(ids))
        self.add(heard)
        return heard

    def same(self, raw: Mapping[str, Any], event: Mapping[str, Any], *, done: bool = False) -> Heard | None:
        """The item that this is, if something of it has come; one that is done may have got another id at its end."""
        known = self.known({**event, "item_id": raw.get("id") or event.get("item_id")})
        if known is not None and known.kind == raw.get("type"):
            by_id = raw.get("id") in known.ids
            return known if by_id or not known.is_done else None
        if known is None and not isinstance(event.get("output_index"), int):
            anew = done or not raw.get("id")
            alike = [each for each in self._rest() if not each.is_done and each.kind == raw.get("type")]
            alike = [each for each in alike if anew or not each.ids]
            call_id = raw.get("call_id")
            return next((each for each in alike if each.raw.get("call_id") == call_id), alike[0] if alike else None)
        return None

    def in_end(self, output: Iterable[Any]) -> list[tuple[Heard | None, dict[str, Any]]]:
        """The items of the final output, each with what came of it before; None with one that is new.

        Some servers name them anew there, leave some out or order them otherwise. An item is the one of its id, or of
        its call's, or else the one in its place, or the first, that is of its type and its name and of no other id.
        """
        given = [item_of({"item": raw}) for raw in output if isinstance(raw, dict) and isinstance(raw.get("type"), str)]
        known = [self._by_name.get(raw.get("id") or "") for raw in given]
        kinds = [heard.kind if heard is not None else None for heard in known]
        if kinds != [raw["type"] for raw in given] or len({*map(id, known)}) < len(known):
            known = self._likely(given)
        return [*zip(known, given, strict=True)]

    def _likely(self, given: Sequence[Mapping[str, Any]]) -> list[Heard | None]:
        free = dict.fromkeys(self.items)
        found: list[Heard | None] = [None] * len(given)

        def match(at: int, heard: Heard | None) -> None:
            if found[at] is None and heard in free and heard.kind == given[at]["type"]:
                found[at] = heard
                del free[heard]

        calls = {str(heard.raw.get("call_id")): heard for heard in self.items}
        for at, raw in enumerate(given):
            match(at, self._by_name.get(raw.get("id") or ""))
        for at, raw in enumerate(given):
            match(at, calls.get(str(raw.get("call_id") or "")))
        alike: dict[tuple[str, str], deque[Heard]] = {}
        for heard in free:
            alike.setdefault((heard.kind, str(heard.raw.get("name"))), deque()).append(heard)
        for at, raw in enumerate(given):
            here = self.items[at : at + 1]
            match(at, here[0] if here and here[0].raw.get("name") == raw.get("name") else None)
            for name in (str(raw.get("name")), "None"):  # of a call that nobody announced, no name is known
                rest = alike.get((raw["type"], name))
                while found[at] is None and rest:
                    match(at, rest.popleft())
        return found


def _name_in(event: Mapping[str, Any]) -> str | None:
    """What an event calls its item, if it calls it anything."""
    name = event.get("item_id")
    return name if isinstance(name, str) and name else None


def item_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """The item that an event brings.

    Raises:
        RemoteProtocolError: it brings none.
    """
    item = event.get("item")
    if not isinstance(item, dict) or not isinstance(item.get("type"), str):
        raise RemoteProtocolError(f"it sent an item without a type: {shorten(event)}")
    told = dict(item)
    if not isinstance(told.get("id"), str | None):
        del told["id"]  # it names nothing
    if told["type"] == "message":
        told["content"] = _parts(told.get("content"))
    return told


def _parts(content: Any) -> Any:
    """The content of a message: a text alone is a part, and one that is called a text is what a model has put out."""
    if isinstance(content, str):
        return [{"type": "output_text", "text": content}]
    if not isinstance(content, list):
        return []
    return [{**part, "type": "output_text"} if _is_text(part) else part for part in content]


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
