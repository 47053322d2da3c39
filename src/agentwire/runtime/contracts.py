"""What the runtime asks of its neighbours: engines, stores and wires, as small contracts.

An engine is any async function ``(ask, out) -> Finish``; a store keeps what may be continued or replayed; a wire is
one socket (`agentwire.runtime.wire`). Nothing here does anything: the runtime is written against these, and so are
tests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Literal, Protocol

import attrs

from agentwire.protocol.checks import EMPTY
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import CustomToolCall, FunctionCall, Item, McpCall
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.response import Usage
from agentwire.protocol.tools import Tool, ToolChoice
from agentwire.protocol.transcript import Memo, Node
from agentwire.runtime.wire import ByteSource, ByteStream, Wire

__all__ = [
    "RUNNING",
    "Ask",
    "ByteSource",
    "ByteStream",
    "Engine",
    "Finish",
    "Out",
    "Phase",
    "Store",
    "Stored",
    "Summarized",
    "Wire",
]

RUNNING: Final = frozenset(("queued", "in_progress"))
"""The statuses of a response that has not ended."""

CONTINUABLE: Final = frozenset(("completed", "incomplete"))
"""The statuses of a response that another one may continue."""

IncompleteReason = Literal["max_output_tokens", "content_filter"]
Phase = Literal["commentary", "final_answer"]
"""Where in the model's work a message stands."""


def use_nothing(_: Usage) -> None:
    """Nobody counts."""


@attrs.frozen(kw_only=True, slots=False)
class Ask:
    """What an engine is asked in one step of a turn.

    Attributes:
        request: the request as the client sent it.
        items: the whole context, oldest first: history, this turn's input, and what the server's own tools did so far
            in this turn.
        new_items: this turn's input alone.
        tools: the client's tools, then the server's own. Entries for MCP servers are not among them where this server
            runs those tools itself.
        response_id: the id of the response that this turn makes.
        root_id: the id of the first response of the conversation; one conversation, one root, across forks.
        principal: who asks; part of every key to state that an engine keeps.
        step: 0 for the first engine step of the turn, one more after each round of server-run tools.
        choice: which tools may be called, by the names in ``tools``; None is as the request says it.
        names: the names in ``tools`` of what the server runs, by label and real name (see `called`).
        used_tokens: what the steps before this one have generated, as far as the engine said.
        memo: a cell for what the engine keeps with the conversation, such as what it rendered of it: ``memo.value`` is
            what was left there by the turn that this one continues, and goes on to the turns that continue this one.
        sources: ids, clock and randomness; a seeded run replays.
        limits: the bounds in force.
        use: told by a ``compact`` what it has used so far, so that a summary that fails or is cancelled is not free:
            the latest word counts, and what is returned above all. For a step there is `Out.use`.
    """

    request: CreateRequest
    items: Sequence[Item]
    new_items: Sequence[Item]
    tools: tuple[Tool, ...]
    response_id: str
    root_id: str
    principal: str
    step: int
    sources: Sources
    limits: Limits
    choice: ToolChoice | None = None
    names: Mapping[tuple[str, str], str] = attrs.field(factory=dict)
    used_tokens: int = 0
    memo: Memo = attrs.field(factory=Memo, eq=False)
    use: Callable[[Usage], None] = attrs.field(default=use_nothing, eq=False, repr=False)

    @property
    def model(self) -> str:
        """The model the client named."""
        return self.request.model

    @property
    def instructions(self) -> str | None:
        """The system text of this turn; never inherited."""
        return self.request.instructions

    @property
    def tool_choice(self) -> ToolChoice:
        """Which tools may, must or must not be called, by the names in ``tools``."""
        return self.choice or self.request.tool_choice

    def called(self, call: McpCall) -> str:
        """The name in ``tools`` of what an earlier call of the server's own has called; for rendering a history."""
        return self.names.get((call.server_label, call.name), call.name)

    @property
    def max_output_tokens(self) -> int | None:
        """The client's bound on what is generated, reasoning included: what is left of it for this step."""
        most = self.request.max_output_tokens
        return most if most is None else max(0, most - self.used_tokens)

    @property
    def text_format(self) -> Mapping[str, Any]:
        """``text.format`` of the request; ``{"type": "text"}`` where the client set none."""
        return self.request.text.format


@attrs.frozen
class Finish:
    """How an engine's step ended well.

    Attributes:
        usage: what was used, or None if the engine does not know.
        incomplete: why the output stops short; None when the model was done.
        members: of the response object, where the engine knows better than the request: who answered (``model``), the
            ``service_tier`` that was used, members that this version does not know. No others are taken.
    """

    usage: Usage | None = None
    incomplete: IncompleteReason | None = None
    members: Mapping[str, Any] = EMPTY


@attrs.frozen
class Summarized:
    """A summary that an engine made of a context.

    Attributes:
        text: the summary; it will stand for what is folded.
        usage: what it took to make it, or None if the engine does not know.
    """

    text: str
    usage: Usage | None = None


class Out(Protocol):
    """Where an engine puts its output; items open and close by themselves, so that the order is always legal.

    Every method waits while the client is slow (the turn's window is full), and that wait is a point where the turn
    may be cancelled. None is safe to call from two tasks at once.
    """

    async def text(self, piece: str, *, logprobs: Sequence[Mapping[str, Any]] = ()) -> None:
        """A piece of the assistant's message.

        Args:
            piece: any text; an empty one is no event, but begins the message.
            logprobs: of its tokens, each as the client gets it (``token``, ``bytes``, ``logprob``,
                ``top_logprobs``). Shown to clients that asked for them, and to nobody else.
        """

    async def annotation(self, raw: Mapping[str, Any]) -> None:
        """Something said about the text that is being written, such as a ``url_citation``."""

    async def begin_message(self, *, phase: Phase | None = None, id_: str | None = None) -> None:
        """What follows as text is another message.

        Args:
            phase: in which phase of the work it stands.
            id_: its id, which no other item may have, and it begins at once. Without, it begins with its text, and an
                id is made.
        """

    async def refusal(self, piece: str) -> None:
        """A piece of a refusal."""

    async def reasoning(self, piece: str) -> None:
        """A piece of raw reasoning text."""

    async def summary(self, piece: str) -> None:
        """A piece of the summary of the reasoning."""

    async def seal_reasoning(self, encrypted_content: str) -> None:
        """End the reasoning item with what the client is to hand back unread; without one, it is all there is."""

    async def call(
        self,
        name: str,
        arguments: str | Mapping[str, Any],
        *,
        call_id: str | None = None,
        custom: bool = False,
        namespace: str | None = None,
    ) -> None:
        """One whole tool call.

        What the request forbids is not made: a tool that its ``tool_choice`` does not allow fails the turn (and raises
        `EngineError` here); where ``parallel_tool_calls`` is false, the second call of a step cancels the engine, and
        the response ends well with the first.

        Args:
            name: the tool.
            arguments: JSON, or the input of a free-text tool.
            call_id: one is made if it is left out.
            custom: whether it is a free-text tool.
            namespace: of the tool, if it has one.
        """

    async def open_call(
        self, name: str, *, call_id: str | None = None, custom: bool = False, namespace: str | None = None
    ) -> None:
        """Begin a tool call whose arguments come in pieces."""

    async def arguments(self, piece: str) -> None:
        """A piece of the open call's arguments."""

    async def close_call(self) -> None:
        """End the open call."""

    async def item(self, raw: Mapping[str, Any]) -> None:
        """Any other finished item, passed through as it is (an ``id`` is added if it has none)."""

    async def open_item(self, raw: Mapping[str, Any]) -> None:
        """Begin an item of any type whose events you write yourself, with `event`, and end with `close_item`.

        For what happens in stages, such as a search, and for what another server tells. Nothing else is written until
        it is closed; what cannot be in a legal stream is refused with `LocalProtocolError`. A message that is being
        written, and has been given this id, goes on as such an item from where it stands.
        """

    async def event(self, kind: str, members: Mapping[str, Any]) -> None:
        """The next event of that item: ``response.web_search_call.searching`` and the like, or an extension (a colon).

        ``item_id``, ``output_index`` and ``sequence_number`` are filled in, whatever ``members`` says.
        """

    async def delta(self, kind: str, piece: str, *, index: int | None = None) -> None:
        """The next piece of that item's text: an `event` that has nothing but its ``delta``, and costs little.

        Args:
            kind: such as ``response.output_text.delta``.
            piece: any text; an empty one is no event.
            index: of the part (``content_index``, ``summary_index``), in an item that has parts.
        """

    async def close_item(self, raw: Mapping[str, Any]) -> None:
        """The final form of that item; it must repeat what its events said."""

    async def aside(self, kind: str, members: Mapping[str, Any]) -> None:
        """An event that is about no item and may come anywhere, such as ``codex.rate_limits`` or an extension.

        ``sequence_number`` is filled in. What has its place in a stream is refused with `LocalProtocolError`.
        """

    def together(self) -> AbstractContextManager[None]:
        """What is written inside the block leaves in one write, as far as nobody has to wait for room: for what came
        together. Inside, nothing is awaited but what writes.
        """

    def use(self, usage: Usage) -> None:
        """What this step has used so far, as far as the engine knows; a later call replaces an earlier one.

        It counts if the step does not come to return a `Finish` with its usage: because the client has gone, the turn
        was cancelled or steered, or the engine fails.
        """

    @property
    def begun(self) -> bool:
        """Whether an item of this step has begun: from then on, a second attempt would say things twice.

        It is true as well once the engine broke a rule of the request, as nothing will come of the step.
        """

    @property
    def calls(self) -> tuple[FunctionCall | CustomToolCall | McpCall, ...]:
        """The calls of this step so far."""


Engine = Callable[[Ask, Out], Awaitable[Finish | None]]
"""Return: completed. Raise: failed. Cancelled: the client has gone, or the turn was cancelled.

An engine that is an object may say more of itself, each by an attribute that it has or has not:

* ``context_tokens``: how many tokens it can be asked to read; None for as many as there are.
* ``count_tokens(ask) -> int``, async or not: how many tokens it is asked to read.
* ``async compact(ask) -> Summarized``: a summary of ``ask.items``, to stand for most of them.
* ``engine_for(request) -> Engine``: of an engine made of engines, the one that answers such a request; then that one is
  asked for the others of these. It raises `EngineError` if none does, and the request is refused.
"""


@attrs.frozen(kw_only=True)
class Stored:
    """One response at rest: what ``GET /v1/responses/{id}`` shows and what a continuation needs.

    Attributes:
        node: the conversation up to it; of a response that still runs, its input and no output.
        response: the response object as JSON.
        size: bytes that it and its request have on the wire, for a store's bound; the rest of the conversation is
            shared with other responses.
        status: the response's status.
        background: it runs on without its client; it has events at rest.
        input: the JSON of the node's own input, if it has been made already; else empty.
        output: the same of its output.
    """

    node: Node
    response: bytes
    size: int
    status: str = "completed"
    background: bool = False
    input: bytes = b""
    output: bytes = b""

    @property
    def continuable(self) -> bool:
        """True if it has ended, and neither failed nor was cancelled: the others are of no use as a parent."""
        return self.status in CONTINUABLE


class Store(Protocol):
    """Where responses rest. The principal is part of every key: another principal's response is not found.

    A store keeps as much as it has room for, and for as long as it likes; what it drops is not found any more, and
    what continues it keeps its history. Every method may be called from many tasks at once. Cancelled, it does the
    whole of its work, if need be a moment later but before anything that is asked afterwards is written, or none of it.
    Each raises `StoreError` where the store cannot be read or written now: the turn that needed it fails, nothing else.
    """

    @property
    def retains(self) -> bool:
        """False if nothing is ever kept: then every response says ``store: false``, and nothing is put."""

    async def put(self, principal: str, stored: Stored) -> None:
        """Keep one response under ``stored.node.response_id``, replacing an older version; it is kept on return.

        Responses before it that were never put are kept with it for the sake of its history, but hidden: `get` and
        `find_item` do not find them.
        """

    async def get(self, principal: str, response_id: str) -> Stored | None:
        """The response, or None if it is not here (never was, expired, or somebody else's).

        One that says that it runs, while the process that ran it has died, is shown as failed.
        """

    async def delete(self, principal: str, response_id: str) -> bool:
        """Forget it and its events; True if it was here. What continues it keeps its history."""

    async def find_item(self, principal: str, item_id: str) -> Item | None:
        """The item of that id in any response that `get` finds, the newest that has one; None if there is none."""

    async def append_events(self, principal: str, response_id: str, first: int, events: Sequence[bytes]) -> None:
        """Add events to those of a response that was put.

        Args:
            principal: whose response it is.
            response_id: which one.
            first: the ``sequence_number`` of the first of these: as many as there were before.
            events: each a whole JSON object, without a lane.

        Raises:
            ValueError: these do not follow those that are there; nothing has changed.
            LookupError: there is no such response.
        """

    async def read_events(self, principal: str, response_id: str, after: int, max_bytes: int) -> Sequence[bytes]:
        """The events after that ``sequence_number`` (-1 for all), about ``max_bytes`` of them and at least one.

        Empty if there are none yet. Events may be dropped before their response is.

        Raises:
            LookupError: there is no such response, or its events after that one are not kept any more.
        """
