"""Whoever can ask: a client, or one of its lanes; for a turn, a whole answer, or a run with tools.

Everything is a context that owns what it starts, so that leaving it is enough to end it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs

from agentwire.client.asking import Input, Offer, ToolLike, build_request
from agentwire.client.journal import Journal
from agentwire.client.means import Means
from agentwire.client.plan import Plan, ToolErrors, Unknown
from agentwire.client.recovery import Prompt
from agentwire.client.run import Run, open_run
from agentwire.client.turn import Turn
from agentwire.link.lease import Lease
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.response import Response

__all__ = ["Asker"]


class Asker:
    """Asks a server; see `agentwire.Client`.

    Args:
        means: what it asks with.
        model: asked for where a turn names none.
        tools: that every run has.
        lease: the lane to ask on; None takes one for each turn and each run.
    """

    def __init__(self, means: Means, *, model: str | None, tools: Sequence[ToolLike], lease: Lease | None) -> None:
        self.means = means
        self.lease = lease
        self._model = model
        self._tools = tools

    @asynccontextmanager
    async def turn(
        self,
        /,
        input: Input = (),  # noqa: A002 - the wire's own name
        *,
        model: str | None = None,
        instructions: str | None = None,
        tools: Iterable[ToolLike] = (),
        previous_response_id: str | None = None,
        store: bool = False,
        generate: bool = True,
        stream_id: str | None = None,
        **fields: Any,
    ) -> AsyncGenerator[Turn]:
        """Ask for one turn and have its events as they come.

        Waits until there is a connection and the turn's lane is free. Where the connection is lost before any event of
        the turn was read, it is asked again by itself if that can do no harm; later, what happened is said, and
        `Turn.ask_again` is the caller's to call. A response that the server has forgotten, with its connection perhaps,
        is continued by saying the whole conversation, as far as it went over this client.

        Leaving the context early ends the turn on a server that has the extension
        for that. Any other server may go on, and nobody sees what still comes (Responses WebSocket guide: there is no
        event that cancels a response).

        Args:
            input: the new items; nothing of earlier turns but what ``previous_response_id`` brings.
            model: whom to ask; the client's own if left out.
            instructions: system text of this turn alone.
            tools: offered to the model; nothing is run here, calls are the caller's to answer (see `run`).
            previous_response_id: the response that this turn continues.
            store: whether the server keeps the response beyond this connection.
            generate: False prepares the server for the turns to come, and runs no model.
            stream_id: the lane; None takes one that is free. Turns on one lane run one after the other.
            fields: any other member of the request, as it is on the wire.

        Raises:
            LocalProtocolError: the request is not possible; nothing was sent.
            RequestLost: there is no connection any more; nothing was sent.
            ...: reading the turn raises what `Turn` says.
        """
        fields |= {"instructions": instructions, "previous_response_id": previous_response_id}
        fields |= {"store": store, "generate": generate, "stream_id": stream_id}
        prompt = self._prompt(input, model, Offer.of(tools), fields)
        async with self.means.ask(prompt, lease=self.lease) as turn:
            yield turn

    async def respond(self, /, input: Input = (), **request: Any) -> Response:  # noqa: A002 - the wire's own name
        """Ask for one turn and wait for the whole answer; cancelled, it is abandoned.

        An answer that is lost on its way is asked for again, from the start, where that can do no harm.

        Args:
            input: the new items.
            request: as for `turn`.

        Returns:
            The response: ``completed``, or ``incomplete`` if it stops short.

        Raises:
            RequestError: the server refused the request, or the response failed (then it is a `ResponseError`).
            RequestLost: the connection was lost, and the turn could not be asked again.
            LocalProtocolError: the request is not possible; nothing was sent.
        """
        async with self.turn(input, **request) as turn:
            return await turn.response()

    async def warm_up(self, /, input: Input = (), **request: Any) -> Response:  # noqa: A002 - the wire's own name
        """Prepare the server for the turns to come: it reads instructions, tools and input, and runs no model.

        Continue the response that this returns, perhaps with no input of its own, by a turn or a run; on another
        connection, too, where all of it is said again.

        Args:
            input: the items that the conversation begins with.
            request: as for `turn`.

        Returns:
            A response without output (Responses WebSocket guide, ``generate: false``).

        Raises:
            RequestError: also over HTTP, which knows no warm-ups (400, param ``generate``).
            ...: what `respond` raises.
        """
        return await self.respond(input, generate=False, **request)

    @asynccontextmanager
    async def run(
        self,
        /,
        input: Input = (),  # noqa: A002 - the wire's own name
        *,
        tools: Iterable[ToolLike] = (),
        model: str | None = None,
        instructions: str | None = None,
        max_turns: int = 50,
        concurrency: int = 8,
        compact_at: int | None = None,
        journal: Journal | str | os.PathLike[str] | None = None,
        key: str | None = None,
        tool_errors: ToolErrors = "tell",
        unknown: Unknown = "tell",
        previous_response_id: str | None = None,
        store: bool = False,
        stream_id: str | None = None,
        **fields: Any,
    ) -> AsyncGenerator[Run]:
        """Let the model work with tools until it is done.

        A tool starts as soon as its call is complete, several at once; what they answer goes out when the model's turn
        is over. The run has a lane for itself. A ``tool_choice`` that forces a call counts for the first turn only.
        Leaving the context cancels the run's tools ("the run was left") and waits for their cleanup.

        What happens to the connection is the run's own affair: its tools go on, and its history is its own, so that it
        can go on wherever there is a server. A turn that is lost in the middle costs that turn: the calls that it has
        made stand, or it is asked again (`TurnLost` says which). Only under the policy `Cancel` does a lost connection
        end the run, its tools at once. A run that cannot go on ends with `RunLost`, which has all results.

        Args:
            input: the task.
            tools: functions to be run here, and tools of other kinds, in addition to the client's own.
            model: whom to ask; the client's own if left out.
            instructions: system text, sent with every turn.
            max_turns: most turns of the model.
            concurrency: most tools that run at once.
            compact_at: tokens of context, at least 1000, beyond which the server folds what is old into one item
                (``context_management``). A server that refuses to is asked without it.
            journal: the file in which the run is written down, or an open journal: what was said in it, and how far
                each call has come, before it goes there. A process that is started again with the same journal, key,
                input and tools goes on where the last one was, and no tool runs twice.
            key: the run's name in the journal; one process at a time can have it.
            tool_errors: what an exception of a tool means: ``tell``, the model is told its type and text;
                ``tell_type``, the type alone; ``raise``, the run ends with `ToolFailed`. The model is always told of a
                `ToolError`.
            unknown: what it means that a call was running when an earlier process died, and its tool is not
                ``rerun="safe"``: ``tell``, the model is told that nobody knows what it did; ``raise``, the run ends
                with `CallUnknown`.
            previous_response_id: the response that the run continues.
            store: whether the server keeps the responses beyond this connection.
            stream_id: the lane; None takes one that is free.
            fields: any other member of the requests, as it is on the wire.

        Raises:
            LocalProtocolError: a tool or the request is not possible; nothing was sent.
            RequestLost: the client's only connection has ended, or it was closed; nothing was sent.
            JournalError: the journal cannot be used, or not with this key; nothing was sent.
            ...: reading the run raises what `Run` says.
        """
        if compact_at is not None:
            fields["context_management"] = [{"type": "compaction", "compact_threshold": compact_at}]
        offer = Offer.of((*self._tools, *tools), reveal="type" if tool_errors == "tell_type" else "message")
        fields |= {"instructions": instructions, "previous_response_id": previous_response_id}
        fields |= {"store": store, "stream_id": stream_id}
        request = self._prompt(input, model, offer, fields).request
        plan = Plan(
            request=request,
            toolbox=offer.toolbox,
            max_turns=max_turns,
            concurrency=concurrency,
            key=key,
            journal=journal,
            tool_errors=tool_errors,
            unknown=unknown,
            compacts=compact_at is not None,
        )
        async with open_run(self.means, plan, lease=self.lease) as run:
            yield run

    def _prompt(self, given: Input, model: str | None, offer: Offer, fields: Mapping[str, Any]) -> Prompt:
        """What to ask; after a warm-up, with what that has prepared, where nothing else is said."""
        if self.lease is not None and fields.get("stream_id") is not None:
            raise LocalProtocolError("what is asked on a lane runs there: it takes no stream_id")
        request = build_request(given, model=model or self._model, offer=offer, limits=self.means.limits, fields=fields)
        prompt = self.means.prompt(request)
        prepared = prompt.parent.warm_up if prompt.parent is not None else None
        if prepared is None:
            return prompt
        return attrs.evolve(prompt, request=_prepared(request, prepared, named=bool(model or self._model)))


def _prepared(request: CreateRequest, prepared: CreateRequest, *, named: bool) -> CreateRequest:
    """Settings are never inherited (Responses WebSocket guide), so what a warm-up has prepared is said once more."""
    return attrs.evolve(
        request,
        model=request.model if named else prepared.model,
        instructions=request.instructions if request.instructions is not None else prepared.instructions,
        tools=request.tools or prepared.tools,
    )
