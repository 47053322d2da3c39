"""The events of background responses in memory: a log each, and one bound on the bytes of them all.

Where there is no room, the first events of the oldest log go first. A log always knows its next number, so that what
is added must follow, whether or not what was before it is still there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import attrs

__all__ = ["EventLogs"]

Key = tuple[str, str]


@attrs.define(eq=False)
class _Log:
    """Events from the number ``start`` on."""

    start: int = 0
    events: list[bytes] = attrs.field(factory=list)

    @property
    def next_number(self) -> int:
        """The number that the next event has."""
        return self.start + len(self.events)


class EventLogs:
    """Logs by key.

    Args:
        max_bytes: of all events together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._logs: OrderedDict[Key, _Log] = OrderedDict()  # oldest first
        self.bytes = 0

    def append(self, key: Key, first: int, events: Sequence[bytes]) -> None:
        """Add events to a log, which begins with its first one; see `Store.append_events`."""
        log = self._logs.get(key) or _Log()
        if first != log.next_number:
            raise ValueError(f"event {first} does not follow: the next one is {log.next_number}")
        self._logs[key] = log
        log.events += events
        self.bytes += sum(map(len, events))
        self._make_room()

    def _make_room(self) -> None:
        logs = iter(self._logs.values())
        while self.bytes > self._max_bytes:
            log = next(logs)
            gone = 0
            while gone < len(log.events) and self.bytes > self._max_bytes:
                self.bytes -= len(log.events[gone])
                gone += 1
            log.start += gone
            del log.events[:gone]

    def read(self, key: Key, after: int, max_bytes: int) -> Sequence[bytes]:
        """Events of a log after that number; see `Store.read_events`."""
        log = self._logs.get(key) or _Log()
        if after + 1 < log.start:
            raise LookupError(f"events before {log.start} are not kept any more")
        taken: list[bytes] = []
        size = 0
        for index in range(after + 1 - log.start, len(log.events)):  # a reader of a long log must not walk all of it
            event = log.events[index]
            size += len(event)
            if taken and size > max_bytes:
                break
            taken.append(event)
        return taken

    def forget(self, key: Key) -> None:
        """Drop a log, if there is one."""
        log = self._logs.pop(key, None)
        if log is not None:
            self.bytes -= sum(map(len, log.events))
