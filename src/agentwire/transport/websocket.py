"""The one module that knows trio-websocket: it does handshakes and control frames, and we do the rest.

Two context managers open a `WebSocketWire`, one for each role. They own the stream: when they are left, whatever
the reason, the socket is closed first, by force, and only then are the library's tasks cancelled, so that no shielded
write can hold them up.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NoReturn

import msgspec
import trio
import trio_websocket

from agentwire.protocol.errors import CloseFrame, ConnectionEnded, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import ByteSource, ByteStream
from agentwire.runtime.groups import open_flat_nursery
from agentwire.runtime.window import Framing
from agentwire.transport.filter import INVALID_HANDSHAKE, FilterStatistics, FilterStream
from agentwire.transport.frames import FrameParser, client_frame, server_framing

__all__ = [
    "HandshakeRefused",
    "HandshakeUnanswered",
    "WebSocketWire",
    "client_framing",
    "open_client_wire",
    "open_server_wire",
]

log = logging.getLogger("agentwire.transport")

Header = tuple[str, str]


class HandshakeUnanswered(ConnectionEnded):
    """The server said nothing to the upgrade for as long as it may take."""


class HandshakeRefused(RemoteProtocolError):
    """The server answered the upgrade with something else than 101.

    Args:
        status: the HTTP status.
        headers: the response's headers, names in lower case.
        body: the response's body, as far as it came.
    """

    def __init__(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        answered = f"with HTTP {status}" if status else "without speaking HTTP"
        super().__init__(f"the server refused the WebSocket {answered}: {_said(body)}".rstrip(": "))
        self.status = status
        self.headers = tuple(headers)
        self.body = body


class _Said(msgspec.Struct):
    message: str


class _Refusal(msgspec.Struct):
    error: _Said


_JSON_OBJECT: Final = re.compile(rb"\{.*\}", re.DOTALL)
_LONGEST_SAID: Final = 500


def _said(body: bytes) -> str:
    """What a refusal says to people: the message of the API's JSON error, or the start of whatever there is."""
    if found := _JSON_OBJECT.search(body):
        with suppress(ValueError, RecursionError):
            body = msgspec.json.decode(found[0], type=_Refusal).error.message.encode()
    return body[:_LONGEST_SAID].decode(errors="replace").strip()


def client_framing(random_bytes: Callable[[int], bytes] = os.urandom) -> Framing:
    """Masked text frames, each with a key from ``random_bytes`` (RFC 6455 asks for unpredictable ones)."""

    def framing(events: Sequence[bytes]) -> bytes:
        return b"".join([client_frame(event, random_bytes(4)) for event in events])

    return framing


class WebSocketWire:
    """The `Wire` over one WebSocket connection; made by `open_server_wire` and `open_client_wire`."""

    def __init__(self, filtered: FilterStream, library: trio_websocket.WebSocketConnection, limits: Limits) -> None:
        self._filter = filtered
        self._library = library
        self._limits = limits
        # See `Wire.kick` and the others there; on the path of every event, so without a call between.
        self.kick = filtered.kick
        self.nudge = filtered.nudge
        self.hurry = filtered.hurry
        self.offer = filtered.offer

    async def receive(self) -> bytes:
        """The next message; raises `ConnectionEnded` at the end and `RemoteProtocolError` for the peer's faults."""
        return await self._filter.receive()

    async def receive_each(self, take: Callable[[bytes], None]) -> NoReturn:
        """Hand over every message as soon as it is here; see `Wire.receive_each`."""
        await self._filter.receive_each(take)

    async def receive_ready(self) -> list[bytes]:
        """The messages that are here, or the next one; raises as `receive`."""
        return await self._filter.receive_ready()

    async def send_many(self, source: ByteSource) -> None:
        """The writer task; see `Wire.send_many`."""
        await self._filter.send_many(source)

    def header(self, name: str) -> str | None:
        """What the peer's half of the handshake said in this header, its name in lower case; None if it had none."""
        found = (value for each, value in self._library.handshake_headers if each.lower() == name.encode())
        return next((value.decode("latin-1") for value in found), None)

    def ping(self) -> None:
        """Ask for a sign of life; ``last_heard`` tells whether one came."""
        self._filter.ping()

    @property
    def last_heard(self) -> float:
        """Trio's time of the last byte from the peer."""
        return self._filter.last_heard

    @property
    def ended(self) -> ConnectionEnded | None:
        """How it ended, or None while it is open."""
        return self._filter.story() if self._filter.ended is not None else None

    def statistics(self) -> FilterStatistics:
        """Bytes, writes and queues."""
        return self._filter.statistics()

    async def close(self, code: int, reason: str = "", *, patience: float = 0.0) -> None:
        """Say what is ready, then goodbye, wait for the peer's answer, and close; bounded as `Wire.close` says.

        Cancellation cuts it short: the socket is closed all the same.
        """
        filtered, grace = self._filter, self._limits.close_grace
        end = trio.current_time() + max(patience, grace)
        try:
            with trio.move_on_at(end):
                with trio.move_on_at(end - grace):  # a peer that is slow still has its pings answered
                    await filtered.flush()
                filtered.fall_silent()
                with trio.move_on_after(grace / 2):  # there may always be more to say
                    await filtered.flush()
                await filtered.library_idle()
                if filtered.sent is None and filtered.received is None:
                    filtered.sent = CloseFrame(code, reason)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._library.aclose, code, reason or None)
                    await filtered.see_out()
        finally:
            await self.abort(f"closed with {code} {reason}".rstrip())  # noqa: ASYNC102 - waits for nothing

    async def abort(self, cause: str) -> None:
        """Cut the connection off now."""
        self._filter.fail(cause)
        await trio.aclose_forcefully(self._filter)


@asynccontextmanager
async def open_server_wire(
    stream: ByteStream, head: bytes, *, headers: Sequence[Header] = (), limits: Limits
) -> AsyncGenerator[WebSocketWire]:
    """Accept the upgrade whose judged and clean request head is ``head``; closes ``stream`` in the end.

    Raises:
        ConnectionEnded: the client went away during the handshake, or took longer than ``limits.handshake``.
    """
    parser = FrameParser(masked=True, max_message=limits.message_bytes)
    filtered = FilterStream(stream, parser=parser, limits=limits, framing=server_framing, preface=head)
    async with _transport(filtered) as nursery:
        library = None
        extra = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]
        with trio.move_on_after(limits.handshake), suppress(trio_websocket.ConnectionClosed):
            request = await trio_websocket.wrap_server_stream(nursery, filtered)
            filtered.expect_frames()
            library = await request.accept(extra_headers=extra)
        if library is None:
            filtered.fail(f"the handshake took more than {limits.handshake:g} s")  # counts if nothing else did
            raise filtered.story()
        filtered.queue_sends()
        yield WebSocketWire(filtered, library, limits)


@asynccontextmanager
async def open_client_wire(
    stream: ByteStream,
    *,
    host: str,
    target: str,
    headers: Sequence[Header] = (),
    limits: Limits,
    framing: Framing | None = None,
) -> AsyncGenerator[WebSocketWire]:
    """Ask for an upgrade on a connected stream; closes ``stream`` in the end.

    Args:
        host: the ``Host`` header (IPv6 in brackets, the port where it is not the scheme's own).
        target: path and query.

    Raises:
        HandshakeRefused: the server answered, but not with 101.
        ConnectionEnded: the server went away instead of answering, or said nothing within ``limits.handshake``.
        RemoteProtocolError: the server said 101 in a way that RFC 6455 does not allow.
    """
    parser = FrameParser(masked=False, max_message=limits.response_bytes)
    filtered = FilterStream(stream, parser=parser, limits=limits, framing=framing or client_framing(), client=True)
    async with _transport(filtered) as nursery:
        extra = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]
        library = None
        with trio.move_on_after(limits.handshake):
            library = await _shake_hands(nursery, filtered, host, target, extra)
        if library is None:
            _raise_refusal(filtered)  # an answer without an end is an answer all the same
            raise HandshakeUnanswered(cause=f"no answer to the handshake within {limits.handshake:g} s")
        filtered.queue_sends()
        yield WebSocketWire(filtered, library, limits)


async def _shake_hands(
    nursery: trio.Nursery, filtered: FilterStream, host: str, target: str, headers: list[tuple[bytes, bytes]]
) -> trio_websocket.WebSocketConnection:
    """Wait for the answer; trio-websocket alone would wait for ever for a server that goes away instead."""
    opened: list[trio_websocket.WebSocketConnection] = []

    async def run_library() -> None:
        try:
            async with trio.open_nursery() as tasks:
                stream: Any = filtered  # typed as a socket there, and used as any stream
                opened.append(
                    await trio_websocket.wrap_client_stream(tasks, stream, host, target, extra_headers=headers)
                )
                filtered.handshake_over.set()
        except* Exception as errors:
            if not opened and filtered.statistics().bytes_in:
                filtered.fail(INVALID_HANDSHAKE)  # the library stumbles over its own refusal of such an answer
            else:
                log.warning("trio-websocket failed", exc_info=errors)
                filtered.fail(f"the handshake or the server's control frames are not valid: {errors.exceptions[0]!r}")

    nursery.start_soon(run_library, name="trio-websocket")
    await filtered.handshake_over.wait()
    if opened and filtered.ended is None:
        return opened[0]
    _raise_refusal(filtered)
    if filtered.ended is not None and filtered.ended.cause == INVALID_HANDSHAKE:
        raise RemoteProtocolError("the server's 101 is not a valid answer to the WebSocket handshake")
    raise filtered.story()


def _raise_refusal(filtered: FilterStream) -> None:
    answer = filtered.answer.answer if filtered.answer is not None else None
    if answer is not None:
        raise HandshakeRefused(answer.status, answer.headers, answer.body)


@asynccontextmanager
async def _transport(filtered: FilterStream) -> AsyncGenerator[trio.Nursery]:
    """The nursery of the library's tasks; the stream is closed before they are cancelled."""
    async with open_flat_nursery() as nursery:
        try:
            yield nursery
        finally:
            filtered.fail("closed")
            await trio.aclose_forcefully(filtered)
            nursery.cancel_scope.cancel(reason="the connection is closed")
