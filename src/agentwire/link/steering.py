"""Steers on their way: what a client adds to a response that runs, and what becomes of it.

The wire has no ids for them before the server has taken them, so that an answer is matched by the response that was
steered and by the input that comes back with a refusal, never by the order of arrival on the connection. They live on
their connection alone: when that ends, nobody knows what became of them (mid-turn steering guide).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import trio

from agentwire.protocol.errors import ConnectionEnded, RequestError

__all__ = ["Steer", "SteerFate", "SteerLost", "SteerRefused", "Steers"]


class SteerFate(enum.Enum):
    """How far a steer came."""

    NEVER_SENT = "never sent"
    """It has not left this process."""
    UNKNOWN = "sent, and its fate is unknown"
    """It was handed to the socket, and nothing came back."""
    ACCEPTED = "accepted"
    """The server owns it, and will put it into the next response."""
    PENDING = "waiting for required input"
    """The server keeps it until the calls of its response are answered."""
    DELIVERED = "delivered"
    """A response has begun with it in its input."""
    REFUSED = "refused"
    """The server has handed it back."""

    def __str__(self) -> str:
        return self.value


_OWNED = (SteerFate.ACCEPTED, SteerFate.PENDING)
_ENDED = (SteerFate.DELIVERED, SteerFate.REFUSED)


class SteerRefused(RequestError):
    """A steer was handed back: the model will not see it.

    Args:
        code: such as ``response_already_completed``, or ``steering_not_supported`` (also where the server, or the way
            to it, knows no steering at all).
        message: what is said about it.
        given: the input, as it was given to `steer`.
    """

    def __init__(self, code: str, message: str, *, given: Any) -> None:
        super().__init__(400, code, message)
        self.input = given


class SteerLost(ConnectionEnded):
    """The connection ended before it was known what became of a steer.

    Args:
        end: how the connection ended.
        fate: how far it had come; one that was never sent may be sent again, any other may have been heard.
        given: the input, as it was given to `steer`.
    """

    def __init__(self, end: ConnectionEnded, *, fate: SteerFate, given: Any) -> None:
        super().__init__(sent=end.sent, received=end.received, cause=end.cause)
        self.fate = fate
        self.input = given

    def __str__(self) -> str:
        return f"{super().__str__()}; the steer: {self.fate}"


@attrs.define(eq=False)
class Steer:
    """Input for a response that runs; made by `Link.steer`.

    Attributes:
        response_id: the response that it was sent to.
        input: as it was given.
        wire: the same, as JSON.
        fate: how far it has come.
        id: the server's name for it, once it has one.
        successor_id: the response that has it in its input, once it is delivered.
        error: why it will not be delivered, or why that is not known.
    """

    response_id: str
    input: Any
    wire: Any
    fate: SteerFate = SteerFate.NEVER_SENT
    id: str | None = None
    successor_id: str | None = None
    error: SteerRefused | SteerLost | None = None
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, repr=False)

    @property
    def ended(self) -> bool:
        """Whether nothing more will become of it."""
        return self.fate in _ENDED or self.error is not None

    @property
    def answered(self) -> bool:
        """Whether the server has said anything of it, or never will."""
        return self.ended or self.fate in _OWNED

    async def accepted(self) -> None:
        """Wait until the server has taken it.

        Raises:
            SteerRefused: it was handed back.
            SteerLost: the connection ended first.
        """
        await trio.lowlevel.checkpoint()
        while not self.answered:
            await self._changed.park()
        if self.error is not None:
            raise self.error

    async def delivered(self) -> str:
        """Wait until a response has begun with it in its input; returns that response's id.

        For a response that ends with calls for the client that is not before they are answered. Raises as `accepted`.
        """
        await trio.lowlevel.checkpoint()
        while not self.ended:
            await self._changed.park()
        if self.error is not None:
            raise self.error
        assert self.successor_id is not None
        return self.successor_id

    # The connection's side

    def taken(self) -> None:
        """The wire has it."""
        if self.fate is SteerFate.NEVER_SENT:
            self.fate = SteerFate.UNKNOWN

    def move(self, fate: SteerFate, *, id: str | None = None, successor_id: str | None = None) -> None:  # noqa: A002 - the wire's own name
        """It has come so far."""
        self.fate = fate
        self.id = self.id or id
        self.successor_id = successor_id
        self._changed.unpark_all()

    def refuse(self, code: str, message: str) -> None:
        """It is handed back."""
        self.error = SteerRefused(code, message, given=self.input)
        self.move(SteerFate.REFUSED)

    def lose(self, end: ConnectionEnded) -> None:
        """Nobody will know."""
        self.error = SteerLost(end, fate=self.fate, given=self.input)
        self._changed.unpark_all()


class Steers:
    """The steers of one connection of which something may still be heard."""

    def __init__(self) -> None:
        self._steers: list[Steer] = []

    def __iter__(self) -> Iterator[Steer]:
        return iter(self._steers)

    def __len__(self) -> int:
        return len(self._steers)

    def add(self, steer: Steer) -> None:
        """It is about to be sent."""
        self._steers.append(steer)

    def follow(self, response_id: str | None) -> bool:
        """Whether this response, which has ended well and owes nothing, has a successor, as far as is known."""
        return any(steer.fate is not SteerFate.PENDING for steer in self._of(response_id))

    def promised(self, response_id: str | None) -> bool:
        """Whether the server has said that this response will have a successor."""
        return any(steer.fate is SteerFate.ACCEPTED for steer in self._of(response_id))

    def tell(self, kind: str, event: Mapping[str, Any]) -> Steer | None:
        """The server says something of a steer; returns which one, None if there is none that it could mean."""
        about = event.get("steer")
        about = about if isinstance(about, Mapping) else {}
        steer = self._find(kind, about)
        if steer is None:
            return None
        if kind == "response.steer.accepted":
            steer.move(SteerFate.ACCEPTED, id=about.get("id"))
        elif kind == "response.steer.pending":
            steer.move(SteerFate.PENDING, id=about.get("id"))
        elif kind == "response.steer.failed":
            told = event.get("error")
            told = told if isinstance(told, Mapping) else {}
            code, message = told.get("code"), told.get("message")
            steer.refuse(str(code or "unknown"), str(message or "The server has refused the steer."))
            self._steers.remove(steer)
        return steer

    def begin(self, parent: str | None, response_id: str | None) -> None:
        """A response has begun that continues another: what the server has kept for that one is in its input."""
        for steer in self._of(parent):
            if steer.fate in _OWNED:
                steer.move(SteerFate.DELIVERED, successor_id=response_id)
                self._steers.remove(steer)

    def refuse(self, message: str) -> bool:
        """The server does not know what a steer is; False if there is none that it could mean."""
        for steer in self._steers:
            if steer.fate is SteerFate.UNKNOWN:
                steer.refuse("steering_not_supported", f"The server knows no steering: {message}")
                self._steers.remove(steer)
                return True
        return False

    def lose(self, end: ConnectionEnded) -> None:
        """The connection has ended."""
        steers, self._steers = self._steers, []
        for steer in steers:
            steer.lose(end)

    def _of(self, response_id: str | None) -> list[Steer]:
        return [steer for steer in self._steers if steer.response_id == response_id]

    def _find(self, kind: str, about: Mapping[str, Any]) -> Steer | None:
        """By its id if it has one; else the eldest of that response that waits for an answer, or for this one."""
        known = about.get("id")
        for steer in self._steers:
            if known is not None and steer.id == known:
                return steer
        waiting = [each for each in self._of(about.get("previous_response_id")) if not each.answered]
        if kind == "response.steer.failed":
            given = about.get("input")
            waiting.sort(key=lambda steer: steer.wire != given)
        return waiting[0] if waiting else None
