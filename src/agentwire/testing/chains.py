"""What each turn continues, and so what the model has to be shown for it: the input and output of the whole chain.

Where a record does not say, because a turn of the chain is not in it or the server was free to shorten it, nothing is
claimed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agentwire.protocol import items as protocol
from agentwire.protocol.codec import decode_item, encode_item
from agentwire.protocol.errors import AgentwireError
from agentwire.testing.journal import Happened
from agentwire.testing.turns import Item, Turn, turns
from agentwire.testing.wires import Recorded

__all__ = ["Chains", "normal"]


class Chains:
    """What each response of a record continues; made by `Chains.of`, once for a record.

    Attributes:
        turns: the turns of all wires.
    """

    def __init__(self, turns: Sequence[Turn]) -> None:
        self.turns = turns
        self._by_id = {turn.id: turn for turn in turns if turn.id is not None}
        self._inputs: dict[int, list[Item] | None] = {}
        self._outputs: dict[int, list[Item] | None] = {}
        self._digests: dict[int, Any] = {}
        self._normal: dict[int, tuple[object, Item]] = {}

    @classmethod
    def of(cls, happened: Happened) -> Chains:
        """Those of a record."""
        recorded = Recorded.of(happened)
        if not isinstance(recorded.memo, Chains):
            recorded.memo = cls([turn for wire in recorded.wires for turn in turns(wire)])
        return recorded.memo

    def get(self, response_id: object) -> Turn | None:
        """The turn that made this response."""
        return self._by_id.get(response_id) if isinstance(response_id, str) else None

    def chain(self, turn: Turn) -> list[Turn] | None:
        """The turns that lead to this one, oldest first, itself included; None if one of them is not in the record."""
        chain, known = [turn], {id(turn)}
        while (parent := chain[-1].parent) is not None:
            before = self._by_id.get(parent)
            if before is None or id(before) in known:
                return None
            chain.append(before)
            known.add(id(before))
        return chain[::-1]

    def context(self, turn: Turn) -> list[Item] | None:
        """The items that the model has to be shown, as `normal` gives them; None where the record does not say."""
        items: list[Item] = []
        for one in self.chain(turn) or ():
            given, made = self._input_of(one), [] if one is turn else self.output(one)
            if given is None or made is None:
                return None
            items += [*given, *made]
        return items or None

    def digest(self, turn: Turn) -> bytes | None:
        """The same for the same context, and for no other."""
        given = self._input_of(turn)
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
        given, made = self._input_of(turn), self.output(turn)
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

    def _input_of(self, turn: Turn) -> list[Item] | None:
        if id(turn) not in self._inputs:
            self._inputs[id(turn)] = _input(turn)
        return self._inputs[id(turn)]

    def output(self, turn: Turn) -> list[Item] | None:
        """The turn's own output, as `normal` gives it; None if it was not told."""
        if id(turn) not in self._outputs:
            output = turn.output
            self._outputs[id(turn)] = None if output is None else [normal(item) for item in output]
        return self._outputs[id(turn)]


def _spelt(items: Sequence[Item]) -> bytes:
    return "".join(json.dumps(item, sort_keys=True, default=str) + "\n" for item in items).encode()


def _input(turn: Turn) -> list[Item] | None:
    if turn.request is None and not turn.steers:
        return None
    told = [*turn.steers, *([] if turn.request is None else [turn.request])]
    if not all(_is_whole(entry.event) for entry in told):
        return None
    parts = [_items(entry.event.get("input", [])) for entry in told]
    return None if None in parts else [item for part in parts for item in part or ()]


def _is_whole(event: Mapping[str, Any]) -> bool:
    """Whether a request says by itself what its model is to be shown."""
    members = ("context_management", "conversation", "prompt")
    return event.get("truncation") in (None, "disabled") and not any(event.get(name) for name in members)


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
