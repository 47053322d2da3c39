"""What another server says while it answers becomes the output of a turn, whatever it leaves out.

One item is open at a time: what comes of others meanwhile waits for it. The end is judged when it comes; what the
terminal event says that no event has said is told then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from agentwire.engines.faults import event_fault
from agentwire.engines.relay.events import read_delta, read_event
from agentwire.engines.relay.healing import HeardItem, Thread
from agentwire.engines.relay.matching import CALLS, Heard, Matcher, item_of
from agentwire.engines.relay.owned import OwnCall
from agentwire.engines.relay.plain import Added, Begun, Completed, OfItem, PlainMessage, TextDelta, read_plain
from agentwire.protocol.checks import EMPTY
from agentwire.protocol.errors import LocalProtocolError, RemoteProtocolError, RequestError
from agentwire.protocol.irregular import read_error, read_usage
from agentwire.protocol.order import ITEM_EVENTS
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Finish, IncompleteReason, Out
from agentwire.runtime.making import id_prefix

__all__ = ["Relay"]

ADDED: Final = "response.output_item.added"
DONE: Final = "response.output_item.done"
_BEGINS: Final = frozenset(("response.created", "response.queued", "response.in_progress"))
_ENDS: Final = frozenset(
    ("response.completed", "response.incomplete", "response.failed", "response.done", "response.cancelled")
)
_SILENT: Final = frozenset(("keepalive", "ping", "heartbeat", "response.keepalive", "response.heartbeat"))
_OF_CONNECTIONS: Final = ("response.steer.", "response.inject.", "agentwire.", "agentwire:")
"""Events about the upstream's own connection; its client is this server, and nobody else."""


class Relay:
    """One upstream response on its way to the client.

    Args:
        out: where it goes.
        server: the upstream's name in what the client is told of errors.
        new_id: makes ids, each with a prefix.
        response_id: the response's id here.
        first_index: the ``output_index`` of its first item here.
        own_tools: names of tools that this server runs.
        free_text: names of the client's free-text tools, if the upstream tells what it runs itself as calls of others.
        hide: members of thoughts that are not for the client.
        keep: told of each whole item: its id here, and how the upstream has it (``call_id=...`` of a call that this
            server answers).
        taken: whether an id stands for something else in this conversation already.
        most: bytes of events that may wait for another item to end.
        estimate: what it used, by how many pieces came, where the upstream does not say.

    As a block it is one exchange: however that ends, what it used is told.

    Attributes:
        response_id: the upstream's name for the response; None until it is known.
        response: the response as the terminal event has it; None until then.
        usage: tokens, once they are known.
        sent: whether its request has begun to leave; one that has not cannot have used anything.
    """

    def __init__(
        self,
        out: Out,
        *,
        server: str,
        new_id: Callable[[str], str],
        response_id: str = "",
        first_index: int = 0,
        own_tools: Iterable[str] = (),
        free_text: Collection[str] | None = None,
        hide: Iterable[str] = (),
        keep: Callable[..., None] | None = None,
        taken: Callable[[str], bool] | None = None,
        most: int,
        estimate: Callable[[int], Usage] | None = None,
    ) -> None:
        self.response_id: str | None = None
        self.response: Mapping[str, Any] | None = None
        self.usage: Usage | None = None
        self.sent = False
        self._out = out
        self._server = server
        self._new_id = new_id
        self._here = response_id
        self._first = first_index
        self._own_tools = frozenset(own_tools)
        self._free_text = free_text
        self._hide = frozenset(hide)
        self._keep = keep
        self._taken = taken
        self._room = most
        self._estimate = estimate
        self._items = Matcher()
        self._ids: set[str] = set()
        self._call_ids: set[str] = set()
        self._open: Heard | None = None
        self._cut: Heard | None = None
        self._plain: PlainMessage | None = None  # the one that is open, if it is one
        # Where the latest piece of text went: what goes there again is not looked at any further.
        self._place: tuple[str, str | None, int | None, int | None] | None = None
        self._thread: Thread | None = None
        self._thread_index: int | None = None

    def __enter__(self) -> None:
        """Nothing is used yet."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        answers = self.response_id is not None or len(self._items.items) > 0
        left = self.sent and error is not None and not isinstance(error, Exception)
        if self.usage is None and self._estimate is not None and (answers or left):
            self._out.use(self._estimate(self._written))

    def leave(self) -> None:
        """The request begins to leave."""
        self.sent = True

    @property
    def _written(self) -> int:
        return sum(heard.written for heard in self._items)

    @property
    def ended(self) -> bool:
        """Whether the terminal event has come: nothing that follows counts."""
        return self.response is not None

    @property
    def begun(self) -> bool:
        """Whether something of it has been told."""
        return any(heard.item is not None for heard in self._items)

    async def take_all(self, payloads: Sequence[bytes]) -> None:
        """The next events, as JSON; what came together goes on together. Waits while the client is slow.

        Raises:
            EngineError: the upstream reports an error.
            RemoteProtocolError: one cannot be part of any response.
            RecursionError: one is nested too deeply.
        """
        try:
            if len(payloads) == 1:
                await self._take_each(payloads)
            else:
                with self._out.together():
                    await self._take_each(payloads)
        except (LocalProtocolError, RequestError) as error:
            raise RemoteProtocolError(f"its response cannot be told: {error}") from error

    async def _take_each(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            if self._thread is not None and await self._flow(payload):
                continue
            if self.response is not None:
                return
            event, plain = read_plain(payload), self._plain
            if isinstance(event, Begun):
                self.response_id = event.response.id
            elif isinstance(event, Completed):
                await self._end("response.completed", event.response)
            elif plain is not None and isinstance(event, OfItem) and plain.take_if_fits(event):
                if isinstance(event, TextDelta):
                    await self._out.text(event.delta)
                    plain.pieces.append(event.delta)
                elif plain.whole is not None:
                    await self._end_plain(plain, plain.whole)
            elif not isinstance(event, Added) or not await self._add_plain(event):
                await self._take(read_event(payload), len(payload))

    async def _flow(self, payload: bytes) -> bool:
        """A piece of text that goes where the one before it went; False, and nothing told, if it is anything else."""
        delta, thread = read_delta(payload), self._thread
        if delta is not None and thread is not None:
            index = delta.content_index if delta.summary_index is None else delta.summary_index
            if (delta.type, delta.item_id, delta.output_index, index) == self._place:
                await self._out.delta(delta.type, delta.delta, index=self._thread_index)
                thread.pieces.append(delta.delta)
                return True
        self._thread = None
        return False

    async def _add_plain(self, event: Added) -> bool:
        waits = self._open or self._cut or not self._items.over
        if waits or not PlainMessage.begins(event.item) or not self._is_new(event.item["id"]):
            return False
        self._plain = plain = PlainMessage(event)
        self._ids.add(plain.id)
        self._open = Heard(plain.index, {plain.id}, plain.raw, item=plain)
        self._items.add(self._open)
        await self._out.begin_message(phase=plain.raw.get("phase"), id_=plain.id)
        return True

    async def _end_plain(self, plain: PlainMessage, whole: Mapping[str, Any]) -> None:
        await self._out.begin_message()
        assert self._open is not None
        self._open.is_done = self._open.over = True
        self._open = self._plain = None
        if self._keep is not None:
            self._keep(plain.id, whole, call_id=None)

    def finish(self) -> Finish:
        """The stream is over.

        Raises:
            EngineError: the response failed.
            RemoteProtocolError: it has no end.
        """
        if self.response is None:
            raise RemoteProtocolError("it ended its answer without a terminal event")
        details = self.response.get("incomplete_details")
        incomplete = None
        if self.response.get("status") == "incomplete":
            told = details.get("reason") if isinstance(details, dict) else None
            incomplete = cast(IncompleteReason, told if isinstance(told, str) else "max_output_tokens")
        return Finish(self.usage, incomplete, self.response)

    # Events

    async def _take(self, event: Mapping[str, Any], size: int) -> None:
        kind = event["type"]
        if kind in _BEGINS:
            self._begin(event.get("response"))
        elif kind in _ENDS:
            response = event.get("response")
            if not isinstance(response, dict):
                response = event if event.get("object") == "response" else {}
            await self._end(kind, response)
        elif kind == "error":
            self._fail(event)
        elif kind == ADDED:
            await self._add(event)
        elif kind == DONE:
            await self._done(event)
        elif kind in ITEM_EVENTS:
            await self._tell(self._items.find(kind, event), event, size)
        elif kind not in _SILENT and not kind.startswith(_OF_CONNECTIONS):
            if self._plain is not None and self._open is not None and self._plain.holds:
                await self._play(self._open)  # nothing overtakes what is held
            await self._out.aside(kind, self._renamed(event))

    def _begin(self, response: Any) -> None:
        if isinstance(response, dict) and isinstance(response.get("id"), str):
            self.response_id = response["id"]

    def _renamed(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """An event that is not understood, with the ids and numbers that the client knows."""
        told = dict(event)
        if self._here and self.response_id is not None and told.get("response_id") == self.response_id:
            told["response_id"] = self._here
        heard = self._items.known(event)
        if heard is not None and heard.item is not None:
            told |= {"item_id": heard.item.id} if "item_id" in told else {}
            if "output_index" in told:
                told["output_index"] = self._first + heard.place
        return told

    def _fail(self, event: Mapping[str, Any]) -> None:
        if not self._written:
            self._estimate = None  # it refused, as far as anybody knows
        raise event_fault(self._server, read_error(event))

    # Items

    async def _add(self, event: Mapping[str, Any]) -> None:
        raw = item_of(event)
        known = self._items.same(raw, event)
        if known is None:
            known = self._items.begin(raw, event)
        elif known.item is None:  # it began without being announced
            known.raw |= raw
            self._items.name(known, raw.get("id"))
        await self._go_on()

    async def _done(self, event: Mapping[str, Any]) -> None:
        raw = item_of(event)
        heard = self._items.same(raw, event, done=True)
        if heard is None:
            shell = self._items.known({"item_id": raw.get("id")})
            if shell is not None and not shell.is_done:
                heard, raw = shell, {}  # it ends, and is called something else there
        if heard is None:
            heard = self._items.begin(raw, event)
        await self._finish(heard, raw)

    async def _finish(self, heard: Heard, raw: dict[str, Any]) -> None:
        """The upstream has said all of an item."""
        if heard.is_done:
            return
        heard.is_done, heard.final = True, raw if not heard.goes_on else {}
        if heard.item is None:
            heard.raw |= {name: value for name, value in heard.final.items() if name != "status"}
        await self._go_on()

    async def _tell(self, heard: Heard, event: Mapping[str, Any], size: int) -> None:
        """An event of an item: told now, if it is the one that is open."""
        self._items.name(heard, event.get("item_id"))
        if heard.over or heard.is_done or (heard.goes_on and not event["type"].endswith(".delta")):
            return
        if heard.item is None and heard.kind in CALLS:
            heard.raw |= {name: event[name] for name in ("name", "call_id") if isinstance(event.get(name), str)}
        heard.waiting.append(event)
        if heard is self._open:
            await self._play(heard)
            self._remember(heard, event)
            return
        await self._go_on()
        if heard.waiting:
            self._room -= size
            if self._room < 0:
                raise RemoteProtocolError("too much of its items waits for another one to end")

    def _remember(self, heard: Heard, event: Mapping[str, Any]) -> None:
        """The next piece of the same text need not be looked at so closely."""
        item, kind = heard.item, event["type"]
        if not isinstance(item, HeardItem) or not kind.endswith(".delta") or event.get("logprobs"):
            return
        thread = item.flowing(kind, event)
        if thread is not None:
            content, summary = event.get("content_index"), event.get("summary_index")
            index = content if summary is None else summary
            self._thread, self._thread_index = thread, thread.index if thread.flow.index is not None else None
            self._place = kind, event.get("item_id"), event.get("output_index"), index

    # Telling

    async def _go_on(self) -> None:
        """Tell of the items in their order, as far as it is known what there is to tell."""
        while True:
            heard = self._open
            if heard is None:
                heard = self._items.first(besides=self._cut)
                if heard is None or not heard.can_begin:
                    return
                await self._open_item(heard)
            await self._play(heard)
            if not heard.is_done:
                return
            if (heard.final or EMPTY).get("status") == "incomplete":
                self._cut, self._open = heard, None  # only the last item of an incomplete response may be
                return
            await self._close(heard)

    async def _open_item(self, heard: Heard) -> None:
        if self._cut is not None:
            await self._close(self._cut, status="completed")
        raw = heard.raw
        if heard.kind in CALLS:
            call_id = raw.get("call_id")
            if not isinstance(call_id, str) or not call_id or call_id in self._call_ids:
                raw["call_id"] = self._new_id("call")
            self._call_ids.add(raw["call_id"])
        if heard.kind == "custom_tool_call" and self._is_theirs(raw):
            raw["execution"] = "server"
        self._open = heard
        if heard.kind == "function_call" and raw["name"] in self._own_tools and raw.get("namespace") is None:
            heard.item = OwnCall(self._out, raw)
        else:
            hidden = self._hide if heard.kind == "reasoning" else ()
            heard.item = HeardItem(self._out, raw, id_=self._id_for(heard), hidden=hidden)
        await heard.item.begin()

    def _is_theirs(self, call: Mapping[str, Any]) -> bool:
        """Whether a call of a free-text tool tells of what the upstream has run itself."""
        known = self._free_text
        return known is not None and call["name"] not in known and call.get("namespace") is None

    def _id_for(self, heard: Heard) -> str:
        """The upstream's own id, unless it has used it for something else."""
        id_ = heard.raw.get("id")
        if not isinstance(id_, str) or not self._is_new(id_):
            id_ = self._new_id(id_prefix(heard.kind))
        self._ids.add(id_)
        return id_

    def _is_new(self, id_: str) -> bool:
        return bool(id_) and id_ not in self._ids and (self._taken is None or not self._taken(id_))

    async def _play(self, heard: Heard) -> None:
        if isinstance(heard.item, PlainMessage):
            self._plain = None
            heard.item = await heard.item.heal(self._out)
        assert heard.item is not None
        while heard.waiting:
            event = heard.waiting.popleft()
            await heard.item.take(event["type"], event)

    async def _close(self, heard: Heard, *, status: str | None = None) -> None:
        assert isinstance(heard.item, HeardItem | OwnCall)
        final = heard.final
        if heard.kind in CALLS and final is not None:
            final = {**final, "call_id": self._final_call_id(heard.item.raw["call_id"], final.get("call_id"))}
        whole = await heard.item.end(final, status=status)
        heard.over = heard.is_done = True
        self._open = self._cut = None
        if self._keep is not None and heard.item.id:
            theirs = {**whole, "id": heard.item.raw.get("id", heard.item.id)}
            own = theirs["call_id"] if isinstance(heard.item, OwnCall) else None
            self._keep(heard.item.id, theirs, call_id=own)
            heard.kept = theirs

    def _final_call_id(self, told: str, final: Any) -> str:
        """What a call is known by at its end: what the upstream says then, unless that says nothing or another call."""
        if final == told or not isinstance(final, str) or not final or final in self._call_ids:
            return told
        self._call_ids.add(final)
        return final

    # The end

    async def _end(self, kind: str, response: Mapping[str, Any]) -> None:
        self._begin(response)
        if isinstance(response.get("usage"), dict):
            self.usage = read_usage(response["usage"])
            self._out.use(self.usage)
        status = response.get("status")
        if kind in ("response.failed", "response.cancelled") or status in ("failed", "cancelled"):
            error = response.get("error")
            self._fail({"type": "error", "error": error if isinstance(error, dict | str) else _silent_end(kind)})
        incomplete = kind == "response.incomplete" or status == "incomplete"
        await self._tell_rest(response.get("output"), incomplete=incomplete)
        ended = "incomplete" if incomplete else "completed"
        self.response = response if status == ended else {**response, "status": ended}

    def _learn(self, heard: Heard, raw: Mapping[str, Any]) -> None:
        """What can be handed back of a thought may come with the response's end alone."""
        sealed, kept = raw.get("encrypted_content"), heard.kept
        if kept is None or heard.item is None or self._keep is None or not sealed or kept.get("encrypted_content"):
            return
        self._keep(heard.item.id, {**kept, "encrypted_content": sealed}, call_id=None)

    async def _tell_rest(self, output: Any, *, incomplete: bool) -> None:
        """What the terminal event says of items that have not ended, or that no event has told of."""
        for heard, raw in self._items.in_end(output) if isinstance(output, list) else ():
            if heard is None and self._items.items and _says_nothing(raw):
                continue
            if heard is not None and heard.is_done:
                self._learn(heard, raw)
            await self._finish(heard or self._items.begin(raw, EMPTY), raw)
        if self._items.over:
            return
        for heard in self._items:
            if not heard.is_done:
                heard.is_done = True
                if incomplete and heard is self._items.items[-1]:
                    heard.final = {"status": "incomplete"}
        await self._go_on()
        if self._cut is not None:
            await self._close(self._cut, status="incomplete" if incomplete else "completed")
            await self._go_on()
        if not self._items.over:
            raise RemoteProtocolError("it called a tool without saying which")


def _says_nothing(raw: Mapping[str, Any]) -> bool:
    """Whether an item is a message without a word, such as some put where they have lost what there was."""
    if raw["type"] != "message":
        return False
    return not any(part.get("text", part) if isinstance(part, dict) else part for part in raw["content"])


def _silent_end(kind: str) -> Mapping[str, Any]:
    verb = "was cancelled" if kind == "response.cancelled" else "failed"
    return {"code": "upstream_error", "message": f"The response {verb} at the model's server, which did not say why."}
