"""What the clients for other kinds of programs show of the Trio client's objects: their attributes, as they are.

Reading them waits for nothing and needs no loop; what does wait is each bridge's own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Concatenate, Final, Generic, ParamSpec, Protocol, TypeVar

import attrs

from agentwire.client.client import Client
from agentwire.client.lane import Lane
from agentwire.client.memory import Memory
from agentwire.client.outcomes import RunSummary
from agentwire.client.portal import Portal, Work
from agentwire.client.run import Run, RunStatistics
from agentwire.client.turn import Turn
from agentwire.link import Fate, Line, LinkStatistics, RequestLost, SteerFate, SteerLost, SteerRefused
from agentwire.link import steering as trio_steering
from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.items import Item
from agentwire.protocol.response import Response, Usage
from agentwire.runtime.policies import Policy
from agentwire.runtime.tools import ToolResult

__all__ = [
    "ClientView",
    "Ended",
    "LaneView",
    "Pulled",
    "RunView",
    "Source",
    "SteerView",
    "TurnView",
    "like",
]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Ended:
    """Stands for the end of an iteration."""


ENDED: Final = Ended()


class Source(Protocol[T_co]):
    """What is iterated in Trio."""

    @property
    def ready(self) -> bool:
        """Whether the next one is here already: then asking for it waits for nothing."""
        ...

    async def __anext__(self) -> T_co:
        """The next one."""


@attrs.define
class Some(Generic[T]):
    """A few of an iteration in a row, and how it ends, if it does; no future may hold a StopAsyncIteration.

    Attributes:
        values: at most `MOST`, none only at the end.
        end: what comes after them; None if that is not known yet.
    """

    values: deque[T] = attrs.field(factory=deque)
    end: Exception | Ended | None = None


MOST: Final = 64
"""How much of an iteration may run ahead of the program that drives it, where it is there already."""


async def some_of(source: Source[T]) -> Some[T]:
    """Wait for the next one, and take along what is there: going from one loop to the other costs more than it all."""
    some: Some[T] = Some()
    try:
        some.values.append(await source.__anext__())
        while source.ready and len(some.values) < MOST:
            some.values.append(await source.__anext__())
    except StopAsyncIteration:
        some.end = ENDED
    except Exception as error:  # noqa: BLE001 - raised where the program comes to it
        some.end = error
    return some


class Pulled(Generic[T]):
    """An iteration in Trio that another program drives.

    What is asked for next stays asked for when whoever waited is interrupted, so that nothing is lost.
    """

    def __init__(self, portal: Portal, source: Source[T]) -> None:
        self._portal = portal
        self._source = source
        self._some: Some[T] = Some()
        self._pending: Work[Some[T]] | None = None

    def _ask(self) -> Work[Some[T]] | None:
        """What to wait for before the next one can be taken; None if it is here."""
        if self._some.values or self._some.end is not None:
            return None
        if self._pending is None:
            self._pending = self._portal.submit(some_of, self._source)
        return self._pending

    def _reading(self) -> Future[Some[T]] | None:
        """What still reads for somebody who was interrupted: nobody else may read before it has ended."""
        return self._pending.future if self._pending is not None else None

    def _skip(self) -> None:
        """Nothing of what has come will be looked at any more."""
        self._pending, self._some = None, Some()

    def _finish(self) -> None:
        """Nothing of it will be looked at any more."""
        self._pending, self._some = None, Some(end=ENDED)

    def _take(self) -> T | Ended:
        """The next one, or `ENDED`; raises what the iteration ended with."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._some = pending.future.result()
        if self._some.values:
            return self._some.values.popleft()
        end, self._some.end = self._some.end, None
        if isinstance(end, Ended):
            return end
        assert end is not None
        raise end


class TurnView:
    """What can be seen of a turn; see `agentwire.client.Turn`."""

    def __init__(self, turn: Turn) -> None:
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
    def stream_id(self) -> str | None:
        """The lane that it runs on; None is the default lane."""
        return self._turn.stream_id

    @property
    def items(self) -> tuple[Item, ...]:
        """The output items that are finished, in order."""
        return self._turn.items

    @property
    def responses(self) -> tuple[Response, ...]:
        """The responses that have ended: one, and of a turn that was steered, its successors."""
        return self._turn.responses

    @property
    def cancelled(self) -> bool:
        """Whether ``cancel`` has ended it."""
        return self._turn.cancelled

    @property
    def repeated(self) -> int:
        """How often it was asked again, after it had been sent and lost."""
        return self._turn.repeated

    def may_ask_again(self, lost: RequestLost) -> bool:
        """Whether ``ask_again`` is permitted by the client's ``repeat``, and of use."""
        return self._turn.may_ask_again(lost)


class RunView:
    """What can be seen of a run; see `agentwire.client.Run`."""

    def __init__(self, run: Run) -> None:
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

    def summary(self) -> RunSummary:
        """What the run has reached so far."""
        return self._run.summary()

    def statistics(self) -> RunStatistics:
        """Counts at this moment."""
        return self._run.statistics()


class SteerView:
    """What can be seen of a steer; see `agentwire.Steer`."""

    def __init__(self, portal: Portal, steer: trio_steering.Steer) -> None:
        self._portal = portal
        self._steer = steer

    @property
    def id(self) -> str | None:
        """The server's name for it."""
        return self._steer.id

    @property
    def response_id(self) -> str:
        """The response that it was said to."""
        return self._steer.response_id

    @property
    def successor_id(self) -> str | None:
        """The response that has it in its input, once it is delivered."""
        return self._steer.successor_id

    @property
    def input(self) -> Any:
        """What was said."""
        return self._steer.input

    @property
    def fate(self) -> SteerFate:
        """How far it has come."""
        return self._steer.fate

    @property
    def error(self) -> SteerRefused | SteerLost | None:
        """Why it will not be delivered, or why that is not known."""
        return self._steer.error


class LaneView:
    """What can be seen of a lane; see `agentwire.client.Lane`."""

    _asker: Lane

    @property
    def name(self) -> str:
        """Its name, as it is on the wire (``stream_id``)."""
        return self._asker.name


class ClientView:
    """What can be seen of a connection; see `agentwire.Client`."""

    _asker: Client

    @property
    def _client(self) -> Client:
        return self._asker

    @property
    def line(self) -> Line:
        """Its line to the server: what it tells and counts can be read here, what it does is for Trio code."""
        return self._client.line

    @property
    def memory(self) -> Memory:
        """The conversations that it can say again."""
        return self._client.memory

    @property
    def policy(self) -> Policy:
        """What a lost connection means."""
        return self._client.policy

    @property
    def ended(self) -> ConnectionEnded | None:
        """How the connection ended; None while it is open."""
        return self._client.ended

    def statistics(self) -> LinkStatistics:
        """The connection's queues and totals at this moment."""
        return self._client.statistics()


def like(
    model: Callable[Concatenate[Any, P], object],
) -> Callable[[Callable[..., R]], Callable[Concatenate[Any, P], R]]:
    """Mark a method that takes what ``model``, a method of the Trio client, takes."""

    def typed(method: Callable[..., R]) -> Callable[Concatenate[Any, P], R]:
        method.__wrapped__ = model  # type: ignore[attr-defined]
        return method

    return typed
