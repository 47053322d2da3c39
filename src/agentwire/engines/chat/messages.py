"""A conversation's items as the messages of a chat server, in JSON.

What was rendered is kept with the conversation and appended to, never rebuilt: a turn costs its new items, and two
requests of one conversation share their bytes, as the server's prompt cache wants it. How often a conversation was cut
into turns makes no difference to its bytes, but where the user spoke on both sides of a cut and may not speak twice.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, Final

import attrs

from agentwire.engines.chat.dialect import ChatDialect
from agentwire.engines.chat.groups import NO_ANSWER, CallAnswer, Group
from agentwire.engines.chat.ids import call_id_of
from agentwire.engines.chat.order import Arranged
from agentwire.engines.chat.parts import UnsupportedContent, attachments, content_of, picture_of, plain
from agentwire.engines.chat.thoughts import Style, Thought, thought_of
from agentwire.engines.offering import Catalogue, answer_text, as_function, between_agents, in_words, tools_in
from agentwire.protocol.codec import encode_json, encode_wire
from agentwire.protocol.items import (
    CustomToolCallOutput,
    FunctionCallOutput,
    Item,
    McpCall,
    Message,
    OpaqueItem,
    Reasoning,
    answered_call,
)
from agentwire.protocol.tools import OpaqueTool
from agentwire.protocol.transcript import Memo

__all__ = ["Prompt", "Rendered", "render"]

_log = logging.getLogger("agentwire.engine")

_NO_STYLE: Final = Style()
_ANY: Final = ChatDialect()
_OWN_NAME: Final = attrgetter("name")


@attrs.define(eq=False)
class Rendered:
    """The messages of a conversation up to one of its items; a chain, so that forks share what they have in common.

    Attributes:
        before: the messages before these.
        json: these messages, with commas between them.
        items: how many items of the conversation are in all the messages together.
        lead: what the system says before the first message of anybody else.
        late: tools that were offered by an item.
        calls: the ids of the calls in these messages.
        last: the role of the last message; empty if there is none.
    """

    before: Rendered | None = attrs.field(default=None, repr=False)
    json: bytes = attrs.field(default=b"", repr=False)
    items: int = 0
    lead: tuple[str, ...] = ()
    late: tuple[OpaqueTool, ...] = ()
    calls: frozenset[str] = frozenset()
    last: str = ""

    def chain(self) -> Iterator[Rendered]:
        """This piece and those before it, newest first."""
        piece: Rendered | None = self
        while piece is not None:
            yield piece
            piece = piece.before

    def knows(self, call_id: str) -> bool:
        """Whether a call of that id is in the conversation already."""
        return any(call_id in piece.calls for piece in self.chain())


_NOTHING: Final = Rendered()


@attrs.define(eq=False)
class Prompt:
    """A whole conversation, ready to be sent.

    Attributes:
        rendered: what will not change any more.
        tail: a message of the assistant at the end, to which the next turn may add; empty if there is none.
        dialect: what the server takes.
    """

    rendered: Rendered
    tail: bytes = b""
    dialect: ChatDialect = _ANY

    def messages(self, *system: str | None) -> bytes:
        """The JSON of ``messages``, without its brackets.

        Args:
            system: what the system says first; together with what the conversation begins with it is one message,
                because many models know only one, and only at the start.
        """
        pieces = [self.tail]
        piece: Rendered | None = self.rendered
        while piece is not None:
            pieces.append(piece.json)
            piece = piece.before
        if said := "\n\n".join(filter(None, (*system, *self.rendered.lead))):
            pieces.append(encode_wire({"role": "system", "content": said}))
        return b",".join(filter(None, reversed(pieces)))

    def followed_by(self, words: str) -> bytes:
        """What comes behind the messages where the user says these words."""
        order = Arranged(self.dialect.order, "assistant" if self.tail else self.rendered.last)
        said = (*order.take({"role": "user", "content": words}), *order.rest())
        return b",".join(map(encode_wire, said))


def render(
    items: Sequence[Item],
    memo: Memo,
    *,
    known: Catalogue | None = None,
    new: Sequence[Item] = (),
    style: Style = _NO_STYLE,
    dialect: ChatDialect = _ANY,
    called: Callable[[McpCall], str] = _OWN_NAME,
) -> Prompt:
    """Render a conversation, beginning where the memo says that the last turn had come to.

    Args:
        items: the conversation.
        memo: the cell that goes with it.
        known: its tools, as calls name them; those that items bring are added to it.
        new: those of the items that the client's request brought.
        style: how reasoning goes back.
        dialect: what the server takes.
        called: the name of the tool that a call of the server's own has called.

    Raises:
        EngineError: 400 ``unsupported_content``: there is something in it that no chat server can be told.
    """
    size, done = len(items), memo.value
    if not isinstance(done, Rendered) or done.items > size:
        done = _NOTHING
    fresh = [*islice(reversed(items), size - done.items)]
    fresh.reverse()
    try:
        prompt = _Writer(done, fresh, known or Catalogue(), style=style, dialect=dialect, called=called).finish()
    except UnsupportedContent as error:
        raise error.told(new) from error
    memo.value = prompt.rendered
    return prompt


class _Writer:
    """Goes through the new items once; a call is written together with its answer, wherever that stands."""

    def __init__(
        self,
        done: Rendered,
        fresh: Sequence[Item],
        known: Catalogue,
        *,
        style: Style,
        dialect: ChatDialect,
        called: Callable[[McpCall], str],
    ) -> None:
        self._done = done
        self._dialect = dialect
        self._order = Arranged(dialect.order, done.last)
        self._known = known
        self._style = style
        self._called = called
        self._pieces: list[bytes] = []
        self._calls: set[str] = set()
        self._lead = list(done.lead)
        others = [item for item in fresh if not isinstance(item, Message)]  # nearly all are messages
        self._late = (*done.late, *filter(None, map(tools_in, others)))
        known.add(self._late)
        self._group: Group | None = None
        self._answers = _answers_in(others, known)
        self._at = done.items
        for self._at, item in enumerate(fresh, done.items):
            self._take(item)
        self._end = done.items + len(fresh)

    def finish(self) -> Prompt:
        """Everything is written but a last message of the assistant, which may yet get calls or more text."""
        group, end = self._group, self._end
        tail = b""
        if group is not None and not group.call_ids:
            end, tail = group.start, b",".join(map(encode_wire, group.messages()))
        else:
            self._close()
        self._pieces += map(encode_wire, self._order.rest())
        done, lead, late = self._done, tuple(self._lead), self._late
        if not self._pieces:
            return Prompt(attrs.evolve(done, items=end, lead=lead, late=late), tail, self._dialect)
        json, calls, last = b",".join(self._pieces), frozenset(self._calls), self._order.last
        rendered = Rendered(done if done.json else None, json, end, lead, late, calls, last)
        return Prompt(rendered, tail, self._dialect)

    def _take(self, item: Item) -> None:
        if isinstance(item, Message):
            self._message(item)
        elif (call := as_function(item, self._known)) is not None:
            self._call(*call)
        elif isinstance(item, McpCall):
            self._server_call(item)
        elif isinstance(item, Reasoning):
            self._think(thought_of(item))
        elif answered_call(item) is not None:
            self._close()
        elif isinstance(item, OpaqueItem):
            self._opaque(item)
        else:
            _log.debug("an item of type %s is not shown to a chat server", item.type)

    def _message(self, message: Message) -> None:
        if message.role == "assistant":
            if text := message.text:
                self._open().say(text)
            return
        self._close()
        if message.role == "user":
            self._put({"role": "user", "content": content_of(message)})
        else:
            self._system(message)

    def _system(self, message: Message) -> None:
        """Text alone, as chat servers have it; images and files come right behind it, as the user's."""
        text, attached = plain(message.content), attachments(message)
        if not self._order.last:
            self._lead.append(text)
        elif text:
            self._put({"role": "system", "content": text})
        if attached:
            self._put({"role": "user", "content": attached})

    def _think(self, thought: Thought | None) -> None:
        if thought is not None:  # a signature goes back in its call even where the rest does not
            self._open().think(thought)
        else:
            _log.debug("an item of type reasoning is not shown to a chat server")

    def _call(self, call_id: str, name: str, arguments: str) -> None:
        answers = self._answers.get(call_id)
        answer = answers.popleft() if answers else CallAnswer(NO_ANSWER)
        self._open().call(call_id_of(call_id, self._dialect.call_ids), name, arguments, answer)

    def _server_call(self, item: McpCall) -> None:
        """A call of the server's own, with its answer: the message ends here, so that what follows only adds to it."""
        text = item.output if item.output is not None else NO_ANSWER
        if item.error is not None:
            text = item.error if isinstance(item.error, str) else encode_json(item.error).decode()
        call_id = call_id_of(item.id or f"call_{self._at}", self._dialect.call_ids)
        self._open().call(call_id, self._known.name_of(self._called(item)), item.arguments, CallAnswer(text))
        self._close()

    def _opaque(self, item: OpaqueItem) -> None:
        words = in_words(item)
        if (message := between_agents(item)) is not None:
            self._message(message)
        elif words is not None and item.type.endswith("_output"):
            self._close()
            self._put({"role": "user", "content": words})
        elif words is not None:
            self._open().say(words)
        elif item.type == "additional_tools":
            self._close()
        else:
            _log.debug("an item of type %.64r is not shown to a chat server", item.type)

    def _open(self) -> Group:
        if self._group is None:
            self._group = Group(self._at, self._style, self._dialect.no_text)
        return self._group

    def _close(self) -> None:
        group, self._group = self._group, None
        if group is not None:
            self._calls.update(group.call_ids)
            for message in group.messages():
                self._put(message)

    def _put(self, message: Mapping[str, Any]) -> None:
        self._pieces += map(encode_wire, self._order.take(message))


def _answers_in(items: Sequence[Item], known: Catalogue) -> dict[str, deque[CallAnswer]]:
    """The answers by the calls that they are for; one id may be used again once it was answered."""
    found: dict[str, deque[CallAnswer]] = {}
    for item in items:
        call_id = answered_call(item)
        if call_id is not None:
            found.setdefault(call_id, deque()).append(_answer(item, known))
    return found


def _answer(item: Item, known: Catalogue) -> CallAnswer:
    if isinstance(item, FunctionCallOutput | CustomToolCallOutput):
        return CallAnswer(plain(item.output), attachments(item))
    assert isinstance(item, OpaqueItem)
    return CallAnswer(answer_text(item, known), picture_of(item))
