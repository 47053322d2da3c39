"""What is known of a conversation before it goes up: its request, and the upstream's response that it continues.

A turn that continues another one finds that in the conversation's memo. Every other one may be the history of a client
that sends it whole each time, and is looked up by what it says, as far as it is new to us.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import attrs

from agentwire.engines.relay.asking import Asking
from agentwire.engines.relay.rendering import Rendered
from agentwire.engines.wire.index import ChainIndex, Transcript, settings_key
from agentwire.protocol.codec import encode_item
from agentwire.protocol.copying import changed
from agentwire.protocol.items import Item
from agentwire.protocol.transcript import Memo
from agentwire.runtime.contracts import Ask

__all__ = ["Conversation", "open_conversation"]


@attrs.frozen
class _Kept:
    """What rests with a conversation.

    Attributes:
        owner: the engine that left it there.
        rendered: the input so far.
        transcript: what it says.
    """

    owner: object
    rendered: Rendered
    transcript: Transcript


@attrs.define(eq=False)
class Conversation:
    """One step's request, and what it may continue.

    Attributes:
        asking: the request; it names what it continues, if that is known, by its `Seat.mark`.
        transcript: all that is asked, as a client sends it.
        settings: of the request, and whose it is, as one digest.
        found: whether the history was recognized by what it says.
        made: what the upstream said in answer, item by item, by their ids here: the latest word on each.
    """

    asking: Asking
    transcript: Transcript
    settings: bytes
    found: bool = False
    made: dict[str, Mapping[str, Any]] = attrs.field(factory=dict)

    def keep(self, item_id: str, raw: Mapping[str, Any], *, call_id: str | None = None) -> None:
        """The upstream made this item; see `Asking.keep`."""
        self.made[item_id] = raw
        self.asking.keep(item_id, raw, call_id=call_id)

    def end(self, mark: str | None, index: ChainIndex) -> None:
        """The upstream's answer is whole, and is called so in the pool's books."""
        self.asking.keep_response(mark)
        if mark is not None:
            index.put(self.settings, self.transcript.extend(self.made.values()).mark, mark)


def open_conversation(
    ask: Ask, *, owner: object, model: str | None, store: bool, index: ChainIndex, reaches: Callable[[str], bool]
) -> Conversation:
    """Read what is asked; costs what is new in it, and the whole of a history that comes as one.

    Args:
        ask: what is asked; its memo is replaced.
        owner: the engine.
        model: the name that the upstream knows its model by.
        store: whether the upstream keeps its responses.
        index: of the conversations that the upstream has.
        reaches: whether the upstream has a response still.
    """
    kept = ask.memo.value
    if not isinstance(kept, _Kept) or kept.owner is not owner or kept.transcript.count > len(ask.items):
        kept = _Kept(owner, Rendered(owner), Transcript())
    memo, before = Memo(kept.rendered), kept.transcript
    asking = Asking.of(changed(ask, {"memo": memo}), owner=owner, model=model, stateful=store, remembers=True)
    # a later step states less of these two, and the next request what the client stated
    own = {"max_output_tokens": ask.request.max_output_tokens, "tool_choice": ask.tool_choice.raw}
    settings = settings_key(ask.principal, asking.model, {**asking.settings, **own})
    known, fresh = asking.previous_response_id, _since(ask.items, before.count)
    if known is not None and reaches(known):
        conversation = Conversation(asking, before.extend(_raw(fresh)), settings)
    else:
        states = [before, *before.marks(_raw(fresh))]
        hit = index.find(settings, [state.mark for state in states[1:-1]], reaches)
        conversation = Conversation(_continuing(asking, len(ask.items), hit), states[-1], settings, hit is not None)
    ask.memo.value = _Kept(owner, asking.rendered, conversation.transcript)
    return conversation


def _continuing(asking: Asking, length: int, hit: tuple[str, int] | None) -> Asking:
    """The request that says what comes after so many items, which the upstream has under this id."""
    if hit is None:
        return asking.in_full()
    response_id, count = hit
    news = tuple(filter(None, asking.rendered.entries[count - length :]))
    return attrs.evolve(asking, previous_response_id=response_id, news=news)


def _since(items: Sequence[Item], count: int) -> list[Item]:
    """What comes after so many items, without looking at those."""
    return [*islice(reversed(items), len(items) - count)][::-1]


def _raw(items: Iterable[Item]) -> Iterable[Mapping[str, Any]]:
    return map(encode_item, items)
