"""The client: one connection to a server, and what can be done over it: a turn, a whole answer, a run with tools.

Everything is a context that owns what it starts, so that leaving it is enough to end it.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from agentwire.client.asking import Input, Offer, ToolLike, build_request
from agentwire.client.run import Plan, Run, open_run
from agentwire.client.turn import Turn
from agentwire.link import Connector, Link, LinkStatistics, open_link
from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.protocol.response import Response
from agentwire.runtime.policies import Cancel, Policy, Resume

__all__ = ["Client", "connect"]


class Client:
    """An open connection to a server; made by `connect`, which also closes it. Safe to use from many tasks.

    Attributes:
        link: the connection beneath, for whoever needs single requests and lanes.
        policy: what a lost connection means for the tools of a run.
    """

    def __init__(self, link: Link, *, model: str | None, tools: Sequence[ToolLike], policy: Policy) -> None:
        self.link = link
        self.policy = policy
        self._model = model
        self._tools = tools

    @property
    def ended(self) -> ConnectionEnded | None:
        """How the connection ended; None while it is open."""
        return self.link.ended

    async def wait_ended(self) -> ConnectionEnded:
        """Wait until the connection is over; returns how it ended."""
        return await self.link.wait_ended()

    def statistics(self) -> LinkStatistics:
        """The connection's queues and totals at this moment."""
        return self.link.statistics()

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

        Waits until the turn's lane is free. Leaving the context early ends the turn on a server that has the extension
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
            RequestLost: the connection has ended; nothing was sent.
            ...: reading the turn raises what `Turn` says.
        """
        fields |= {
            "instructions": instructions,
            "previous_response_id": previous_response_id,
            "store": store,
            "generate": generate,
            "stream_id": stream_id,
        }
        offer = Offer.of(tools)
        request = build_request(input, model=model or self._model, offer=offer, limits=self.link.limits, fields=fields)
        async with self.link.exchange(request) as exchange:
            yield Turn(exchange)

    async def respond(self, /, input: Input = (), **request: Any) -> Response:  # noqa: A002 - the wire's own name
        """Ask for one turn and wait for the whole answer; cancelled, it is abandoned.

        Args:
            input: the new items.
            request: as for `turn`.

        Returns:
            The response: ``completed``, or ``incomplete`` if it stops short.

        Raises:
            RequestError: the server refused the request, or the response failed (then it is a `ResponseError`).
            RequestLost: the connection ended first.
            LocalProtocolError: the request is not possible; nothing was sent.
        """
        async with self.turn(input, **request) as turn:
            return await turn.response()

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
        previous_response_id: str | None = None,
        store: bool = False,
        stream_id: str | None = None,
        **fields: Any,
    ) -> AsyncGenerator[Run]:
        """Let the model work with tools until it is done.

        A tool starts as soon as its call is complete, several at once; what they answer goes out when the model's turn
        is over. The run has a lane for itself. A ``tool_choice`` that forces a call counts for the first turn only.
        Leaving the context cancels the run's tools ("the run was left") and waits for their cleanup. When the
        connection is lost, the client's policy decides: `Cancel` cancels the tools at once, with a reason that says
        how the connection ended; under `Resume` they go on, and so does the run, if the server has the extension
        for that. Where it has not, or the session is lost, they have the rest of so many seconds to finish. A run that
        cannot go on ends with `RunLost`, which has their results.

        Args:
            input: the task.
            tools: functions to be run here, and tools of other kinds, in addition to the client's own.
            model: whom to ask; the client's own if left out.
            instructions: system text, sent with every turn.
            max_turns: most turns of the model.
            concurrency: most tools that run at once.
            previous_response_id: the response that the run continues.
            store: whether the server keeps the responses beyond this connection.
            stream_id: the lane; None takes one that is free.
            fields: any other member of the requests, as it is on the wire.

        Raises:
            LocalProtocolError: a tool or the request is not possible; nothing was sent.
            RequestLost: the connection has ended; nothing was sent.
            ...: reading the run raises what `Run` says.
        """
        offer = Offer.of((*self._tools, *tools))
        fields |= {"instructions": instructions, "previous_response_id": previous_response_id}
        fields |= {"store": store, "stream_id": stream_id}
        request = build_request(input, model=model or self._model, offer=offer, limits=self.link.limits, fields=fields)
        plan = Plan(
            request=request,
            toolbox=offer.toolbox,
            policy=self.policy,
            max_turns=max_turns,
            concurrency=concurrency,
        )
        async with open_run(self.link, plan) as run:
            yield run


@asynccontextmanager
async def connect(
    url: str,
    *,
    key: str | None = None,
    model: str | None = None,
    tools: Iterable[ToolLike] = (),
    on_disconnect: Policy | None = None,
    headers: Sequence[tuple[str, str]] = (),
    tls: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    sources: Sources | None = None,
    connector: Connector | None = None,
) -> AsyncGenerator[Client]:
    """Connect to a server that speaks the Responses API's WebSocket mode; leaving the context closes the connection.

    The server is told (close code 1000); a cancellation cuts the connection off at once. Losing the connection raises
    nothing here; see ``on_disconnect``.

    Args:
        url: ``ws://``, ``wss://``, ``http://`` or ``https://`` with the API's base path, such as
            ``http://127.0.0.1:8000/v1``; or ``ws+unix:///path.sock``.
        key: API key. Left out, ``AGENTWIRE_API_KEY`` of the environment is used, over TLS and on this machine, or
            ``OPENAI_API_KEY`` for OpenAI's own hosts over TLS.
        model: asked for where a turn names none; servers with one engine need none.
        tools: functions and other tools that every run has.
        on_disconnect: what a lost connection means. Under `Cancel`, the default, whatever waits for an answer is told,
            and the tools of a run are cancelled. Under `Resume`, a server with the extension for that keeps everything
            going; the client comes back to it for so many seconds, and no turn, no run and no tool notices. With any
            other server, or when that fails, whatever waits is told, and tools have their time to finish.
        headers: more headers for the upgrade request.
        tls: trust other than the system's.
        limits: bounds and deadlines.
        sources: randomness; a seeded one replays.
        connector: opens the byte stream instead of dialling; for tests and proxies.

    Raises:
        ConnectFailed: nobody could be reached.
        HandshakeRefused: the server answered, but not with a WebSocket; the text says what it said.
        ConnectionEnded: the server went away instead of answering, or said nothing within ``limits.handshake``.
        LocalProtocolError: the address, the key or a tool is not possible.
    """
    own, policy = tuple(tools), on_disconnect or Cancel()
    Offer.of(own)  # a function that is no tool is refused before anything is opened
    async with open_link(
        url,
        key=key,
        headers=headers,
        tls=tls,
        limits=limits,
        sources=sources,
        connector=connector,
        resume_within=policy.within if isinstance(policy, Resume) else None,
    ) as link:
        yield Client(link, model=model, tools=own, policy=policy)
