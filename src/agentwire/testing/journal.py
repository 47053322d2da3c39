"""What happened, as one list that invariants can judge: messages of both sides, and the work that they caused.

Messages come from a network's trace or from anything that records JSON objects; work, ends of connections and sizes of
queues are noted by the test, with a `Journal`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import attrs
import trio

from agentwire.testing.trace import Trace

__all__ = ["Entry", "Happened", "InvariantBroken", "Journal", "Told", "Who", "entries"]

Who = Literal["client", "server", "local"]
"""Who said it; ``local`` for what a test noted itself."""


@attrs.frozen
class Entry:
    """One thing that happened.

    Attributes:
        time: seconds, on any clock that all entries share.
        who: who said it.
        event: the JSON object, or one of a journal's own.
    """

    time: float
    who: Who
    event: Mapping[str, Any]

    @property
    def type(self) -> str:
        """The event's ``type``; empty if it has none that is a string."""
        kind = self.event.get("type")
        return kind if isinstance(kind, str) else ""

    def __str__(self) -> str:
        said = " ".join(f"{key}={_short(value)}" for key, value in self.event.items() if key != "type")
        return f"{self.time:10.3f}  {self.who:6}  {self.type or '(no type)'} {said}".rstrip()


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


Told = Entry | Mapping[str, Any] | tuple[Who, float, Mapping[str, Any]]
"""One element of a list that `entries` takes."""


class InvariantBroken(AssertionError):
    """A rule does not hold.

    Args:
        name: of the function that found it.
        message: what is wrong.
        evidence: the entries that show it, in order.
    """

    def __init__(self, name: str, message: str, evidence: Sequence[Entry] = ()) -> None:
        super().__init__("\n".join((f"{name}: {message}", *map(str, evidence))))
        self.name = name
        self.message = message
        self.evidence = tuple(evidence)


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
    def work(self, kind: str, name: str) -> Generator[None]:
        """The block is a piece of work, such as ``("tool", call_id)`` or ``("engine", response_id)``.

        How it ended is noted: ``done``, ``cancelled`` or ``failed``.
        """
        self.note("local", {"type": "work.started", "kind": kind, "name": name})
        how = "failed"
        try:
            yield
            how = "done"
        except trio.Cancelled:
            how = "cancelled"
            raise
        finally:
            self.note("local", {"type": "work.ended", "kind": kind, "name": name, "how": how})

    def connection_ended(self, cause: str = "") -> None:
        """The connection is gone, so the work it caused has to stop."""
        self.note("local", {"type": "connection.ended", "cause": cause})

    def size(self, name: str, size: int) -> None:
        """A queue or buffer holds this many bytes."""
        self.note("local", {"type": "size", "name": name, "bytes": size})

    def wire(self, trace: Trace, connection: int = 0) -> None:
        """Add what went by on a connection of a network, in the order of the clock."""
        said = [Entry(time, side, event) for side, time, event in trace.events(connection)]
        self._entries = sorted([*self._entries, *said], key=lambda entry: entry.time)


Happened = Journal | Trace | Iterable[Told]
"""Anything that `entries` takes."""


def entries(happened: Happened) -> tuple[Entry, ...]:
    """The entries of a journal, of a network's trace (its first connection), or of a list.

    A list may have entries, ``(who, time, event)`` tuples, and bare events; a bare event is the server's, unless its
    type is one that only clients send, and its time is its place in the list.
    """
    if isinstance(happened, Journal):
        return happened.entries
    if isinstance(happened, Trace):
        happened = happened.events(0)
    return tuple(_entry(number, one) for number, one in enumerate(happened))


def _entry(number: int, one: Told) -> Entry:
    if isinstance(one, Entry):
        return one
    if isinstance(one, Mapping):
        return Entry(float(number), _speaker(one), one)
    who, time, event = one
    return Entry(time, who, event)


def _speaker(event: Mapping[str, Any]) -> Who:
    kind = event.get("type")
    if kind in ("work.started", "work.ended", "connection.ended", "size"):
        return "local"
    asked = ("response.create", "response.cancel", "response.steer", "response.inject", "response.processed")
    return "client" if kind in asked else "server"
