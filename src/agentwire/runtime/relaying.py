"""An item whose events an engine writes itself, such as a search, or one that another server tells of.

What the engine writes is checked against the same tables as everything that is read, so that nothing that it gets
wrong reaches a client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from agentwire.protocol.codec import decode_item
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.grammar import GrammarError, ItemChecker
from agentwire.protocol.items import Item
from agentwire.protocol.order import ITEM_EVENTS, index_name
from agentwire.runtime.parts import around_delta
from agentwire.runtime.window import Pieces

__all__ = ["OpenItem", "unnumbered"]

P = ParamSpec("P")
T = TypeVar("T")

_DONE = "response.output_item.done"
_NUMBERED = ("type", "sequence_number", "stream_id")


def unnumbered(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members of an event that are the engine's to say."""
    return {name: value for name, value in members.items() if name not in _NUMBERED}


class OpenItem:
    """Such an item while it is open.

    Args:
        index: its ``output_index``.
        raw: what it is when it begins; with an id and the status ``in_progress``.

    Raises:
        LocalProtocolError: no item begins like that.
    """

    __slots__ = ("_broken", "_checker", "_flowing", "index", "raw")

    def __init__(self, index: int, raw: Mapping[str, Any]) -> None:
        self.index = index
        self.raw = raw
        self._broken = False
        self._flowing: tuple[str, int | None, Pieces] | None = None
        self._checker: ItemChecker = self._checked(ItemChecker.begin, raw)

    def pieces(self, kind: str, index: int | None) -> Pieces:
        """Where the next piece of text goes; one that goes there is a ``delta`` event of this kind.

        Raises:
            LocalProtocolError: as `event` does.
        """
        flowing = self._flowing
        if flowing is not None and flowing[0] == kind and flowing[1] == index:
            return flowing[2]
        where = {"item_id": self.raw["id"], "output_index": self.index}
        member = index_name(self.raw["type"], kind)
        if member is not None:
            where[member] = index
        if not kind.endswith(".delta") or kind not in ITEM_EVENTS:
            raise self._break(GrammarError("unknown", f"{kind} is no piece of an item's text"))
        said = self._checked(self._checker.pieces, kind, {**where, "delta": ""})
        tail = b',"logprobs":[]' if kind == "response.output_text.delta" else b""
        pieces = Pieces(*around_delta(kind.removesuffix(".delta"), where), tail)
        pieces.pieces = said
        self._flowing = kind, index, pieces
        return pieces

    def event(self, kind: str, members: Mapping[str, Any]) -> dict[str, Any]:
        """The members of its next event, with its own id and index.

        Raises:
            LocalProtocolError: this event cannot come here, or an earlier one could not; the item cannot go on then.
        """
        told = unnumbered(members)
        told["output_index"] = self.index
        if ":" in kind:
            return told
        self._flowing = None
        if not kind.startswith("response.shell_call_command."):
            told["item_id"] = self.raw["id"]
        if kind not in ITEM_EVENTS:
            raise self._break(GrammarError("unknown", f"{kind} is no event of an item"))
        self._checked(self._checker.feed, kind, told)
        return told

    def end(self, raw: Mapping[str, Any]) -> Item:
        """Its final form.

        Raises:
            LocalProtocolError: it cannot end here, or like that.
        """
        final = {**raw, "id": self.raw["id"]}
        self._checked(self._checker.feed, _DONE, {"item": final})
        return decode_item(final)

    def cut(self) -> Item:
        """What there is of it, ``incomplete``."""
        return decode_item({**self.raw, **self._checker.said(), "status": "incomplete"})

    def _checked(self, check: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._broken:
            raise LocalProtocolError("this item had an event that cannot be: it cannot go on")
        try:
            return check(*args, **kwargs)
        except GrammarError as error:
            raise self._break(error) from error

    def _break(self, error: GrammarError) -> LocalProtocolError:
        self._broken = True
        return LocalProtocolError(f"no legal stream has this: {error}")
