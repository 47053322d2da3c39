"""The context of a turn's engine steps: compacted when it has grown too long, cut where it cannot be held.

A compaction is an item of the response, made while the response runs; what came before it is not shown to the engine
again. The summary is the engine's own where it makes one, and a digest otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from agentwire.protocol.codec import encode_json, to_wire
from agentwire.protocol.compaction import seal
from agentwire.protocol.copying import changed
from agentwire.protocol.digest import digest
from agentwire.protocol.errors import EngineError, RequestError
from agentwire.protocol.items import OpenedCompaction
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.response import Usage
from agentwire.protocol.shortening import drop_oldest, fold
from agentwire.protocol.transcript import History, Memo
from agentwire.runtime.contracts import Ask, Summarized, use_nothing
from agentwire.runtime.counting import count_tokens, item_tokens, items_tokens
from agentwire.runtime.making import Output
from agentwire.runtime.service import Service
from agentwire.runtime.telling import event_parts
from agentwire.runtime.window import Window

__all__ = ["Compacted", "Context", "compact", "context_tokens", "manages_context"]

_log: Final = logging.getLogger("agentwire.turn")

LEAST_DIGEST: Final = 1000
ATTEMPTS: Final = 6
"""How often a context is cut anew before we believe that it cannot be made to fit."""


def manages_context(request: CreateRequest) -> bool:
    """Whether the client wants its context to be compacted when it is too long."""
    return request.context_management is not None


def context_tokens(service: Service, request: CreateRequest) -> int | None:
    """How many tokens the request's engine can be asked to read, if it says so."""
    most = getattr(service.engine_for(request), "context_tokens", None)
    return int(most) if most is not None else None


@attrs.frozen
class Compacted:
    """A compaction, and what it took to make it.

    Attributes:
        item: the compaction.
        usage: what was read and written for it; as counted, if no model did.
    """

    item: OpenedCompaction
    usage: Usage


async def compact(
    service: Service,
    ask: Ask,
    item_id: str,
    *,
    most: int,
    messages_apart: bool = False,
    use: Callable[[Usage], None] = use_nothing,
) -> Compacted:
    """Fold what an engine would be asked.

    Args:
        service: its engine makes the summary if it has a ``compact(ask)``.
        ask: what it would be asked; a trigger is not part of that.
        item_id: the id of the compaction.
        most: tokens that the context may have; what comes of it is about half of that at most.
        messages_apart: the user's messages stand for themselves, before the compaction.
        use: told what the engine used, whatever becomes of it.

    Raises:
        EngineError: the engine was to make the summary, and failed.
        RequestError: 400 ``compaction_too_large``: what may not be folded does not fit.
    """
    items = tuple(ask.items)
    total = await count_tokens(service.engine_for(ask.request), ask)
    room = min(most, total) // 4
    bound = service.limits.compaction_bytes
    folding = fold(items, room, item_tokens, most_bytes=bound // 4, messages_apart=messages_apart)
    made = await _summarize(service, ask, use) if folding.folded else None
    text = made.text if made is not None else digest(folding.folded, _digest_characters(service, room))
    item = seal(item_id, text, folding.kept, after_messages=messages_apart)
    usage = (made.usage if made is not None else None) or Usage(total, items_tokens(item.shown))
    if made is not None:
        use(usage)
    if len(item.encrypted_content) > bound:
        message = f"What must stay of this context has more than {bound} bytes."
        raise RequestError(400, "compaction_too_large", message, param="input")
    return Compacted(item, usage)


async def _summarize(service: Service, ask: Ask, use: Callable[[Usage], None]) -> Summarized | None:
    """The engine's own summary; None if it makes none, or could not read that much."""
    summarize = getattr(service.engine_for(ask.request), "compact", None)
    if summarize is None:
        return None
    used: list[Usage] = []
    summary = None
    try:
        made = await summarize(changed(ask, {"use": used.append}))
        if not isinstance(made, Summarized):
            raise TypeError(f"an engine's compact() returns a Summarized, not {type(made).__name__}")
        used += (made.usage,) if made.usage is not None else ()
        summary = made if made.text.strip() else None
    except EngineError as error:
        if error.code != "context_length_exceeded":
            raise
        _log.warning("response %s: the engine cannot read what it is to summarize: %s", ask.response_id, error)
    finally:
        if summary is None and used:
            use(used[-1])
    return summary


def _digest_characters(service: Service, room: int) -> int:
    """Half of the room, at four characters to a token; something must be said of a short context, too."""
    return min(service.limits.digest_characters, max(2 * room, LEAST_DIGEST))


class Context:
    """What the engine steps of one turn are shown.

    Args:
        service: engine and bounds.
        window: takes the events of compactions.
        output: takes the compactions.
    """

    def __init__(self, service: Service, window: Window, output: Output) -> None:
        self._service = service
        self._window = window
        self._output = output
        self._usage: Usage | None = None
        self._begun: dict[str, Any] | None = None

    def take_usage(self) -> Usage | None:
        """What the engine used for summaries since it was last asked."""
        usage, self._usage = self._usage, None
        return usage

    def matters(self, request: CreateRequest) -> bool:
        """Whether `prepare` may do anything."""
        return manages_context(request) or context_tokens(self._service, request) is not None

    async def prepare(self, ask: Ask) -> Ask:
        """What is really asked: compacted, if the client wants that and it is time, and of a length that fits.

        Raises:
            RequestError: 400 ``context_length_exceeded``, param ``input``.
            EngineError: the engine could not count, or not summarize.
        """
        if manages_context(ask.request):
            ask = await self._compact_if_due(ask)
        most = context_tokens(self._service, ask.request)
        if most is None:
            return ask
        total = await count_tokens(self._service.engine_for(ask.request), ask)
        if total <= most:
            return ask
        if ask.request.truncation != "auto":
            raise _too_long(total, most)
        return await self._truncate(ask, total, most)

    # Compaction

    async def _compact_if_due(self, ask: Ask) -> Ask:
        most = self._threshold(ask.request)
        if await count_tokens(self._service.engine_for(ask.request), ask) <= most:
            return ask
        if not self._is_worth_it(ask, most):
            _log.debug("response %s: nothing that can be folded makes its context short enough", ask.response_id)
            return ask
        compacted = await self.compact(ask, most)
        tail = ask.items.tail if isinstance(ask.items, History) else ask.items
        return attrs.evolve(ask, items=History(None, (*tail, compacted.item)))

    def _is_worth_it(self, ask: Ask, most: int) -> bool:
        """Whether enough can be folded, and the rest can stand in a compaction."""
        bound = self._service.limits.compaction_bytes
        folding = fold(tuple(ask.items), most // 4, item_tokens, most_bytes=bound // 4)
        return items_tokens(folding.folded) > most // 8 and 2 * len(encode_json(folding.kept)) <= bound

    def _threshold(self, request: CreateRequest) -> int:
        entry: Mapping[str, Any] = (request.context_management or ({},))[0]
        named = entry.get("compact_threshold")
        if named is not None:
            return int(named)
        usual, most = self._service.limits.compact_threshold, context_tokens(self._service, request)
        return usual if most is None else min(usual, max(most * 3 // 4, 1))

    async def compact(self, ask: Ask, most: int | None = None) -> Compacted:
        """Compact now, and say so in the response. If it raises or is cancelled, `close` is to follow.

        Raises:
            EngineError: see `compact`.
            RequestError: likewise.
        """
        most = self._threshold(ask.request) if most is None else most
        index, item_id = self._output.open(), self._service.sources.new_id("cmp")
        self._begun = {
            "output_index": index,
            "item": {"id": item_id, "type": "compaction", "encrypted_content": ""},
        }
        await self._say("response.output_item.added", self._begun)
        await self._say("response.compaction.compacting", {"item_id": item_id, "output_index": index})
        compacted = await compact(self._service, ask, item_id, most=most, use=self._use)
        await self._say("response.output_item.done", {"output_index": index, "item": to_wire(compacted.item)})
        self._begun = None
        self._output.fill(index, compacted.item)
        ask.memo.value = None
        return compacted

    def _use(self, usage: Usage) -> None:
        self._usage = usage if self._usage is None else self._usage + usage

    def close(self) -> None:
        """The response fails: a compaction that was begun will not be finished."""
        begun, self._begun = self._begun, None
        if begun is not None:
            begun = {**begun, "item": {**begun["item"], "status": "incomplete"}}
            self._window.put_nowait(*event_parts("response.output_item.done", begun))

    async def _say(self, kind: str, members: Mapping[str, Any]) -> None:
        await self._window.put(*event_parts(kind, members))

    # Truncation

    async def _truncate(self, ask: Ask, total: int, most: int) -> Ask:
        """Without the oldest items; what an engine keeps with a conversation is not kept with a part of one."""
        items = tuple(ask.items)
        whole, engine = items_tokens(ask.items), self._service.engine_for(ask.request)
        counts = getattr(engine, "count_tokens", None) is not None
        room = whole * most // total if counts else whole - (total - most)
        for _ in range(ATTEMPTS):  # the engine may count otherwise than we do
            left = drop_oldest(items, room, item_tokens)
            if left is None:
                break
            shorter = attrs.evolve(ask, items=left, memo=Memo())
            ask.memo.value = None
            counted = await count_tokens(engine, shorter)
            if counted <= most:
                return shorter
            room = min(room * most // counted, room * 9 // 10)
        raise _too_long(total, most)


def _too_long(total: int, most: int) -> RequestError:
    message = f"This model can read {most} tokens, and the context has {total}. Send less, or ask for truncation."
    return RequestError(400, "context_length_exceeded", message, param="input")
