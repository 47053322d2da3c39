"""What a lost connection may have taken with it: the windows of a session's latest turns, kept to be read again.

A client that comes back says how far it got in each lane. What follows is sent again, no more and no less, as long as
it is kept: the oldest turns are forgotten first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

import attrs

from agentwire.protocol.desk import Ticket
from agentwire.runtime.replies import Replies
from agentwire.runtime.window import Window

__all__ = ["Reading", "Replay", "Seen"]


@attrs.frozen
class Seen:
    """How far a client got in one lane.

    Attributes:
        response_id: the latest response of which it has an event.
        number: the ``sequence_number`` of the last event that it has of it.
    """

    response_id: str
    number: int


@attrs.frozen
class Reading:
    """Where to begin to read one window."""

    window: Window
    number: int


@attrs.define(eq=False)
class _Answer:
    """One turn's window, and the response in it once there is one, or the first reply that refused it."""

    lane: str | None
    window: Window
    ticket: Ticket | None
    response_id: str | None = None
    reply: int | None = None

    @property
    def id(self) -> str | None:
        return self.ticket.response_id if self.ticket is not None else self.response_id


class Replay:
    """The windows of a session's turns, oldest first, and of the replies that belong to no response.

    Args:
        limit: bytes to keep of turns that have ended.
        replies: numbers and keeps those.
    """

    def __init__(self, limit: int, replies: Replies) -> None:
        self._limit = limit
        self._answers: deque[_Answer] = deque()
        self._bytes = 0
        self._replies = replies

    def add(self, ticket: Ticket, window: Window) -> None:
        """This turn begins."""
        self._answers.append(_Answer(ticket.lane.name, window, ticket))

    def refuse(self, ticket: Ticket) -> int:
        """The turn is being refused: each of its events is a reply; returns the number of the next one."""
        number = self._replies.draw()
        for answer in self._answers:
            if answer.ticket is ticket and answer.reply is None:
                answer.reply = number
        return number

    def ended(self, ticket: Ticket) -> None:
        """This turn has ended, and all of it was sent, though perhaps not received."""
        for answer in self._answers:
            if answer.ticket is ticket:
                answer.ticket, answer.response_id = None, ticket.response_id
                if answer.reply is not None:
                    self._answers.remove(answer)
                    self._replies.keep(answer.reply, answer.window)
                else:
                    self._bytes += answer.window.size
                break
        if self._bytes > self._limit:
            self._forget()

    def _forget(self) -> None:
        """Empty the oldest windows, and keep the latest empty one of each lane: a client may have got just so far."""
        for answer in self._answers:
            if answer.ticket is None and self._bytes > self._limit:
                self._bytes -= answer.window.forget()
        latest = {answer.lane: answer for answer in self._answers if _is_empty(answer)}
        self._answers = deque(
            answer for answer in self._answers if not _is_empty(answer) or latest[answer.lane] is answer
        )

    def find(self, response_id: str) -> Window | None:
        """The window of a response, if any of it is kept."""
        for answer in self._answers:
            if answer.id == response_id:
                return answer.window
        return None

    def after(self, seen: Mapping[str | None, Seen], reply: int = 0) -> list[Reading]:
        """Where to read on, in order.

        Args:
            seen: how far the client got, by lane.
            reply: the highest number of a reply that it has.

        Raises:
            ValueError: some of it is not kept.
        """
        lanes = dict.fromkeys(answer.lane for answer in self._answers if answer.reply is None)
        unknown = seen.keys() - lanes.keys()
        if unknown:
            raise ValueError(f"nothing is known of lane {unknown.pop()!r}")
        reading: list[Reading] = []
        for lane in lanes:
            reading += self._lane_after(lane, seen.get(lane))
        refused = ((answer.reply, answer.window) for answer in self._answers if answer.reply is not None)
        for window, number in self._replies.after(reply, refused):
            if not window.has(number):
                raise ValueError(f"a reply after {reply} is not kept any more")
            reading.append(Reading(window, number))
        return reading

    def _lane_after(self, lane: str | None, seen: Seen | None) -> Iterator[Reading]:
        answers = [answer for answer in self._answers if answer.lane == lane and answer.reply is None]
        start = 0
        if seen is not None:
            found = [index for index, answer in enumerate(answers) if answer.id == seen.response_id]
            if not found:
                raise ValueError(f"response {seen.response_id} is not kept any more")
            start = found[0]
        for index, answer in enumerate(answers[start:]):
            number = seen.number + 1 if seen is not None and not index else 0
            if not answer.window.has(number):
                raise ValueError(f"event {number} of response {answer.id} is not kept any more")
            yield Reading(answer.window, number)


def _is_empty(answer: _Answer) -> bool:
    return answer.ticket is None and not answer.window.size
