"""The client for plain Python: calls that block, iterators, and ``with``, over one Trio loop in a thread of its own.

    with agentwire.sync.connect("ws://127.0.0.1:8000/v1") as wire, wire.run("ship it", tools=[grep]) as run:
        for step in run: ...

There is no second implementation: every call is one of `agentwire.connect`'s client, made in that loop. Whatever
interrupts a waiting call, such as Ctrl-C, cancels what it waits for, and waits until that has been cleaned up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import wait
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from functools import partial
from typing import Any, ParamSpec, Self, TypeVar

from agentwire.client import asker as trio_asker
from agentwire.client import client as trio_client
from agentwire.client import lane as trio_lane
from agentwire.client import run as trio_run
from agentwire.client import turn as trio_turn
from agentwire.client.asking import Input
from agentwire.client.portal import Held, Portal
from agentwire.client.steps import Step
from agentwire.client.sub_agents import SubAgent
from agentwire.client.views import ClientView, Ended, LaneView, Pulled, RunView, SteerView, TurnView, like
from agentwire.client.waiting import result
from agentwire.link import RequestLost
from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.events import Event
from agentwire.protocol.response import Response

__all__ = ["Client", "Lane", "Run", "Steer", "Turn", "connect"]

P = ParamSpec("P")
T = TypeVar("T")


class _Iterator(Pulled[T]):
    """A plain iterator over something that happens in Trio."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        """The next one; interrupted, it is the next one still."""
        work = self._ask()
        if work is not None:
            wait([work.future])
        value = self._take()
        if isinstance(value, Ended):
            raise StopIteration
        return value


class Steer(SteerView):
    """What was said to a turn while it ran; made by `Turn.steer`."""

    def delivered(self) -> str:
        """Wait until a response has begun with it in its input; see `agentwire.Steer`."""
        return _call(self._portal, self._steer.delivered)


class Turn(_Iterator[Event], TurnView):
    """One turn; made by `Client.turn`. Iterate it for its events; see `agentwire.client.Turn` for what they raise."""

    def __init__(self, portal: Portal, turn: trio_turn.Turn) -> None:
        _Iterator.__init__(self, portal, turn)
        TurnView.__init__(self, turn)

    @property
    def steers(self) -> tuple[Steer, ...]:
        """What it was steered with, each with its fate."""
        return tuple(Steer(self._portal, steer) for steer in self._turn.steers)

    def response(self) -> Response:
        """Wait for the end; what was not read by then is skipped. See `agentwire.client.Turn.response`."""
        if (reading := self._reading()) is not None:
            wait([reading])
        self._skip()
        return _call(self._portal, self._turn.response)

    def steer(self, /, input: Input) -> Steer:  # noqa: A002 - the wire's own name
        """Tell the model something while it works; see `agentwire.client.Turn.steer`."""
        return Steer(self._portal, _call(self._portal, partial(self._turn.steer, input)))

    def cancel(self) -> None:
        """End the turn; see `agentwire.client.Turn.cancel`."""
        _call(self._portal, self._turn.cancel)
        self._finish()

    def ask_again(self, lost: RequestLost) -> None:
        """Ask for the same turn from the start; see `agentwire.client.Turn.ask_again`."""
        _call(self._portal, partial(self._turn.ask_again, lost))


class Run(_Iterator[Step], RunView):
    """A run; made by `Client.run`. Iterate it for its steps, or `finish` it; see `agentwire.client.Run`."""

    def __init__(self, portal: Portal, run: trio_run.Run) -> None:
        _Iterator.__init__(self, portal, run)
        RunView.__init__(self, run)

    def finish(self) -> Response:
        """Run to the end without looking at the steps; the last response."""
        return _call(self._portal, self._run.finish)

    def steer(self, /, input: Input) -> None:  # noqa: A002 - the wire's own name
        """Tell the model something while the run goes on; see `agentwire.client.Run.steer`."""
        _call(self._portal, partial(self._run.steer, input))


class _Asker:
    """What can ask: a connection, or one of its lanes."""

    def __init__(self, portal: Portal, asker: trio_asker.Asker) -> None:
        self._portal = portal
        self._asker = asker

    @like(trio_client.Client.respond)
    def respond(self, *args: Any, **request: Any) -> Response:
        """Ask for one turn and wait for the whole answer; see `agentwire.Client.respond`."""
        return _call(self._portal, partial(self._asker.respond, *args, **request))

    @like(trio_client.Client.turn)
    @contextmanager
    def turn(self, *args: Any, **request: Any) -> Iterator[Turn]:
        """Ask for one turn and have its events as they come; see `agentwire.Client.turn`."""
        with _holding(self._portal, partial(self._asker.turn, *args, **request)) as turn:
            yield Turn(self._portal, turn)

    @like(trio_client.Client.run)
    @contextmanager
    def run(self, *args: Any, **request: Any) -> Iterator[Run]:
        """Let the model work with tools; see `agentwire.Client.run`. Plain functions run in threads of their own."""
        with _holding(self._portal, partial(self._asker.run, *args, **request)) as run:
            yield Run(self._portal, run)

    @like(trio_client.Client.warm_up)
    def warm_up(self, *args: Any, **request: Any) -> Response:
        """Prepare the server for the turns to come; see `agentwire.Client.warm_up`."""
        return _call(self._portal, partial(self._asker.warm_up, *args, **request))


class Lane(LaneView, _Asker):
    """A leased lane; made by `Client.lane`. It asks as the client does, but on this lane."""

    _asker: trio_lane.Lane


class Client(ClientView, _Asker):
    """An open connection; made by `connect`. Safe to use from many threads, each turn and run from one at a time."""

    _asker: trio_client.Client

    def wait_ended(self) -> ConnectionEnded:
        """Wait until the connection is over; returns how it ended."""
        ended = self._client.ended
        return ended if ended is not None else _call(self._portal, self._client.wait_ended)

    @like(trio_client.Client.lane)
    @contextmanager
    def lane(self, *args: Any, **kwargs: Any) -> Iterator[Lane]:
        """Lease a lane; see `agentwire.Client.lane`."""
        with _holding(self._portal, partial(self._client.lane, *args, **kwargs)) as lane:
            yield Lane(self._portal, lane)

    @like(trio_client.Client.sub_agent)
    def sub_agent(self, *args: Any, **kwargs: Any) -> SubAgent:
        """A tool that is a run of its own; see `agentwire.Client.sub_agent`."""
        return self._client.sub_agent(*args, **kwargs)


def _opening(
    opening: Callable[P, AbstractAsyncContextManager[trio_client.Client]],
) -> Callable[P, AbstractContextManager[Client]]:
    @contextmanager
    def connect(*args: P.args, **kwargs: P.kwargs) -> Iterator[Client]:
        portal = Portal.take()
        try:
            with _holding(portal, partial(opening, *args, **kwargs)) as client:
                yield Client(portal, client)
        finally:
            portal.release()

    connect.__doc__ = "Connect to a server, as a context; see `agentwire.connect` for the arguments and the errors."
    connect.__wrapped__ = opening  # type: ignore[attr-defined]
    return connect


connect = _opening(trio_client.connect)


def _call(portal: Portal, async_fn: Callable[[], Awaitable[T]]) -> T:
    work = portal.submit(async_fn)
    return result(work.future, work)


@contextmanager
def _holding(portal: Portal, opening: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
    held = Held(portal, opening)
    value = result(held.entered, held.work)
    try:
        yield value
    finally:
        held.leave()
        result(held.work.future, held.work)
