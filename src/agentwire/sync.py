"""The client for plain Python: calls that block, iterators, and ``with``, over one Trio loop in a thread of its own.

    with agentwire.sync.connect("ws://127.0.0.1:8000/v1") as wire, wire.run("ship it", tools=[grep]) as run:
        for step in run: ...

There is no second implementation: every call is one of `agentwire.connect`'s client, made in that loop. Whatever
interrupts a waiting call, such as Ctrl-C, cancels what it waits for, and waits until that has been cleaned up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar

from agentwire.client import client as trio_client
from agentwire.client import run as trio_run
from agentwire.client import turn as trio_turn
from agentwire.client.outcomes import RunSummary
from agentwire.client.portal import Held, Portal, Work
from agentwire.client.run import RunStatistics
from agentwire.client.steps import Step
from agentwire.link import Fate, LinkStatistics
from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.events import Event
from agentwire.protocol.items import Item
from agentwire.protocol.response import Response, Usage
from agentwire.runtime.tools import ToolResult

__all__ = ["Client", "Run", "Turn", "connect"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

INTERRUPTED = "the call that waited for it was interrupted"


def _result(future: Future[T], work: Work[Any]) -> T:
    """Wait for a future; interrupted, cancel the work behind it and wait until it has ended."""
    try:
        return future.result()
    except BaseException:
        if not future.done():
            work.cancel(INTERRUPTED)
            wait([work.future])
        raise


def _call(portal: Portal, async_fn: Callable[[], Awaitable[T]]) -> T:
    work = portal.submit(async_fn)
    return _result(work.future, work)


@contextmanager
def _holding(portal: Portal, opening: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
    held = Held(portal, opening)
    try:
        yield _result(held.entered, held.work)
    finally:
        held.leave()
        if not held.entered.done() or held.entered.exception() is None:
            _result(held.work.future, held.work)


class _Source(Protocol[T_co]):
    """What is iterated in Trio."""

    async def __anext__(self) -> T_co: ...


class _Ended:
    """Stands for the end of an iteration."""


async def _next(source: _Source[T]) -> T | _Ended:
    try:
        return await source.__anext__()
    except StopAsyncIteration:
        return _Ended()


class _Pulled(Generic[T]):
    """An iterator over something that happens in Trio; interrupted, it loses nothing."""

    def __init__(self, portal: Portal, source: _Source[T]) -> None:
        self._portal = portal
        self._source = source
        self._pending: Work[T | _Ended] | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        if self._pending is None:
            self._pending = self._portal.submit(_next, self._source)
        try:
            value = self._pending.future.result()
        except BaseException:
            if self._pending.future.done():
                self._pending = None
            raise
        self._pending = None
        if isinstance(value, _Ended):
            raise StopIteration
        return value


class Turn(_Pulled[Event]):
    """One turn; made by `Client.turn`. Iterate it for its events; see `agentwire.client.Turn` for what they raise."""

    def __init__(self, portal: Portal, turn: trio_turn.Turn) -> None:
        super().__init__(portal, turn)
        self._turn = turn

    @property
    def text(self) -> str:
        """What the model has written so far."""
        return self._turn.text

    @property
    def fate(self) -> Fate:
        """How far the request has come."""
        return self._turn.fate

    @property
    def response_id(self) -> str | None:
        """The response's id, once it has begun."""
        return self._turn.response_id

    @property
    def items(self) -> tuple[Item, ...]:
        """The output items that are finished, in order."""
        return self._turn.items

    def response(self) -> Response:
        """Wait for the end; what was not read by then is skipped."""
        for _ in self:
            pass
        return _call(self._portal, self._turn.response)


class Run(_Pulled[Step]):
    """A run; made by `Client.run`. Iterate it for its steps, or `finish` it; see `agentwire.client.Run`."""

    def __init__(self, portal: Portal, run: trio_run.Run) -> None:
        super().__init__(portal, run)
        self._run = run

    @property
    def text(self) -> str:
        """What the model has written in its latest turn."""
        return self._run.text

    @property
    def response(self) -> Response | None:
        """The latest response that ended."""
        return self._run.response

    @property
    def usage(self) -> Usage:
        """Of all turns so far."""
        return self._run.usage

    @property
    def turns(self) -> int:
        """Model turns that have begun."""
        return self._run.turns

    @property
    def results(self) -> Mapping[str, ToolResult]:
        """By call id, what came of the tool calls that have ended by themselves."""
        return self._run.results

    def finish(self) -> Response:
        """Run to the end without looking at the steps; the last response."""
        return _call(self._portal, self._run.finish)

    def summary(self) -> RunSummary:
        """What the run has reached so far."""
        return self._run.summary()

    def statistics(self) -> RunStatistics:
        """Counts at this moment."""
        return self._run.statistics()


def _like(_: Callable[Concatenate[Any, P], object]) -> Callable[[Callable[..., R]], Callable[Concatenate[Any, P], R]]:
    """A method that takes what a method of the Trio client takes."""

    def typed(method: Callable[..., R]) -> Callable[Concatenate[Any, P], R]:
        method.__wrapped__ = _  # type: ignore[attr-defined]
        return method

    return typed


class Client:
    """An open connection; made by `connect`. Safe to use from many threads, each turn and run from one at a time."""

    def __init__(self, portal: Portal, client: trio_client.Client) -> None:
        self._portal = portal
        self._client = client

    @property
    def ended(self) -> ConnectionEnded | None:
        """How the connection ended; None while it is open."""
        return self._client.ended

    def wait_ended(self) -> ConnectionEnded:
        """Wait until the connection is over; returns how it ended."""
        return _call(self._portal, self._client.wait_ended)

    def statistics(self) -> LinkStatistics:
        """The connection's queues and totals at this moment."""
        return self._client.statistics()

    @_like(trio_client.Client.respond)
    def respond(self, *args: Any, **request: Any) -> Response:
        """Ask for one turn and wait for the whole answer; see `agentwire.Client.respond`."""
        return _call(self._portal, partial(self._client.respond, *args, **request))

    @_like(trio_client.Client.turn)
    @contextmanager
    def turn(self, *args: Any, **request: Any) -> Iterator[Turn]:
        """Ask for one turn and have its events as they come; see `agentwire.Client.turn`."""
        with _holding(self._portal, partial(self._client.turn, *args, **request)) as turn:
            yield Turn(self._portal, turn)

    @_like(trio_client.Client.run)
    @contextmanager
    def run(self, *args: Any, **request: Any) -> Iterator[Run]:
        """Let the model work with tools; see `agentwire.Client.run`. Plain functions run in threads of their own."""
        with _holding(self._portal, partial(self._client.run, *args, **request)) as run:
            yield Run(self._portal, run)


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
