"""Events on their way into a window: what is settled is queued here first, and written as far as there is room.

So an operation that is cancelled while it waits for room has changed everything or nothing, and the next one writes
what it left behind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NoReturn

import msgspec
import trio

from agentwire.protocol.codec import encode_json, encode_plain
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import Item, McpCall, client_call
from agentwire.runtime.making import OpenCall, Output
from agentwire.runtime.parts import event_head
from agentwire.runtime.relaying import OpenItem
from agentwire.runtime.window import Due, Window

__all__ = ["Teller", "event_parts", "plain"]


def event_parts(
    kind: str, members: Mapping[str, Any], encode: Callable[[Any], bytes] = encode_json
) -> tuple[bytes, bytes]:
    """An event as the two parts that `Window.put` joins with its number."""
    body = encode(members)[1:-1]
    return event_head(kind), b"," + body if body else b""


_ADDED: Final = event_head("response.output_item.added")
_DONE: Final = event_head("response.output_item.done")
_ITEM: Final = b',"output_index":%d,"item":%b'


def plain(raw: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The JSON of an engine's mapping, as it stays whatever becomes of the original.

    Raises:
        LocalProtocolError: it has no ``type``.
        TypeError: there is something in it that has no JSON.
    """
    if not isinstance(raw.get("type"), str):
        raise LocalProtocolError(f"{what} needs a type")
    plain: dict[str, Any] = msgspec.json.decode(encode_json(raw))
    return plain


class Teller:
    """Tells of items as they begin and end.

    Args:
        window: takes the events.
        output: takes the finished items.
        sources: ids for items and calls.
        max_bytes: the most that the response's events may have; then `overflow` is called, which cancels the engine.
    """

    __slots__ = (
        "_call", "_closed", "_due", "_interrupt", "_max_bytes", "_output", "_overflow", "_owed", "_relay", "_sources",
        "_unanswered", "_window",
    )  # fmt: skip

    def __init__(
        self, window: Window, output: Output, sources: Sources, *, max_bytes: int, overflow: Callable[[], None]
    ) -> None:
        self._window = window
        self._output = output
        self._sources = sources
        self._max_bytes = max_bytes
        self._overflow = overflow
        self._due: deque[Due] = deque()
        self._call: OpenCall | None = None
        self._relay: OpenItem | None = None
        self._unanswered: dict[int, McpCall] = {}
        self._owed = False
        self._interrupt: Callable[[], None] | None = None
        self._closed = False

    def _say(self, kind: str, members: Mapping[str, Any], then: Callable[[], None] | None = None) -> None:
        self._due.append((*event_parts(kind, members), then))

    def _say_plain(self, kind: str, members: dict[str, Any]) -> None:
        """The same for members that are plain JSON already."""
        self._due.append((*event_parts(kind, members, encode_plain), None))

    def _add(self, index: int, item: Item | Mapping[str, Any]) -> None:
        self._add_shown(index, encode_json(item))

    def _add_shown(self, index: int, shown: bytes) -> None:
        """The same for an item of which there is the JSON."""
        self._due.append((_ADDED, _ITEM % (index, shown), None))

    def _finish(self, index: int, item: Item, shown: bytes = b"") -> None:
        """An item is final; ``shown`` is its JSON, if there is one already."""
        self._owed = self._owed or client_call(item) is not None
        shown = shown or encode_json(item)
        self._due.append((_DONE, _ITEM % (index, shown), partial(self._output.fill, index, item, shown)))

    async def _flush(self) -> None:
        """Write what is due, as far as there is room; cancelled, the rest stays due."""
        while self._due and not self._window.put_due(self._due):
            await self._window.wait_for_room()

    async def _stop(self) -> NoReturn:
        """The response is as large as it may be: the step is cancelled, and ends incomplete."""
        self._overflow()
        await trio.lowlevel.checkpoint()
        raise LocalProtocolError("the response is as large as it may be; nothing more is taken")

    @property
    def _is_between(self) -> bool:
        """Whether neither a call nor an item of the engine's own is open."""
        return self._call is None and self._relay is None

    def _check_open(self) -> None:
        if self._closed:
            raise LocalProtocolError("this step has ended: an engine may not write after it returned")
        if self._call is not None:
            raise LocalProtocolError("a call is still open: call close_call() first")
        if self._relay is not None:
            raise LocalProtocolError("an item is still open: call close_item() first")
