"""The client: a line to a server, and what can be done over it: a turn, a whole answer, a run with tools.

It lives for hours, over as many connections as that takes; what was said over one can be continued over the next.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from agentwire.client.asker import Asker
from agentwire.client.asking import Offer, ToolLike
from agentwire.client.choices import check_choice, check_policy
from agentwire.client.lane import Lane, open_lane
from agentwire.client.means import Means
from agentwire.client.memory import Memory
from agentwire.client.repeating import Repeat, Repeats
from agentwire.client.sub_agents import SubAgent, make_sub_agent
from agentwire.link import Connector, Line, LinkStatistics, open_line
from agentwire.link.choosing import Transport
from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.policies import Policy, Resume
from agentwire.runtime.tools.local import Rerun

__all__ = ["PATIENT", "Client", "connect"]

PATIENT: Final = Resume(within=60)
"""What a lost connection means if nobody says otherwise. A minute outlasts the restart of a server, a change of the
network and a proxy's hiccup; whoever waits for longer is better told. An agent that dies with its socket is what nobody
wants."""


class Client(Asker):
    """A client of one server; made by `connect`, which also closes it. Safe to use from many tasks.

    Attributes:
        means: what its turns and runs ask with.
        lease: None: each turn and each run has a lane of its own.
    """

    def __init__(self, means: Means, *, model: str | None, tools: Sequence[ToolLike]) -> None:
        super().__init__(means, model=model, tools=tools, lease=None)

    @asynccontextmanager
    async def lane(self, name: str | None = None) -> AsyncGenerator[Lane]:
        """Lease a lane, for an agent of its own beside all others on the connection; given back when it is left.

        A connection has names for ``limits.lanes`` lanes (Responses WebSocket guide: 32) in its life. Waits until one
        is free; the lease goes on on the next connection.

        Args:
            name: 1 to 256 characters of ``[A-Za-z0-9_.-]``; None for any that nobody has named.

        Raises:
            LocalProtocolError: the name is not possible, or is one more than the connection may have.
            ConnectionEnded: the client has ended.
            ConnectFailed, HandshakeRefused: the server cannot be reached any more.
        """
        async with open_lane(self.means, name, model=self._model, tools=self._tools) as lane:
            yield lane

    def sub_agent(
        self,
        /,
        name: str,
        *,
        description: str | None = None,
        instructions: str | None = None,
        tools: Iterable[ToolLike] = (),
        model: str | None = None,
        max_turns: int = 50,
        timeout: float | None = None,  # noqa: ASYNC109 - a policy of the tool, like that of `agentwire.tool`
        rerun: Rerun = "never",
        **request: Any,
    ) -> SubAgent:
        """A tool that is an agent: each call of it is a run of its own, on a lane of its own.

        Offer it in ``tools`` of a run. Its runs go on beside that run and beside each other, end with it, and their
        usage is in its summary (``sub_usage``). Runs may be nested ``limits.nested_runs`` deep. A run that fails is
        told to the model that called it.

        Args:
            name: what the model calls it.
            description: what that model is told of it.
            instructions: what the agent is told.
            tools: what it may use, in addition to the client's own.
            model: whom to ask; the client's own if left out.
            max_turns: most turns of one call.
            timeout: seconds that one call may take; None is ``limits.tool_seconds``.
            rerun: whether a call may run a second time when nobody knows how the first one ended.
            request: as for `run`.

        Raises:
            LocalProtocolError: the name or a tool is not possible.
        """
        own = tuple(tools)
        Offer.of((*self._tools, *own))  # what cannot be a tool is refused here, and not when a model calls
        request |= {"instructions": instructions, "model": model, "max_turns": max_turns}
        return make_sub_agent(
            self, name, description=description, tools=own, timeout=timeout, rerun=rerun, request=request
        )

    @property
    def line(self) -> Line:
        """Its line to the server, for whoever needs the connection itself."""
        return self.means.line

    @property
    def memory(self) -> Memory:
        """The conversations that it can say again."""
        return self.means.memory

    @property
    def policy(self) -> Policy:
        """What a lost connection means."""
        return self.means.policy

    @property
    def ended(self) -> ConnectionEnded | None:
        """How it ended (closed, or, under the policy `Cancel`, with its connection); None while it can be used."""
        return self.line.ended

    async def wait_ended(self) -> ConnectionEnded:
        """Wait until it has ended; returns how."""
        return await self.line.wait_ended()

    def statistics(self) -> LinkStatistics:
        """Queues and totals of the latest connection at this moment; those of the line are `line`'s."""
        return self.line.current.statistics()


@asynccontextmanager
async def connect(
    url: str,
    *,
    key: str | None = None,
    model: str | None = None,
    tools: Iterable[ToolLike] = (),
    on_disconnect: Policy = PATIENT,
    repeat: Repeat = "safe",
    headers: Sequence[tuple[str, str]] = (),
    tls: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    sources: Sources | None = None,
    connector: Connector | None = None,
    proxy: str | None = "environment",
    transport: Transport = "auto",
) -> AsyncGenerator[Client]:
    """Connect to a server that speaks the Responses API's WebSocket mode; leaving the context closes the connection.

    The server is told (close code 1000); a cancellation cuts the connection off at once. A server that cannot be
    reached now is an error now. Losing the connection later raises nothing here; see ``on_disconnect``.

    Args:
        url: ``ws://``, ``wss://``, ``http://`` or ``https://`` with the API's base path, such as
            ``http://127.0.0.1:8000/v1``; or ``ws+unix:///path.sock``.
        key: API key. Left out, ``AGENTWIRE_API_KEY`` of the environment is used, over TLS and on this machine, or
            ``OPENAI_API_KEY`` for OpenAI's own hosts over TLS.
        model: asked for where a turn names none; servers with one engine need none.
        tools: functions and other tools that every run has.
        on_disconnect: what a lost connection means. Under `Resume`, the default (`PATIENT`), the client opens another
            one, with growing pauses, and gives up whatever waits for it after so many seconds. A server with the
            extension for that keeps everything going meanwhile, and no turn, no run and no tool notices. With any other
            server, conversations are said in full again, runs go on from what they have, and a turn that was lost
            is asked again or told, see ``repeat``. Under `Cancel`, the connection is the only one: with it, every turn
            ends, and the tools of a run are cancelled.
        repeat: which turns are asked again where nobody knows what became of them: ``safe``, those for which the server
            runs no tools of its own and stores nothing; ``always`` all; ``never`` none.
        headers: more headers for the upgrade request.
        tls: trust other than the system's.
        limits: bounds and deadlines.
        sources: randomness; a seeded one replays.
        connector: opens the byte stream instead of dialling; for tests.
        proxy: an HTTP proxy's address, through which everything goes; or ``environment``, for the one that
            ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` name; or None.
        transport: ``auto`` goes over HTTP where the server has no WebSocket, and tries the WebSocket again from time to
            time; ``websocket`` and ``http`` are the only one.

    Raises:
        ConnectFailed: nobody could be reached.
        HandshakeRefused: the server answered, but neither with a WebSocket nor in a way that says that it has none;
            the text says what it said.
        ConnectionEnded: the server went away instead of answering, or said nothing within ``limits.handshake``.
        LocalProtocolError: the address, the key, a tool or another argument is not possible.
    """
    own, limits, sources = tuple(tools), limits or Limits(), sources or Sources.system()
    Offer.of(own)  # a function that is no tool is refused before anything is opened
    check_choice("repeat", repeat, Repeat)
    check_choice("transport", transport, Transport)
    check_policy(on_disconnect)
    async with open_line(
        url,
        key=key,
        headers=headers,
        tls=tls,
        limits=limits,
        sources=sources,
        connector=connector,
        proxy=proxy,
        transport=transport,
        resume_within=on_disconnect.within if isinstance(on_disconnect, Resume) else None,
        reopens=isinstance(on_disconnect, Resume),
    ) as line:
        repeats = Repeats(repeat, limits, sources.random)
        means = Means(line, Memory(limits.remembered_bytes), repeats, on_disconnect)
        yield Client(means, model=model, tools=own)
