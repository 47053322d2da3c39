"""What the runtime asks of a socket: a stream of bytes with one send that never waits, and a wire of whole messages.

A wire pulls what it writes, so that what goes next is decided at the last moment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, Protocol

from agentwire.runtime.window import Framing

__all__ = ["ByteSource", "ByteStream", "Wire"]


class ByteStream(Protocol):
    """A connected byte stream: ``trio.abc.Stream`` plus one non-blocking send."""

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Hand over what the peer's side takes at once; returns how many bytes, 0 if none.

        Raises:
            trio.BrokenResourceError: the peer is gone.
            trio.ClosedResourceError: we closed it.
        """

    async def wait_send(self, data: bytes | memoryview) -> int:
        """Wait until at least one byte is taken; returns how many. Cancelling it loses nothing that is not counted."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything; cancelled, nobody knows how much was sent."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """The next bytes; empty at the end."""

    async def aclose(self) -> None:
        """Close, without any promise about what was not yet taken."""


class ByteSource(Protocol):
    """What a wire pulls from when it may write: the latest possible moment to decide what goes next."""

    @property
    def pending(self) -> bool:
        """True while `take` would give something."""

    def take(self, max_bytes: int, framing: Framing) -> bytes:
        """Ready messages in order, framed, about ``max_bytes`` of them (one may be larger); empty if there are none."""


class Wire(Protocol):
    """One WebSocket, whichever side: whole messages in, ready frames out.

    There is one reader and one writer task; everything else only leaves work for them.
    """

    async def receive(self) -> bytes:
        """The next whole message, in order.

        Raises:
            ConnectionEnded: no more will come, and a goodbye that was under way from here has gone out.
        """

    async def receive_each(self, take: Callable[[bytes], None]) -> NoReturn:
        """Hand every message to ``take``, in order and at once, in whatever task it comes to light; never returns.

        Args:
            take: may not wait; what it raises is raised here, and ends it.

        Raises:
            ConnectionEnded: as `receive`.
        """

    async def send_many(self, source: ByteSource) -> None:
        """The writer: send what ``source`` gives, whenever `kick` says that there is some, until the wire ends.

        Each write is shielded from cancellation and has a deadline on progress; a peer that misses it is cut off.

        Raises:
            ConnectionEnded: the wire is over.
        """

    def kick(self) -> None:
        """There is something to send: one non-blocking write now if nobody else writes, the writer does the rest."""

    def nudge(self) -> None:
        """There is something to send, once whoever says so has something to wait for: the writer does it."""

    def hurry(self) -> None:
        """Nothing more comes for the moment: write now what the writer has been woken for and has not come to yet."""

    def offer(self, event: bytes) -> bool:
        """Write this one message now, if nothing else waits and nobody writes; False, and nothing done, otherwise.

        It is `kick` for the most common case, one event while the wire is idle, without a queue in between.
        """

    def ping(self) -> None:
        """Ask the peer for a sign of life; answered or not, this returns at once (see ``last_heard``)."""

    @property
    def last_heard(self) -> float:
        """Trio's time at which the peer last sent anything."""

    async def close(self, code: int, reason: str = "", *, patience: float = 0.0) -> None:
        """Say goodbye: what is ready, then a close frame, then wait for the peer's, within ``limits.close_grace``.

        Args:
            code: of the close frame.
            reason: in the close frame.
            patience: seconds instead of that grace, if they are more, for a peer that may be slow to read what it gets.
        """

    async def abort(self, cause: str) -> None:
        """Cut it off now: no frame, no waiting."""
