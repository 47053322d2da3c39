"""The stream between a socket and trio-websocket, for both roles: data frames go beside the library, not through it.

Whole messages are cut out of what comes in and control frames handed on; what the library sends is only queued, so
that its reader never waits behind a stuck peer. How it is written out is `agentwire.transport.outgoing`'s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

import attrs
import trio

from agentwire.protocol.errors import CloseFrame, ConnectionEnded, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import ByteStream
from agentwire.runtime.window import Framing
from agentwire.transport.frames import CLOSE, PING, Control, FrameParser
from agentwire.transport.outgoing import Outgoing
from agentwire.transport.refusal import AnswerReader
from agentwire.transport.streams import close_now

__all__ = ["INVALID_HANDSHAKE", "FilterStatistics", "FilterStream"]

INVALID_HANDSHAKE: Final = "the handshake is not valid"
"""How a connection ends that the library gave up before it was open."""

_CHUNK = 65536
_BAD_GATEWAY = 1014  # a close code that the library takes for a fault
_INBOX = 64  # messages taken between two turns of other tasks


@attrs.frozen
class FilterStatistics:
    """A snapshot of one connection: queues in bytes or messages, totals since it opened."""

    bytes_in: int
    bytes_out: int
    writes: int
    messages_in: int
    inbox: int
    unsent_bytes: int


class FilterStream(Outgoing, trio.abc.Stream):
    """Filters one connection's bytes.

    Args:
        stream: the socket; closed by `aclose` and `fail`.
        parser: takes the peer's frames apart.
        limits: deadline on write progress, reserve of queued control frames, size of one write.
        framing: makes frames of messages, as this role sends them.
        preface: bytes that the library reads first (a clean handshake request, on a server).
        client: what comes in begins with the answer to the handshake; what follows a 101 are frames.

    Attributes:
        violation: what the peer did wrong first.
        received: the peer's close frame.
        sent: ours.
        answer: the server's answer to the handshake, on a client, for as long as it is not a 101.
        handshake_over: set when the answer to a client's handshake is known, or when there will be none.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        parser: FrameParser,
        limits: Limits,
        framing: Framing,
        preface: bytes = b"",
        client: bool = False,
    ) -> None:
        super().__init__(stream, limits=limits, framing=framing)
        self.violation: RemoteProtocolError | None = None
        self.received: CloseFrame | None = None
        self.sent: CloseFrame | None = None
        self._parser = parser
        self._preface = preface
        self.answer = AnswerReader(limits.head_bytes) if client else None
        self.handshake_over = trio.Event()
        self._ping_frame = b"\x89\x80\0\0\0\0" if client else b"\x89\0"
        self._empty_close = b"\x88\x80\0\0\0\0" if not client else b"\x88\0"
        self._frames_in = False
        self._silent = False
        self._queueing = False
        self._half_closed = False
        self._said_goodbye = trio.Event()
        self._over = trio.Event()
        self._inbox: deque[bytes] = deque()
        self._hand_over: Callable[[bytes], None] | None = None  # takes messages instead of the inbox
        self._failure: Exception | None = None  # what it has raised
        self._through = bytearray()
        self._library_idle = trio.Event()
        self._arrived = trio.Event()
        self._taken = trio.Event()
        self._bytes_in = self._messages_in = 0

    # The handshake

    def expect_frames(self) -> None:
        """The next byte that comes in belongs to a frame (a server calls this before it says 101)."""
        self._frames_in = True

    def queue_sends(self) -> None:
        """The handshake is done: from now on the library's sends are queued for the writer."""
        self._queueing = self._idle = True

    # The library's side: trio.abc.Stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Queue control frames; write a handshake at once."""
        if not self._queueing:
            try:
                await self._stream.send_all(bytes(data))
            except trio.BrokenResourceError:
                self.fail("connection reset by the peer")  # the library reads no more then, so that nobody else sees it
                raise
            return
        await trio.lowlevel.checkpoint()
        if self.ended is not None:
            raise trio.ClosedResourceError
        if len(self._control) + len(data) > self._limits.reply_bytes:
            self.fail("the peer asks for answers that it does not read")
            raise trio.BrokenResourceError
        self._control += data
        if data[0] & 0x0F == CLOSE:
            self._closing = True
            self._said_goodbye.set()
        self.kick()

    async def wait_send_all_might_not_block(self) -> None:
        """Sends are queued, so they never block."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes that are the library's business: handshake and control frames."""
        if self._preface:
            await trio.lowlevel.checkpoint()
            preface, self._preface = self._preface, b""
            return preface
        while True:
            if self._through:
                through = bytes(self._through)
                self._through.clear()
                self._library_idle = trio.Event()
                return through
            self._library_idle.set()
            data = await self._read()
            if not data:
                return b""
            if self.answer is not None and not (data := self._read_answer(self.answer, data)):
                continue
            if not self._frames_in:
                return data
            await self._filter(data)

    async def aclose(self) -> None:
        """The library is done with the stream: what it has said still goes out, within the grace, then we close."""
        try:
            if self._queueing:
                with trio.move_on_after(self._limits.close_grace):
                    if self.sent is not None:  # it may have heard the peer's goodbye while ours is on its way here
                        await self._said_goodbye.wait()
                    await self.flush()
        finally:
            self.fail("closed" if self._queueing else INVALID_HANDSHAKE)
            await close_now(self._stream)  # noqa: ASYNC102 - waits for nothing

    # Coming in

    async def _read(self) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(_CHUNK))
        except trio.BrokenResourceError:
            self.fail("connection reset by the peer")
            raise
        except trio.ClosedResourceError:
            self.fail("closed")
            raise
        self._heard = self._now()
        self._bytes_in += len(data)
        if not data:
            self.fail("the peer ended the connection")
        return data

    def _read_answer(self, answer: AnswerReader, data: bytes) -> bytes:
        """A client's handshake: the head of a 101 is the library's, what follows are frames, returned here.

        A refusal stays in ``answer``: the library never sees it.
        """
        if not answer.feed(data):
            return b""
        if answer.accepted is None:
            self.handshake_over.set()
            return b""
        head, frames = answer.accepted
        self.answer, self._frames_in = None, True
        self._through += head
        return frames

    async def _filter(self, data: bytes) -> None:
        """Sort frames: messages into the inbox, control frames to the library.

        Raises nothing for the peer's faults: they are for the task that reads messages.
        """
        try:
            for found in self._parser.feed(data):
                if isinstance(found, Control):
                    self._pass_control(found.raw, found.opcode, found.payload)
                    continue
                self._messages_in += 1
                if self._hand_over is not None:
                    try:
                        self._hand_over(found)
                    except Exception as error:  # noqa: BLE001 - raised by who wants the messages
                        self._failure, self._hand_over = error, None
                        self._arrived.set()
                    if self._messages_in % _INBOX == 0:
                        await trio.lowlevel.checkpoint()
                    continue
                self._inbox.append(found)
                self._arrived.set()
                if len(self._inbox) >= _INBOX:
                    self._taken = trio.Event()
                    await self._taken.wait()
        except RemoteProtocolError as violation:
            self.violation = self.violation or violation
            self._arrived.set()

    def _pass_control(self, raw: bytes, opcode: int, payload: bytes) -> None:
        if self.received is not None or (opcode == PING and (self._silent or self._closing)):
            return  # after a close frame nothing counts; and the library must not answer after its own
        if opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            self.received = CloseFrame(code, payload[2:].decode(errors="replace"))
            self._parser.discard()
            self._closing = True
            self._arrived.set()
            if code == _BAD_GATEWAY:
                raw = self._empty_close
        self._through += raw

    async def receive(self) -> bytes:
        """The next message.

        Raises:
            ConnectionEnded: the connection is over, or the peer has said goodbye.
            RemoteProtocolError: the peer broke the framing rules; close with its code.
        """
        await self._have()
        return self._inbox.popleft()

    async def receive_each(self, take: Callable[[bytes], None]) -> NoReturn:
        """Hand every message to ``take`` as soon as it is here; see `Wire.receive_each`."""
        try:
            while self._failure is None:
                while self._inbox:
                    take(self._inbox.popleft())
                self._hand_over = take
                await self._have()
        finally:
            self._hand_over = None
            failure, self._failure = self._failure, None
        raise failure

    async def receive_ready(self) -> list[bytes]:
        """The messages that are here, or the next one; raises as `receive`."""
        await self._have()
        ready = [*self._inbox]
        self._inbox.clear()
        return ready

    async def _have(self) -> None:
        while not self._inbox and self._failure is None:
            self._taken.set()
            if self.ended is not None or (self.received is not None and self.sent is None):
                raise self.story()  # where we said goodbye first, our frame may still be on its way out
            if self.violation is not None:
                raise self.violation
            self._arrived = trio.Event()
            await self._arrived.wait()

    # Going out

    def ping(self) -> None:
        """Queue a ping."""
        if not self._closing:
            self._control += self._ping_frame
            self.kick()

    # The end

    def fall_silent(self) -> None:
        """We are about to close: keep no more messages, and answer no more pings."""
        self._silent = True
        self._parser.discard()
        self._inbox.clear()
        self._taken.set()

    async def library_idle(self) -> None:
        """Wait until the library has dealt with all that it was given: a ping after its close frame would break it."""
        while self.ended is None and not self._library_idle.is_set():
            await self._library_idle.wait()

    async def see_out(self) -> None:
        """Write out our close frame, as soon as the library has said it, and wait until the connection is over.

        A peer that broke the rules cannot be understood any more: it is told that nothing else will come, and has to
        go first, because closing in front of what it still sends could cost it our close frame. Several tasks may
        want the end at the same time.
        """
        await self._said_goodbye.wait()
        await self.flush()
        ends = self.violation is not None and not self._half_closed
        if ends and isinstance(self._stream, trio.abc.HalfCloseableStream):
            self._half_closed = True
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._stream.send_eof()
        await self._over.wait()

    def fail(self, cause: str) -> None:
        """The connection is over, for this reason; the first one counts. Wakes everybody; the caller closes."""
        if self.ended is None:
            self.ended = ConnectionEnded(sent=self.sent, received=self.received, cause=cause)
            self._idle = False
            self._unpark()
            for event in (self._arrived, self._taken, self._flushed, self._library_idle):
                event.set()
            for event in (self.handshake_over, self._said_goodbye, self._over):
                event.set()

    def story(self) -> ConnectionEnded:
        """How it ended, as far as is known now."""
        cause = self.ended.cause if self.ended is not None and self.received is None else ""
        return ConnectionEnded(sent=self.sent, received=self.received, cause=cause)

    def statistics(self) -> FilterStatistics:
        """Totals and queues at this moment."""
        unsent = len(self._control) + len(self._residue)
        return FilterStatistics(
            self._bytes_in, self._bytes_out, self._writes, self._messages_in, len(self._inbox), unsent
        )
