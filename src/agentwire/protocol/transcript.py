"""A conversation as an immutable chain of responses with shared structure.

A node knows its parent, what was put in and what came out: to continue costs the new items, to fork costs nothing.
A compaction cuts what an engine sees, and leaves the chain whole. Every client's answer must have its call and every
call its answer; that rule stands here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, overload

import attrs

from agentwire.protocol.checks import EMPTY, shorten
from agentwire.protocol.compaction import open_compactions
from agentwire.protocol.errors import RequestError
from agentwire.protocol.items import (
    CLIENT_CALLS,
    UNPAIRED,
    Item,
    ItemReference,
    Message,
    OpenedCompaction,
    Summary,
    answered_call,
    client_call,
    is_torn,
)

__all__ = ["History", "Memo", "Node", "check_pairing", "resolve"]


@attrs.define(eq=False)
class Memo:
    """A cell for one value that is kept with a point of a conversation, such as what an engine rendered so far."""

    value: Any = None


@attrs.frozen(eq=False, kw_only=True)
class Node:
    """One response and, through its parents, the conversation up to it. Compared by identity.

    Attributes:
        parent: the response that this one continued; None for the first.
        response_id: its id.
        input: the items that its request brought.
        output: the items that it made.
        root_id: the id of the conversation's first response; forks share it.
        depth: responses before this one.
        cut: what an engine sees of all items up to and with this response, if a compaction among its own replaced what
            came before; None otherwise.
        size: items up to and with this response, as an engine sees them.
        unanswered: calls that wait for the client, by call id.
        memo: a cell for the engine.
        tokens: a cell for the number of tokens up to and with this response, once somebody has counted them.
    """

    parent: Node | None = attrs.field(repr=False)
    response_id: str
    input: tuple[Item, ...] = attrs.field(repr=False)
    output: tuple[Item, ...] = attrs.field(repr=False)
    root_id: str
    depth: int
    size: int
    unanswered: Mapping[str, Item] = attrs.field(repr=False)
    cut: tuple[Item, ...] | None = attrs.field(default=None, repr=False)
    memo: Memo = attrs.field(factory=Memo, repr=False)
    tokens: Memo = attrs.field(factory=Memo, repr=False, init=False)

    @classmethod
    def root(
        cls,
        response_id: str,
        input: Sequence[Item],  # noqa: A002
        output: Sequence[Item],
        memo: Memo | None = None,
    ) -> Node:
        """The first response of a conversation."""
        return _grow(None, response_id, tuple(input), tuple(output), memo)

    def extend(
        self,
        response_id: str,
        input: Sequence[Item],  # noqa: A002
        output: Sequence[Item],
        memo: Memo | None = None,
    ) -> Node:
        """A response that continues this one; this one stays as it is, and others may continue it too."""
        return _grow(self, response_id, tuple(input), tuple(output), memo)

    @property
    def owed(self) -> Mapping[str, Item]:
        """The calls that must be answered before the conversation can go on, by call id."""
        return {call: item for call, item in self.unanswered.items() if not is_torn(item)}

    def items(self) -> History:
        """The conversation as an engine sees it, oldest first; made when it is first looked at."""
        return History(self)

    @property
    def shown(self) -> tuple[Item, ...]:
        """The items that this response adds to what an engine sees, or, if it cut that, all of them."""
        return self.cut if self.cut is not None else (*self.input, *self.output)

    def find(self, item_id: str) -> Item | None:
        """The latest item of that id in the conversation."""
        for node in self.chain():
            for item in (*reversed(node.output), *reversed(node.input)):
                if item.id == item_id:
                    return item
        return None

    def chain(self) -> Iterator[Node]:
        """This response and those before it, newest first."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def context(self) -> Iterator[Node]:
        """The part of the chain that an engine sees: back to the first, or to the latest one that cut it."""
        for node in self.chain():
            yield node
            if node.cut is not None:
                return


def _grow(
    parent: Node | None, response_id: str, given: tuple[Item, ...], output: tuple[Item, ...], memo: Memo | None
) -> Node:
    cut: tuple[Item, ...] | None = None
    root_id, depth, before, waiting = response_id, 0, 0, EMPTY
    if parent is not None:
        root_id, depth, before, waiting = parent.root_id, parent.depth + 1, parent.size, parent.unanswered
    if not UNPAIRED.issuperset(map(type, (*given, *output))):  # nearly all are, and cut nothing
        given, output = open_compactions(given), open_compactions(output)
        cut = _after_compaction((*given, *output))
        waiting = _still_waiting(waiting, (*given, *output)) if cut is None else _still_waiting(EMPTY, cut)
    return Node(
        parent=parent,
        response_id=response_id,
        input=given,
        output=output,
        root_id=root_id,
        depth=depth,
        size=before + len(given) + len(output) if cut is None else len(cut),
        unanswered=waiting,
        cut=cut,
        memo=memo or Memo(),
    )


def _still_waiting(waiting: Mapping[str, Item], new: tuple[Item, ...]) -> Mapping[str, Item]:
    calls = dict(waiting)
    for item in new:
        answered = answered_call(item)
        if answered is not None:
            calls.pop(answered, None)
        call = client_call(item)
        if call is not None:
            calls[call] = item
    return calls or EMPTY


def _after_compaction(items: tuple[Item, ...]) -> tuple[Item, ...] | None:
    """What the latest compaction among some items leaves of them, and of all before them; None if there is none."""
    for index in range(len(items) - 1, -1, -1):
        item = items[index]
        if isinstance(item, OpenedCompaction):
            before = [each for each in items[:index] if item.after_messages and _is_users(each)]
            return (*before, *item.shown, *items[index + 1 :])
    return None


def _is_users(item: Item) -> bool:
    return isinstance(item, Message) and item.role == "user" and not isinstance(item, Summary)


class History(Sequence[Item]):
    """A conversation's items and what comes after them, as an engine sees them: one sequence, oldest first.

    It costs nothing until it is looked into. ``reversed`` begins with the newest and reads only as far as it is asked.

    Args:
        node: the conversation so far, if there is one.
        tail: the items after it; a compaction among them replaces what came before.

    Attributes:
        node: the conversation so far; None if nothing of it is left.
        tail: the items after it, as an engine sees them.
    """

    def __init__(self, node: Node | None, tail: Sequence[Item] = ()) -> None:
        self.node = node
        self.tail = tuple(tail)
        self._flat: tuple[Item, ...] | None = None
        if OpenedCompaction in map(type, tail):
            self.node, self.tail = None, _after_compaction(self.tail) or ()

    def _items(self) -> tuple[Item, ...]:
        if self._flat is None:
            nodes = list(self.node.context()) if self.node is not None else []
            flat: list[Item] = []
            for node in reversed(nodes):
                flat += node.shown
            self._flat = (*flat, *self.tail)
        return self._flat

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        return self._items()[index]

    def __len__(self) -> int:
        return (self.node.size if self.node is not None else 0) + len(self.tail)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items())

    def __reversed__(self) -> Iterator[Item]:
        yield from reversed(self.tail)
        for node in self.node.context() if self.node is not None else ():
            yield from reversed(node.shown)

    def __repr__(self) -> str:
        return f"<History of {len(self)} items>"


# Pairing


def check_pairing(parent: Node | None, new: Sequence[Item], *, generate: bool = True) -> None:
    """Check that in the conversation, with these new items, calls and answers match one to one.

    Args:
        parent: what is continued, if anything; its unanswered calls must be answered now (a call that is
            ``incomplete`` may be).
        new: the request's items. A history sent in full must pair within itself.
        generate: False for a warm-up, which may leave calls open for the turn after it.

    Raises:
        RequestError: 400 ``tool_call_not_found``, ``duplicate_tool_output`` or ``duplicate_tool_call``, param
            ``input[i]``, or ``tool_output_missing``, param ``input``.
    """
    waiting = parent.unanswered if parent is not None else EMPTY
    if not waiting and UNPAIRED.issuperset(map(type, new)):
        return
    pairing = _Pairing(parent, dict(waiting))
    for index, item in enumerate(new):
        pairing.take(item, index)
    owed = [(call, item) for call, item in pairing.waiting.items() if not is_torn(item)]
    if owed and generate:
        call, item = owed[0]
        message = f"No tool output found for {_words(item.type)} {_brief(call)}."
        raise RequestError(400, "tool_output_missing", message, param="input")


@attrs.define
class _Pairing:
    """Calls that wait for their answer, and those that had it, while the new items are gone through."""

    parent: Node | None
    waiting: dict[str, Item]
    answered: set[str] = attrs.field(factory=set)

    def take(self, item: Item, index: int) -> None:
        if isinstance(item, OpenedCompaction):
            self._cut(item, index)
            return
        answer, call = answered_call(item), client_call(item)
        if answer is not None:
            self._answer(item, answer, index)
        elif call is not None:
            if call in self.waiting:
                message = f"The call id {_brief(call)} is used by two calls that wait for their output."
                raise RequestError(400, "duplicate_tool_call", message, param=f"input[{index}]")
            self.waiting[call] = item

    def _cut(self, item: OpenedCompaction, index: int) -> None:
        """It replaces what came before it, and brings the calls that waited then."""
        self.waiting, self.answered = {}, set()
        for kept in item.kept:
            self.take(kept, index)

    def _answer(self, item: Item, call: str, index: int) -> None:
        asked = self.waiting.get(call)
        if asked is not None and CLIENT_CALLS[asked.type] == item.type:
            del self.waiting[call]
            self.answered.add(call)
            return
        which, param = f"{_words(item.type)} with call_id {_brief(call)}", f"input[{index}]"
        if asked is None and (call in self.answered or _was_answered(self.parent, call)):
            message = f"The {which} answers a call that has its output already."
            raise RequestError(400, "duplicate_tool_output", message, param=param)
        raise RequestError(400, "tool_call_not_found", f"No tool call found for {which}.", param=param)


def _was_answered(parent: Node | None, call: str) -> bool:
    """Only asked when a request is about to be refused: it walks the whole chain."""
    nodes = parent.chain() if parent is not None else ()
    return any(answered_call(item) == call for node in nodes for item in (*node.input, *node.output))


def _words(kind: str) -> str:
    """``function_call_output`` as people say it."""
    return kind.replace("_", " ")


def _brief(call: str) -> str:
    return shorten(call)[1:-1]


# References

_NOTHING: Final[Callable[[str], Item | None]] = lambda _: None  # noqa: E731 - a default argument


def resolve(
    parent: Node | None, new: Sequence[Item], find: Callable[[str], Item | None] = _NOTHING
) -> tuple[Item, ...]:
    """Put the items that ``item_reference`` stands for in their places; one that was compacted away comes back so.

    Args:
        parent: what is continued, if anything.
        new: the request's items.
        find: looks up an item that is not part of the conversation, such as one of another stored response.

    Raises:
        RequestError: 400 ``duplicate_item`` for an item that the conversation has already, and 404
            ``item_not_found`` for one that nobody knows; param ``input[i].id``.
    """
    if not any(isinstance(item, ItemReference) for item in new):
        return tuple(new)
    present = {item.id for item in History(parent)}

    def known(item_id: str) -> Item | None:
        return find(item_id) or (parent.find(item_id) if parent is not None else None)

    whole: list[Item] = []
    for index, item in enumerate(new):
        if isinstance(item, ItemReference):
            whole.append(_look_up(item.id, present, known, f"input[{index}].id"))
        else:
            whole.append(item)
        present.add(whole[-1].id)
    return tuple(whole)


def _look_up(item_id: str, present: set[str | None], find: Callable[[str], Item | None], param: str) -> Item:
    if item_id in present:
        message = f"The conversation has the item {_brief(item_id)} already; leave the reference out."
        raise RequestError(400, "duplicate_item", message, param=param)
    found = find(item_id)
    if found is None:
        raise RequestError(404, "item_not_found", f"No item {_brief(item_id)} is known here.", param=param)
    return found
