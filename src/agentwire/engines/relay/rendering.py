"""A conversation's items as the input of another server, in JSON that is appended to and never rendered again.

What that server made goes back with all that it had, hidden members too, and otherwise written as it would be had it
come from a store. Everything that goes up could have been made by a client: a call of this server's own tools goes up
as a function call with its output.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, Final

import attrs

from agentwire.protocol.checks import EMPTY
from agentwire.protocol.codec import encode_item, encode_json, encode_wire
from agentwire.protocol.items import Item, McpCall, Message, Reasoning, answered_call, client_call, is_torn
from agentwire.protocol.transcript import Memo

__all__ = ["Made", "Rendered", "is_empty_thought", "render", "upward"]

NO_ANSWER: Final = "(no output)"

_NAMELESS: Final = frozenset(
    ("function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "item")
)
"""Items whose ``id`` is theirs to leave out: what pairs them is the ``call_id``. A server that does not keep responses
may refuse an id that it cannot look up, or pair it with a reasoning item that is not there."""
_OF_SERVERS: Final = frozenset(("mcp_list_tools", "mcp_approval_request", "mcp_approval_response"))


@attrs.define(eq=False)
class Made:
    """An item as the upstream made it, until it is rendered.

    Attributes:
        raw: it, as plain JSON values; None if it does not go up.
        call_id: of a call that this server answers.
    """

    raw: Mapping[str, Any] | None
    call_id: str | None = None

    def entry(self, item: Item) -> bytes:
        """Its JSON in an input: as the item is written, and behind that what nobody else was told."""
        if self.raw is None:
            return b""
        entry = dict(upward(encode_item(item)))
        for name, value in upward(self.raw).items():
            if value != entry.get(name):
                entry[name] = value
        return encode_wire(entry)


@attrs.define(eq=False)
class Rendered:
    """The input up to one item of a conversation; a chain, so that forks share what they have in common.

    Attributes:
        owner: for whom it was rendered; another upstream begins anew.
        before: what comes before it.
        entries: the JSON of each item after that; empty for one that does not go up.
        items: how many items of the conversation are in the whole chain.
        made: what the upstream made in answer to it, by the ids that the client knows.
        response_id: the upstream's name for that answer, if it keeps it.
    """

    owner: object = attrs.field(repr=False)
    before: Rendered | None = attrs.field(default=None, repr=False)
    entries: tuple[bytes, ...] = attrs.field(default=(), repr=False)
    items: int = 0
    made: dict[str, Made] = attrs.field(factory=dict, repr=False)
    response_id: str | None = None

    def all_entries(self) -> list[bytes]:
        """The JSON of all items that go up, oldest first."""
        pieces: list[tuple[bytes, ...]] = []
        link: Rendered | None = self
        while link is not None:
            pieces.append(link.entries)
            link = link.before
        entries: list[bytes] = []
        for piece in reversed(pieces):
            entries += filter(None, piece)
        return entries


def render(
    items: Sequence[Item],
    memo: Memo,
    *,
    owner: object,
    labels: Collection[str] = (),
    called: Callable[[McpCall], str] = attrgetter("name"),
) -> tuple[Rendered, tuple[bytes, ...] | None]:
    """Render a conversation, beginning where the memo says that the last request had come to.

    Args:
        items: all of it.
        memo: its cell; what is returned is left there.
        owner: for whom.
        labels: of the MCP servers that the upstream itself reaches.
        called: the name under which a tool of this server's own is offered.

    Returns:
        The whole input; and what of it is new to an upstream that keeps its responses, None if it keeps none.
    """
    size, before = len(items), memo.value
    if not isinstance(before, Rendered) or before.owner is not owner or before.items > size:
        before = None
    fresh = [*islice(reversed(items), size - before.items if before is not None else size)]
    fresh.reverse()
    writer = _Writer(before.made if before is not None else EMPTY, labels, called, fresh)
    entries = writer.entries()
    news = writer.news(entries) if before is not None and before.response_id is not None else None
    link = before if before is not None and before.items else None
    memo.value = rendered = Rendered(owner, link, entries, size)
    return rendered, news


@attrs.define(eq=False)
class _Writer:
    """Writes the items of one turn; not used again.

    Attributes:
        made: what the upstream made of earlier items, by their ids.
        labels: of the MCP servers that the upstream itself reaches.
        called: the name under which a tool of this server's own is offered.
        items: what is new in this turn, oldest first.
    """

    made: Mapping[str, Made]
    labels: Collection[str]
    called: Callable[[McpCall], str]
    items: Sequence[Item]
    _answered: frozenset[str] | None = attrs.field(default=None, init=False)

    def entries(self) -> tuple[bytes, ...]:
        """The JSON of each; calls of ours that were made together stand together, before all their outputs."""
        entries: list[bytes] = []
        outputs: list[bytes] = []
        for item in self.items:
            if isinstance(item, McpCall) and item.server_label not in self.labels:
                call, output = self._own_call(item)
                outputs.append(output)
                entries.append(call)
                continue
            if outputs:
                entries[-1] = b",".join((entries[-1], *outputs))
                outputs.clear()
            entries.append(self._entry(item))
        if outputs:
            entries[-1] = b",".join((entries[-1], *outputs))
        return tuple(entries)

    def _own_call(self, item: McpCall) -> tuple[bytes, bytes]:
        made = self.made.get(item.id or "")
        if made is not None and made.call_id is not None:
            return encode_wire(upward(made.raw or EMPTY)), _output(item, made.call_id)
        call_id = item.id or "call"
        call = {"type": "function_call", "call_id": call_id, "name": self.called(item), "arguments": item.arguments}
        return encode_json(call), _output(item, call_id)

    def _entry(self, item: Item) -> bytes:
        """Its JSON; empty if it does not go up."""
        if not self._goes_up(item):
            return b""
        made = self.made.get(item.id or "")
        return made.entry(item) if made is not None else encode_wire(upward(encode_item(item)))

    def news(self, entries: Sequence[bytes]) -> tuple[bytes, ...]:
        """The same, for an upstream that knows what it made."""
        return tuple(filter(None, map(self._new, self.items, entries)))

    def _new(self, item: Item, entry: bytes) -> bytes:
        made = self.made.get(item.id or "")
        if made is None:
            return entry
        return _output(item, made.call_id) if isinstance(item, McpCall) and made.call_id is not None else b""

    def _goes_up(self, item: Item) -> bool:
        if isinstance(item, Message):  # nearly all are
            return True
        if isinstance(item, Reasoning):
            return (item.id or "") in self.made or not is_empty_thought(encode_item(item))
        if item.type in _OF_SERVERS:
            return bool(self.labels) and encode_item(item).get("server_label", "") in ("", *self.labels)
        call_id = client_call(item)  # nobody need answer half a call, but a server would insist
        return call_id is None or not is_torn(item) or self._is_answered(call_id)

    def _is_answered(self, call_id: str) -> bool:
        if self._answered is None:
            self._answered = frozenset(filter(None, map(answered_call, self.items)))
        return call_id in self._answered


def upward(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """An item as it goes up, without an id that its server might not know, or what was put in here."""
    kind = raw.get("type")
    if kind == "custom_tool_call" and raw.get("execution") == "server":
        raw = {name: value for name, value in raw.items() if name != "execution"}
    if "id" in raw and (kind in _NAMELESS or (kind == Message.type and raw.get("role") != "assistant")):
        return {name: value for name, value in raw.items() if name != "id"}
    return raw


def is_empty_thought(raw: Mapping[str, Any]) -> bool:
    """Whether an item is reasoning of which only its id would go up, which says nothing to a server that forgot it."""
    return raw.get("type") == Reasoning.type and not raw.get("encrypted_content") and not raw.get("content")


def _output(call: McpCall, call_id: str) -> bytes:
    text = call.output if call.output is not None else NO_ANSWER
    if call.error is not None:
        text = call.error if isinstance(call.error, str) else encode_json(call.error).decode()
    return encode_json({"type": "function_call_output", "call_id": call_id, "output": text})
