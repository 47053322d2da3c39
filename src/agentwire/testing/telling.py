"""What one client has been told, judged event by event: on one connection, or on several, one after the other.

It knows what a session may say again when it is resumed, exactly as it was, and that nothing else may come twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agentwire.protocol.grammar import Checker, GrammarError

__all__ = ["Telling"]

Event = dict[str, Any]

REPLY: Final = "agentwire:reply"


class Telling:
    """What one client has been told, on one connection or on several, one after the other.

    A connection that goes on from an earlier one may repeat what that one had said, exactly, and then says what is new.
    """

    def __init__(self) -> None:
        self._checker = Checker(lanes=True)
        self._told: dict[object, list[Event]] | None = None
        self._place: dict[object, int] = {}
        self._replies: dict[object, Event] = {}
        self._resumed = False

    def keep(self) -> None:
        """It may be resumed: remember what is said."""
        self._told = self._told or {}

    def resume(self) -> None:
        """Another connection goes on with it."""
        self._resumed = True
        self._place.clear()

    def of(self, response_id: str) -> list[Event]:
        """What it was told of this response."""
        for told in (self._told or {}).values():
            begins = [place for place, event in enumerate(told) if event["type"] == "response.created"]
            for begin, end in zip(begins, [*begins[1:], len(told)], strict=True):
                if told[begin]["response"]["id"] == response_id:
                    return [event for event in told[begin:end] if event["type"] != "error" or event["sequence_number"]]
        return []

    def take(self, event: Event) -> None:
        """The next event on the connection that it has now."""
        if self._told is None:
            self._checker.feed(event)
        elif REPLY in event:
            self._reply(event)
        elif "sequence_number" not in event:
            self._checker.feed(event)
        else:
            self._number(event)

    def _reply(self, event: Event) -> None:
        """An answer that belongs to no response, counted by itself; it is not told twice on one connection."""
        known = self._replies.get(event[REPLY])
        if known is None:
            self._replies[event[REPLY]] = event
            self._checker.feed(event)
        elif known != event or not self._resumed:
            raise GrammarError("sequence", f"reply {event[REPLY]} is told again")

    def _number(self, event: Event) -> None:
        assert self._told is not None
        lane = event.get("stream_id")
        told = self._told.setdefault(lane, [])
        place = self._place.get(lane, self._find(told, event) if self._resumed else len(told))
        if place == len(told):
            self._checker.feed(event)
            told.append(event)
        elif told[place] != event:
            raise GrammarError(
                "sequence", f"lane {lane!r} is told {_name(event)} again, which was {_name(told[place])}"
            )
        self._place[lane] = place + 1

    def _find(self, told: list[Event], event: Event) -> int:
        """Where a lane goes on: at an event that has been told, or at the next one."""
        return next((place for place in reversed(range(len(told))) if told[place] == event), len(told))


def _name(event: Mapping[str, Any]) -> str:
    return f"{event.get('type')} {event.get('sequence_number')}"
