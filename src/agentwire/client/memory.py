"""What a client remembers of its conversations: each response's input and output, as a chain, bounded in bytes.

A server may forget a response with the connection, so whoever wants to go on elsewhere must be able to say everything
again. A fork is a pointer; what was used longest ago is forgotten first, a branch from its end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import attrs

from agentwire.client.context import latest_compaction
from agentwire.protocol.codec import encode_json
from agentwire.protocol.items import Item
from agentwire.protocol.request import CreateRequest

__all__ = ["Memory", "MemoryStatistics", "Parent"]


@attrs.frozen(kw_only=True)
class Parent:
    """A response that can be continued, as far as the client knows it.

    Attributes:
        response_id: its id.
        way: the number of the way whose server has it.
        stored: whether the server has it for others, too.
        recall: gives the conversation's items up to and with it, oldest first.
        root_id: a response before the first of these items that the client does not know; the items continue it.
        warm_up: what it was asked with, if it was a warm-up.
    """

    response_id: str
    way: int
    stored: bool
    recall: Callable[[], Sequence[Item]] = attrs.field(repr=False)
    root_id: str | None = None
    warm_up: CreateRequest | None = attrs.field(default=None, repr=False)


@attrs.define(eq=False)
class _Node:
    parent: _Node | None
    response_id: str
    items: tuple[Item, ...]
    way: int
    stored: bool
    root_id: str | None
    warm_up: CreateRequest | None
    size: int
    children: int = 0

    def chain(self) -> Iterator[_Node]:
        node: _Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def recall(self) -> tuple[Item, ...]:
        return tuple(item for node in reversed(list(self.chain())) for item in node.items)


@attrs.frozen
class MemoryStatistics:
    """A snapshot of a memory: responses in it, their bytes, and how many were forgotten for want of room."""

    responses: int
    bytes: int
    forgotten: int


class Memory:
    """The conversations of one client.

    Args:
        limit: bytes of their items, as they are on the wire.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._nodes: dict[str, _Node] = {}
        self._ends: OrderedDict[str, None] = OrderedDict()  # those that nothing continues, the latest used last
        self._bytes = 0
        self._forgotten = 0

    def find(self, response_id: str | None) -> Parent | None:
        """A response that was remembered; None if it is not, or not any more."""
        node = self._nodes.get(response_id) if response_id is not None else None
        if node is None:
            return None
        if node.response_id in self._ends:
            self._ends.move_to_end(node.response_id)
        return Parent(
            response_id=node.response_id,
            way=node.way,
            stored=node.stored,
            recall=node.recall,
            root_id=node.root_id,
            warm_up=node.warm_up,
        )

    def remember(
        self, response_id: str, request: CreateRequest, output: Sequence[Item], *, parent: Parent | None, way: int
    ) -> None:
        """A response has ended well.

        Args:
            response_id: its id.
            request: what was asked: the new items, and the response that they continue.
            output: the items that came of it.
            parent: what was known of that response.
            way: the number of the way over which it came.
        """
        before = self._nodes.get(parent.response_id) if parent is not None else None
        if response_id in self._nodes or (parent is not None and before is None):
            return  # the client has forgotten what it continues: half a conversation is of no use
        self._add(_node(response_id, request, tuple(output), before, way))
        while self._bytes > self._limit and self._ends:
            self._forget()

    def _add(self, node: _Node) -> None:
        self._nodes[node.response_id] = node
        self._ends[node.response_id] = None
        self._bytes += node.size
        if node.parent is not None:
            node.parent.children += 1
            self._ends.pop(node.parent.response_id, None)

    def _forget(self) -> None:
        response_id, _ = self._ends.popitem(last=False)
        node = self._nodes.pop(response_id)
        self._bytes -= node.size
        self._forgotten += 1
        if node.parent is not None:
            node.parent.children -= 1
            if not node.parent.children:
                self._ends[node.parent.response_id] = None
                self._ends.move_to_end(node.parent.response_id, last=False)

    def statistics(self) -> MemoryStatistics:
        """Counts at this moment."""
        return MemoryStatistics(len(self._nodes), self._bytes, self._forgotten)


def _node(response_id: str, request: CreateRequest, output: tuple[Item, ...], before: _Node | None, way: int) -> _Node:
    """A response; one that compacted what came before it stands for itself."""
    items = (*request.input, *output)
    root_id = before.root_id if before is not None else request.previous_response_id
    if (cut := latest_compaction(output)) is not None:
        items, before, root_id = output[cut:], None, None
    return _Node(
        parent=before,
        response_id=response_id,
        items=items,
        way=way,
        stored=request.store,
        root_id=root_id,
        warm_up=None if request.generate else request,
        size=len(encode_json(items)),
    )
