"""A conversation as an immutable chain of responses with shared structure.

A node knows its parent, what was put in and what came out: to continue costs the new items, to fork costs nothing.
Every client's answer must have its call and every call its answer; that rule stands here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, overload

import attrs

from agentwire.protocol.checks import EMPTY, shorten
from agentwire.protocol.errors import RequestError
from agentwire.protocol.items import CLIENT_CALLS, Item, ItemReference, OpaqueItem, answered_call, client_call

__all__ = ["History", "Memo", "Node", "check_pairing", "resolve"]


@attrs.define(eq=False)
class Memo:
    """A cell for one value that an engine keeps with a point of a conversation, such as what it rendered so far."""

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
        size: items up to and with this response.
        unanswered: calls that wait for the client, by call id.
        memo: a cell for the engine.
    """

    parent: Node | None = attrs.field(repr=False)
    response_id: str
    input: tuple[Item, ...] = attrs.field(repr=False)
    output: tuple[Item, ...] = attrs.field(repr=False)
    root_id: str
    depth: int
    size: int
    unanswered: Mapping[str, Item] = attrs.field(repr=False)
    memo: Memo = attrs.field(factory=Memo, repr=False)

    @classmethod
    def root(cls, response_id: str, input: Sequence[Item], output: Sequence[Item]) -> Node:  # noqa: A002
        """The first response of a conversation."""
        return _grow(None, response_id, tuple(input), tuple(output))

    def extend(self, response_id: str, input: Sequence[Item], output: Sequence[Item]) -> Node:  # noqa: A002
        """A response that continues this one; this one stays as it is, and others may continue it too."""
        return _grow(self, response_id, tuple(input), tuple(output))

    def items(self) -> History:
        """The whole conversation, oldest first; made when it is first looked at."""
        return History(self)

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


def _grow(parent: Node | None, response_id: str, given: tuple[Item, ...], made: tuple[Item, ...]) -> Node:
    waiting = parent.unanswered if parent is not None else EMPTY
    return Node(
        parent=parent,
        response_id=response_id,
        input=given,
        output=made,
        root_id=parent.root_id if parent is not None else response_id,
        depth=parent.depth + 1 if parent is not None else 0,
        size=(parent.size if parent is not None else 0) + len(given) + len(made),
        unanswered=_still_waiting(waiting, given, made),
    )


def _still_waiting(waiting: Mapping[str, Item], given: tuple[Item, ...], made: tuple[Item, ...]) -> Mapping[str, Item]:
    calls = dict(waiting)
    for items in (given, made):
        for item in items:
            answered = answered_call(item)
            if answered is not None:
                calls.pop(answered, None)
            call = client_call(item)
            if call is not None:
                calls[call] = item
    return calls or EMPTY


class History(Sequence[Item]):
    """A conversation's items and what comes after them, as one sequence, oldest first.

    It costs nothing until it is looked into. ``reversed`` begins with the newest and reads only as far as it is asked.

    Args:
        node: the conversation so far, if there is one.
        tail: the items after it.
    """

    def __init__(self, node: Node | None, tail: Sequence[Item] = ()) -> None:
        self._node = node
        self._tail = tuple(tail)
        self._flat: tuple[Item, ...] | None = None

    def _items(self) -> tuple[Item, ...]:
        if self._flat is None:
            nodes = list(self._node.chain()) if self._node is not None else []
            flat: list[Item] = []
            for node in reversed(nodes):
                flat += node.input
                flat += node.output
            self._flat = (*flat, *self._tail)
        return self._flat

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        return self._items()[index]

    def __len__(self) -> int:
        return (self._node.size if self._node is not None else 0) + len(self._tail)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items())

    def __reversed__(self) -> Iterator[Item]:
        yield from reversed(self._tail)
        for node in self._node.chain() if self._node is not None else ():
            yield from reversed(node.output)
            yield from reversed(node.input)

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
    pairing = _Pairing(parent, dict(parent.unanswered) if parent is not None else {})
    for index, item in enumerate(new):
        pairing.take(item, f"input[{index}]")
    owed = [(call, item) for call, item in pairing.waiting.items() if not _was_cut_off(item)]
    if owed and generate:
        call, item = owed[0]
        message = f"No tool output found for {_words(item.type)} {_brief(call)}."
        raise RequestError(400, "tool_output_missing", message, param="input")


def _was_cut_off(call: Item) -> bool:
    """True for a call that a limit cut short: it may be answered, and need not be, as nobody can run half a call."""
    status = call.raw.get("status") if isinstance(call, OpaqueItem) else getattr(call, "status", None)
    return status == "incomplete"


@attrs.define
class _Pairing:
    """Calls that wait for their answer, and those that had it, while the new items are gone through."""

    parent: Node | None
    waiting: dict[str, Item]
    answered: set[str] = attrs.field(factory=set)

    def take(self, item: Item, param: str) -> None:
        answer, call = answered_call(item), client_call(item)
        if answer is not None:
            self._answer(item, answer, param)
        elif call is not None:
            if call in self.waiting:
                message = f"The call id {_brief(call)} is used by two calls that wait for their output."
                raise RequestError(400, "duplicate_tool_call", message, param=param)
            self.waiting[call] = item

    def _answer(self, item: Item, call: str, param: str) -> None:
        asked = self.waiting.get(call)
        if asked is not None and CLIENT_CALLS[asked.type] == item.type:
            del self.waiting[call]
            self.answered.add(call)
            return
        which = f"{_words(item.type)} with call_id {_brief(call)}"
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
    """Put the items that ``item_reference`` stands for in their places.

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
    whole: list[Item] = []
    for index, item in enumerate(new):
        if isinstance(item, ItemReference):
            whole.append(_look_up(item.id, present, find, f"input[{index}].id"))
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
