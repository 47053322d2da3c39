"""The outgoing half of a connection. One place writes at a time: a producer, or the writer task.

A producer does one non-blocking send while the wire is idle, and at once; whatever comes a moment after a write, does
not fit into the socket, or finds somebody writing is the writer's, which joins it. Who may write is one flag, as every
event asks for it.
"""

from __future__ import annotations

import abc

import trio

from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import ByteSource, ByteStream
from agentwire.runtime.window import Framing

__all__ = ["Outgoing"]

_COALESCE = 1e-3  # seconds after a write within which more is likely: leave it to the writer, which joins
_WAITED = 0.1  # seconds that a write takes if it had to wait for the peer, and not just for its turn


class Outgoing(abc.ABC):
    """Writes control frames and messages to a stream, whole frames one after another.

    Args:
        stream: the socket.
        limits: deadline on write progress, size of one write.
        framing: makes frames of messages, as this role sends them.

    Attributes:
        ended: how the connection ended, or None while it is open.
    """

    __slots__ = (
        "_bytes_out", "_closing", "_control", "_flushed", "_framing", "_heard", "_idle", "_limits", "_now", "_parked",
        "_residue", "_source", "_stream", "_stuck", "_woken", "_writes", "_written", "ended",
    )  # fmt: skip

    def __init__(self, stream: ByteStream, *, limits: Limits, framing: Framing) -> None:
        self.ended: ConnectionEnded | None = None
        self._stream = stream
        self._limits = limits
        self._framing = framing
        self._now = trio.lowlevel.current_clock().current_time  # what trio.current_time() asks, without the way there
        self._heard = self._now()
        self._idle = False  # True while nobody writes: the writer, if there is one, is parked and has not been woken
        self._woken = False  # True from when the writer is woken until it runs; then nobody writes, either
        self._closing = False  # either side has said goodbye: no more messages
        self._stuck = False
        self._source: ByteSource | None = None
        self._control = bytearray()
        self._residue: bytes | memoryview = b""  # the rest of a frame; then the wire is never idle
        self._written = -1.0
        self._parked: list[trio.lowlevel.Task] = []  # the writer, and whoever is to take its place
        self._flushed = trio.Event()
        self._bytes_out = self._writes = 0

    @abc.abstractmethod
    def fail(self, cause: str) -> None:
        """The connection is over, for this reason."""

    @abc.abstractmethod
    def story(self) -> ConnectionEnded:
        """How it ended, as far as is known now."""

    @property
    def last_heard(self) -> float:
        """Trio's time of the last sign of life: while a write waits, it is now, as nothing we ask can reach the peer.

        That write has a deadline of its own.
        """
        return self._now() if self._stuck else self._heard

    # A producer's side

    def offer(self, event: bytes) -> bool:
        """Write one message now if the wire is idle; see `Wire.offer`."""
        if not self._idle or self._closing:
            return False
        now = self._now()
        if now - self._written < _COALESCE:
            return False
        self._send_now(self._framing((event,)), now)
        return True

    def kick(self) -> None:
        """There is something to send; see `Wire.kick`."""
        if not self._idle:
            return
        now = self._now()
        if now - self._written < _COALESCE and self._wake():
            return
        if data := self._next():
            whole = self._send_now(data, now)
            if whole and self._has_messages():
                self._wake()

    def nudge(self) -> None:
        """There is something to send that the writer shall make; see `Wire.nudge`."""
        if self._idle and not self._wake():
            self.kick()

    def hurry(self) -> None:
        """Write now what the writer has only been woken for; see `Wire.hurry`."""
        if self._woken and self.ended is None and (data := self._next()):
            self._woken = False
            self._send_now(data, self._now())

    def _send_now(self, data: bytes | memoryview, now: float) -> bool:
        """One non-blocking send; what it does not take is the writer's. True if it took everything."""
        try:
            sent = self._stream.send_nowait(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.fail("connection reset by the peer")
            return False
        self._written = now
        self._bytes_out += sent
        self._writes += 1
        if sent < len(data):
            self._residue = memoryview(data)[sent:]
            self._idle = False
            self._unpark()
            return False
        return True

    def _wake(self) -> bool:
        """Leave everything to the writer; False if there is none."""
        if not self._parked:
            return False
        self._idle = False
        self._woken = True
        self._unpark()
        return True

    def _unpark(self) -> None:
        while self._parked:  # by hand, as a parking lot takes twice as long to wake one, for every turn
            trio.lowlevel.reschedule(self._parked.pop())

    def _next(self) -> bytes | memoryview:
        """What to write next: the rest of a frame, then control frames, then messages; never data after a close."""
        if self._residue:
            residue, self._residue = self._residue, b""
            return residue
        if self._control:
            control = bytes(self._control)
            self._control.clear()
            return control
        if self._source is None or self._closing:
            return b""
        return self._source.take(self._limits.write_bytes, self._framing)

    def _has_messages(self) -> bool:
        return not self._closing and self._source is not None and self._source.pending

    # The writer's side

    async def send_many(self, source: ByteSource) -> None:
        """The writer; see `Wire.send_many`."""
        self._source = source
        try:
            while self.ended is None:
                self._idle = self._woken = False
                while data := self._next():
                    await self._write(data)
                self._flushed.set()
                self._idle = self.ended is None
                while self._idle:
                    await self._park()
        finally:
            self._idle = self.ended is None and not self._residue
        raise self.story()

    async def _park(self) -> None:
        writer = trio.lowlevel.current_task()

        def leave(_: object) -> trio.lowlevel.Abort:
            self._parked.remove(writer)
            return trio.lowlevel.Abort.SUCCEEDED

        self._parked.append(writer)
        await trio.lowlevel.wait_task_rescheduled(leave)

    async def _write(self, data: bytes | memoryview) -> None:
        """Write it all. Most of the time the socket takes it at once, which needs no deadline and no pause."""
        try:
            sent = self._stream.send_nowait(data)
            if sent:
                self._count(sent)
            if sent < len(data):
                await self._write_slowly(memoryview(data)[sent:], full=sent > 0)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.fail("connection reset by the peer")
            raise self.story() from None
        if self._control or self._has_messages():
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _write_slowly(self, data: memoryview, *, full: bool) -> None:
        """As fast as the peer takes it, in ever so small parts, each within the deadline."""
        try:
            while data:
                begun, self._stuck = self._now(), True
                with trio.move_on_after(self._limits.write_progress, shield=True) as scope:
                    sent = await self._stream.wait_send(data)
                self._stuck = False
                if scope.cancelled_caught:
                    self.fail(f"the peer took nothing for {self._limits.write_progress:g} s")
                    raise self.story()
                self._count(sent)
                if full or self._written - begun > _WAITED:
                    self._heard = self._written  # the peer has made room, so it lives, however little it says
                data = data[sent:]
                full = True
        finally:
            self._stuck = False

    def _count(self, sent: int) -> None:
        self._written = self._now()
        self._bytes_out += sent
        self._writes += 1

    async def flush(self) -> None:
        """Wait until everything that is ready has been written (the writer must be running)."""
        while self.ended is None and (not self._idle or self._control or self._has_messages()):
            if self._flushed.is_set():
                self._flushed = trio.Event()
            self._wake()
            await self._flushed.wait()
