"""What happened, as one list that invariants can judge: messages of both sides, and the work that they caused.

Messages come from a network's trace or from anything that records JSON objects; work, ends of connections and sizes of
queues are noted by the test, with a `Journal`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import trio

from agentwire.protocol.items import Item
from agentwire.testing.entry import Entry, InvariantBroken, Who
from agentwire.testing.leaks import present
from agentwire.testing.trace import Note, Record, Trace
from agentwire.testing.trace_entries import CREATE, entries_in

__all__ = ["Entry", "Happened", "InvariantBroken", "Journal", "Told", "Who", "entries"]

_ASKED: Final = (CREATE, "response.cancel", "response.steer", "response.inject", "response.processed")
_LOCAL: Final = ("work.", "connection.ended", "size", "model.saw", "drain.started", "resources")

Told = Entry | Mapping[str, Any] | tuple[Who, float, Mapping[str, Any]]
"""One element of a list that `entries` takes."""


class Journal:
    """Takes down what happens.

    Args:
        clock: the time of each entry; Trio's clock unless given.
    """

    def __init__(self, clock: Callable[[], float] = trio.current_time) -> None:
        self._clock = clock
        self._entries: list[Entry] = []

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What happened so far, in order."""
        return tuple(self._entries)

    def note(self, who: Who, event: Mapping[str, Any]) -> None:
        """Somebody said this."""
        self._entries.append(Entry(self._clock(), who, event))

    @contextmanager
    def work(self, kind: str, name: str, *, what: str = "") -> Generator[None]:
        """The block is a piece of work, such as ``("tool", call_id)`` or ``("engine", response_id)``.

        How it ended is noted: ``done``, ``cancelled`` or ``failed``; and what it is, for a reader, if that is said.
        """
        self.note("local", {"type": "work.started", "kind": kind, "name": name, **({"what": what} if what else {})})
        how = "failed"
        try:
            yield
            how = "done"
        except trio.Cancelled:
            how = "cancelled"
            raise
        finally:
            self.note("local", {"type": "work.ended", "kind": kind, "name": name, "how": how})

    def saw(self, response_id: str, items: Sequence[Item | Mapping[str, Any]], *, step: int = 0) -> None:
        """The model was shown these items, the whole context, for this response."""
        self.note("local", {"type": "model.saw", "response_id": response_id, "step": step, "items": tuple(items)})

    def drain_started(self, seconds: float | None = None) -> None:
        """The server begins to shut down, and gives running turns so many seconds; None for as long as they take."""
        self.note("local", {"type": "drain.started", "seconds": seconds})

    def resources(self) -> None:
        """What this process has now: tasks, file descriptors, streams in memory.

        Call it before something begins, and again when all of it should be gone.
        """
        self.note("local", {"type": "resources", **present()})

    def connection_ended(self, cause: str = "") -> None:
        """The connection is gone, so the work it caused has to stop."""
        self.note("local", {"type": "connection.ended", "cause": cause})

    def size(self, name: str, size: int) -> None:
        """A queue or buffer holds this many bytes."""
        self.note("local", {"type": "size", "name": name, "bytes": size})

    def wire(self, trace: Trace, connection: int | None = 0) -> None:
        """Add what went by on a connection of a network, or on all of them, in the order of the clock."""
        said = [entry for entry in entries_in(trace) if connection in (None, entry.connection)]
        self._entries = _by_time([*self._entries, *said])

    def add_to(self, trace: Trace) -> None:
        """Put what was noted into a trace, in the order of the clock, so that a file has it, too."""
        notes = [Record(entry.time, 0, "local", Note(entry.event)) for entry in self._entries if entry.who == "local"]
        trace.records[:] = sorted([*trace.records, *notes], key=lambda record: record.time)


Happened = Journal | Trace | Iterable[Told]
"""Anything that `entries` takes."""


def entries(*happened: Happened) -> tuple[Entry, ...]:
    """The entries of journals, of traces (all their connections), and of lists, in the order of the clock.

    A list may have entries, ``(who, time, event)`` tuples, and bare events; a bare event is the server's, unless its
    type is one that only clients send, and its time is its place in the list.
    """
    told = [_entries(one) for one in happened]
    return tuple(told[0] if len(told) == 1 else _by_time([entry for one in told for entry in one]))


def _by_time(told: list[Entry]) -> list[Entry]:
    return sorted(told, key=lambda entry: entry.time)


def _entries(happened: Happened) -> Sequence[Entry]:
    if isinstance(happened, Journal):
        return happened.entries
    if isinstance(known := getattr(happened, "entries", None), tuple):
        return known  # of a `Recorded`, which has read them all
    if isinstance(happened, Trace):
        return entries_in(happened)
    return [_entry(number, one) for number, one in enumerate(happened)]


def _entry(number: int, one: Told) -> Entry:
    if isinstance(one, Entry):
        return one
    if isinstance(one, Mapping):
        return Entry(float(number), _speaker(one), one)
    who, time, event = one
    return Entry(time, who, event)


def _speaker(event: Mapping[str, Any]) -> Who:
    kind = event.get("type")
    if isinstance(kind, str) and kind.startswith(_LOCAL):
        return "local"
    return "client" if kind in _ASKED else "server"
