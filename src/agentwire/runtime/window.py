"""A window: the events of one turn on their way to the client. Back pressure lives here.

It is bounded in bytes and filled in order: first there is room, then the event gets its number, and no checkpoint
lies between. Whoever reads it (a socket's writer, an SSE stream, a resumed connection) has a cursor in it; what is
kept behind the cursor can be read again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import attrs
import msgspec
import trio

__all__ = ["Due", "Framing", "Pieces", "Window", "WindowStatistics"]

Framing = Callable[[Sequence[bytes]], bytes]
"""``framing(events)``: the frames of these events, one after another."""

Make = Callable[[], Iterable[tuple[bytes, bytes]]]
"""Gives events, as the two parts that `Window.put` joins with their numbers."""

Due = tuple[bytes, bytes, Callable[[], None] | None]
"""An event that is yet to be written, as the two parts that `Window.put` joins, and what follows from it."""

_BURST = 128  # events between two checkpoints of a producer that never has to wait

_encode: Final = msgspec.json.Encoder().encode


class Pieces:
    """Text that comes in pieces, each of them an event: what stands around the piece, and the pieces so far.

    Attributes:
        head: the event up to its number: ``{"type":"...","sequence_number":``.
        middle: what stands between the number and the piece: ``,"delta":``.
        tail: what follows the piece, without the closing brace.
        pieces: those that were put.
    """

    __slots__ = ("head", "middle", "pieces", "tail")

    def __init__(self, head: bytes, middle: bytes, tail: bytes) -> None:
        self.head = head
        self.middle = middle
        self.tail = tail
        self.pieces: list[str] = []


@attrs.frozen
class WindowStatistics:
    """A snapshot of one window: sizes in bytes, counts of events."""

    next_number: int
    waiting_events: int
    waiting_bytes: int
    kept_events: int
    tasks_waiting: int


_NOBODY: Final = trio.lowlevel.ParkingLot()
"""Where nobody waits: in most windows nobody ever does."""


class Window:
    """The numbered events of one response.

    Args:
        limit: bytes that may wait for the reader; then producers wait. One event larger than that passes alone.
        ready: called (without awaiting) whenever an event comes into a window that had nothing waiting.
        offer: asked first whether it takes such an event at once, past the window.
        ending: what closes each event's JSON on the wire: ``}``, with the lane's name in front of it where it has one.
        keep: bytes to keep of what was read, so that `rewind` can go back to it; the oldest events go first.
    """

    __slots__ = (
        "_base", "_blocks", "_cursor", "_events", "_held", "_keep", "_kept", "_later", "_limit", "_offer", "_pause",
        "_producers", "_readers", "_ready", "_waiting", "closed", "ending", "next_number", "total_bytes",
    )  # fmt: skip

    def __init__(
        self,
        *,
        limit: int,
        ready: Callable[[Window], None],
        offer: Callable[[bytes], bool] | None = None,
        ending: bytes = b"}",
        keep: int = 0,
    ) -> None:
        self.ending = ending
        self.closed = False
        self.total_bytes = 0
        self.next_number = 0
        self._limit = limit
        self._ready = ready
        self._offer = offer if not keep else None  # what is kept must pass through
        self._keep = keep
        self._kept = 0
        self._events: list[bytes] = []
        self._later: tuple[Make, int, int] | None = None
        self._base = 0
        self._cursor = 0
        self._waiting = self._held = self._blocks = 0
        self._pause = _BURST
        self._producers = self._readers = _NOBODY

    @property
    def pending(self) -> bool:
        """True while there is something to read."""
        return self._cursor < len(self._events)

    @property
    def patient(self) -> bool:
        """True while what waits has yet to be made, and need not leave before its producer has something else to do."""
        return self._later is not None

    async def put(self, head: bytes, tail: bytes) -> None:
        """Append the event ``head + number + tail``, once there is room for it.

        The two parts are JSON without the closing brace: ``{"type":"...","sequence_number":`` and ``,"delta":"..."``.
        A cancelled wait appends nothing and takes no number.
        """
        while not self.put_if_room(head, tail):
            await self.wait_for_room()

    def put_if_room(self, head: bytes, tail: bytes) -> bool:
        """What `put` does when it need not wait; False, and nothing done, if it must."""
        waiting = self._waiting  # what `_has_room` asks, without the way there: every event but a piece comes here
        full = waiting > self._held and waiting + len(head) + len(tail) > self._limit
        if full or self.next_number >= self._pause:
            return False
        self._add(b"%b%d%b%b" % (head, self.next_number, tail, self.ending))
        return True

    def put_due(self, due: deque[Due]) -> bool:
        """Append what is due, in one write, as far as there is room; True if nothing is due any more."""
        with self:
            while due:
                head, tail, then = due[0]
                number, waiting = self.next_number, self._waiting
                if number >= self._pause or (waiting > self._held and waiting + len(head) + len(tail) > self._limit):
                    return False
                event = b"%b%d%b%b" % (head, number, tail, self.ending)
                size = len(event)
                self.next_number = number + 1
                self.total_bytes += size
                if waiting:
                    self._waiting = waiting + size
                    self._events.append(event)
                else:  # a block around this one has let go, and its reader knows of nothing
                    self._append_first(event)
                due.popleft()
                if then is not None:
                    then()
        return True

    async def put_piece(self, text: Pieces, piece: str) -> None:
        """Append the event of this piece, once there is room for it; cancelled, it was not put."""
        while not self.put_piece_nowait(text, piece):
            await self.wait_for_room()

    def put_piece_nowait(self, text: Pieces, piece: str) -> bool:
        """What `put_piece` does when it need not wait; False, and nothing done, if it must.

        Every piece comes this way, and nothing else costs a server as much: so it is one function, which makes the
        event before it knows whether there is room.

        Raises:
            UnicodeEncodeError: the piece has half a surrogate pair; nothing done.
        """
        number, waiting = self.next_number, self._waiting
        if number >= self._pause:
            return False
        event = b"".join((text.head, _encode(number), text.middle, _encode(piece), text.tail, self.ending))
        size = len(event)
        if not waiting:
            self.next_number = number + 1
            self.total_bytes += size
            self._append_first(event)
        elif waiting + size <= self._limit:
            self.next_number = number + 1
            self.total_bytes += size
            self._waiting = waiting + size
            self._events.append(event)
        else:
            return False
        text.pieces.append(piece)
        return True

    def _has_room(self, size: int) -> bool:
        waiting = self._waiting
        return (waiting <= self._held or waiting + size <= self._limit) and self.next_number < self._pause

    async def wait_for_room(self) -> None:
        """Until there may be room; or for a moment, if it is just time to let others run."""
        self.release()
        pause, self._pause = self._pause, self.next_number + _BURST
        if self.next_number < pause and self._waiting:
            if self._producers is _NOBODY:
                self._producers = trio.lowlevel.ParkingLot()
            await self._producers.park()
        else:
            await trio.lowlevel.checkpoint()

    def put_nowait(self, head: bytes, tail: bytes) -> None:
        """Append without asking for room: for the few events that must come at once, such as an error."""
        self._add(b"%b%d%b%b" % (head, self.next_number, tail, self.ending))

    async def put_made(self, event: bytes) -> None:
        """Append an event that was made and numbered elsewhere, once there is room: its number must be the next one."""
        event = event[:-1] + self.ending
        while not self._has_room(len(event)):
            await self.wait_for_room()
        self._add(event)

    def _add(self, event: bytes) -> None:
        self.next_number += 1
        self.total_bytes += len(event)
        if self._waiting:
            self._waiting += len(event)
            self._events.append(event)
        else:
            self._append_first(event)

    def put_bare(self, event: bytes) -> None:
        """Append an event that shows no number, without asking for room: an answer that belongs to no response."""
        self.next_number += 1
        self.total_bytes += len(event)
        self._append_first(event)

    def _append_first(self, event: bytes) -> None:
        """An event in front of which nothing waits: it may not have to wait either."""
        if self._offer is not None and self._offer(event):
            self._base += 1
            return
        self._events.append(event)
        self._waiting = len(event)
        self._announce()

    def put_together(self, *events: tuple[bytes, bytes]) -> None:
        """Append several events that shall leave in one write, without asking for room."""
        with self.together():
            for head, tail in events:
                self.put_nowait(head, tail)

    def put_later(self, make: Make, count: int, size: int) -> None:
        """Append events that are made only when they are read: whoever appends them has more urgent things to do.

        They have their place and their numbers at once. Nothing is asked for room.

        Args:
            make: gives them; may not fail.
            count: how many.
            size: about how many bytes; they count as that until they are made.
        """
        if self._waiting or not count:
            for head, tail in make():
                self.put_nowait(head, tail)
            return
        self._later = make, self.next_number, size
        self._events += [b""] * count
        self.next_number += count
        self.total_bytes += size
        self._waiting = size
        self._announce()

    def _make(self) -> None:
        """Make what was put off."""
        if self._later is None:
            return
        make, number, size = self._later
        made = make()
        self._later = None
        for index, (head, tail) in enumerate(made, number - self._base):
            self._events[index] = event = b"%b%d%b%b" % (head, index + self._base, tail, self.ending)
            size -= len(event)
        self._waiting -= size
        self.total_bytes -= size

    def together(self) -> Window:
        """What comes in inside the block leaves in one write; but whoever waits for room there lets it go before."""
        return self

    def __enter__(self) -> None:
        if not (self._waiting or self._blocks):  # else the reader knows already, or an outer block has let go
            self._waiting = self._held = 1  # one byte that keeps it quiet
        self._blocks += 1

    def __exit__(self, *_: object) -> None:
        self._blocks -= 1
        if self._held and not self._blocks:
            self.release()

    def release(self) -> None:
        """What a block of `together` holds back leaves now, and so does what comes after it."""
        if self._held:
            self._waiting -= 1
            self._held = 0
            if self._waiting:
                self._announce()

    def _announce(self) -> None:
        pause = self._pause
        self._ready(self)
        self._pause = pause  # what is read here and now is read by the producer itself, which goes on without a pause
        if self._readers:
            self._readers.unpark_all()

    def collect(self, framing: Framing, budget: int) -> bytes:
        """Frames of what waits: of at least one event, and of about ``budget`` bytes."""
        self._make()
        events, cursor, taken = self._events, self._cursor, 0
        if self._waiting <= budget:
            end, taken = len(events), self._waiting
        else:
            end = cursor
            while taken < budget and end < len(events):
                taken += len(events[end])
                end += 1
        frames = framing(events[cursor:end] if cursor or end < len(events) else events)
        self._pause = self.next_number + _BURST  # its reader runs, so the producer has let others run
        self._advance(end, taken)
        return frames

    def _advance(self, end: int, taken: int) -> None:
        self._waiting -= taken
        if self._keep:
            self._cursor = end
            self._kept += taken
            self._trim(self._keep)
        elif end == len(self._events):
            self._base += end
            self._events = []
        else:
            self._base += end
            del self._events[:end]
        if self._producers:
            self._producers.unpark_all()
        if self._readers and not self._waiting:
            self._readers.unpark_all()

    def _trim(self, keep: int) -> None:
        """Drop the oldest of what was read, until no more than this many bytes of it are kept."""
        gone = 0
        while self._kept > keep:
            self._kept -= len(self._events[gone])
            gone += 1
        if gone:
            del self._events[:gone]
            self._base += gone
            self._cursor -= gone

    def forget(self) -> int:
        """Drop all that was read; returns how many bytes that were."""
        kept = self._kept
        self._trim(0)
        return kept

    def has(self, number: int) -> bool:
        """True if `rewind` can go to this number; never in a window that keeps nothing."""
        return self._keep > 0 and self._base <= number <= self.next_number

    def rewind(self, number: int, ready: Callable[[Window], None]) -> None:
        """Another reader reads from the event with this sequence number; ``ready`` is called for what comes after.

        Raises:
            ValueError: that event is not kept, or not there yet.
        """
        if not self.has(number):
            raise ValueError(f"event {number} is not kept: have {self._base} to {self.next_number - 1}")
        self._make()
        self._held = 0  # the new reader looks for itself
        self._ready = ready
        self._cursor = number - self._base
        self._kept = sum(map(len, self._events[: self._cursor]))
        self._waiting = sum(map(len, self._events[self._cursor :]))
        self._readers.unpark_all()

    def peek(self, number: int, budget: int) -> list[bytes]:
        """Events from this number on, about ``budget`` bytes of them, for somebody who only looks on.

        Raises:
            ValueError: that event is not kept.
        """
        if not self.has(number):
            raise ValueError(f"event {number} is not kept: have {self._base} to {self.next_number - 1}")
        self._make()
        events: list[bytes] = []
        for event in self._events[number - self._base :]:
            if budget <= 0:
                break
            events.append(event)
            budget -= len(event)
        return events

    def skip_to(self, number: int) -> None:
        """What comes before this number counts as read: somebody who looks on has taken the reader's place."""
        self._make()
        end = number - self._base
        if end > self._cursor:
            self._advance(end, sum(map(len, self._events[self._cursor : end])))

    async def changed(self) -> None:
        """Wait until there is something to read again, all was read, or `stir` is called."""
        if self._readers is _NOBODY:
            self._readers = trio.lowlevel.ParkingLot()
        await self._readers.park()

    def stir(self) -> None:
        """Let everybody who waits look again."""
        self._readers.unpark_all()

    @property
    def size(self) -> int:
        """Bytes here: what waits, and what is kept."""
        return self._waiting + self._kept

    def close(self) -> None:
        """No event will follow."""
        self.closed = True
        if self._readers:
            self._readers.unpark_all()

    async def drained(self) -> None:
        """Wait until everything here was read."""
        while self._waiting:
            await self.changed()

    async def readable(self) -> bool:
        """Wait for something to read; False if there is nothing and nothing will follow."""
        while not self._waiting:
            if self.closed:
                return False
            await self.changed()
        return True

    def statistics(self) -> WindowStatistics:
        """Sizes and waiters at this moment."""
        return WindowStatistics(
            next_number=self.next_number,
            waiting_events=len(self._events) - self._cursor,
            waiting_bytes=self._waiting,
            kept_events=len(self._events),
            tasks_waiting=self._producers.statistics().tasks_waiting,
        )
