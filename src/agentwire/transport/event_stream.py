"""An answer that is a stream of server-sent events, as its payloads.

Everything that arrived together is one batch. A deadline is on the next event, not on the next byte: a server, or a
proxy before it, that sends comments for ever has not said anything.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Self

import trio

from agentwire.protocol.errors import RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.transport.caller import Caller
from agentwire.transport.heads import ResponseHead
from agentwire.transport.sse import SseParser

__all__ = ["SseStream"]

_DONE: Final = b"[DONE]"
_USUAL: Final = ("text/event-stream", "application/json", None)
_JSON: Final = (b"{", b"[")
_FIELDS: Final = (b"data", b":", b"event", b"id", b"retry", b"error")
_BLANKS: Final = b" \t\r\n\xef\xbb\xbf"
_NO_FIRST: Final = "silent for too long: no first event within {:g} s"
_NO_NEXT: Final = "silent for too long: no further event within {:g} s"


class SseStream:
    """The payloads of one event stream, one by one or in batches; ends at ``[DONE]``, or where the body does.

    Cancelling a read loses nothing.

    Args:
        caller: what is left of the exchange.
        head: of the answer.
        limits: deadlines and sizes.
        first_by: until when the first event must come.
        or_json: whether a body that begins like JSON is one payload, and all of them, and one of an odd type must begin
            like a stream.

    Attributes:
        status: the HTTP status, below 300.
        headers: names in lower case.
        done: True once ``[DONE]`` was read: the server has said everything, and its connection is kept if its answer
            ends soon. Whoever knows that by a payload sets it.
    """

    def __init__(
        self, caller: Caller, head: ResponseHead, limits: Limits, first_by: float, *, or_json: bool = False
    ) -> None:
        self.status = head.status
        self.headers = head.headers
        self.done = False
        self._caller = caller
        self._parser = SseParser(limits.message_bytes)
        self._limits = limits
        self._first_by: float | None = first_by
        self._or_json = or_json
        self._odd = head.media_type not in _USUAL
        self._ready: deque[bytes] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next payload; waits only if none is here, so a loop over what arrived together has no checkpoint."""
        if not self._ready:
            self._ready.extend(await self.batch())
        if not self._ready:
            raise StopAsyncIteration
        return self._ready.popleft()

    async def batch(self) -> list[bytes]:
        """Everything that has arrived, at least one payload; empty at the end.

        Raises:
            ConnectionEnded: the connection broke, or no event came for ``limits.upstream_silence`` seconds, or no first
                one within ``limits.upstream_first_event`` seconds of the request. Comments are no events.
            RemoteProtocolError: an event is larger than ``limits.message_bytes``, or the body is broken, or no stream.
        """
        if self._ready:
            batch = [*self._ready]
            self._ready.clear()
            return batch
        caller = self._caller
        if self._first_by is None:
            caller.expect(_NO_NEXT, self._limits.upstream_silence)
        else:
            caller.expect(_NO_FIRST, self._limits.upstream_first_event, by=self._first_by)
        try:
            while not (self.done or caller.complete):
                data = await caller.read()
                if self._or_json and (body := await self._look(data)) is not None:
                    return [body]
                if payloads := self._parser.feed(data):
                    if _DONE in payloads:
                        self.done = True
                        del payloads[payloads.index(_DONE) :]
                    if payloads:
                        self._first_by = None
                        return payloads
        finally:
            caller.relax()
        if caller.complete:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()  # the formal end may be on its way
        return []

    async def _look(self, data: bytes) -> bytes | None:
        """What the body begins with, until that is known: the whole of it if it is JSON, None if it is a stream."""
        begun = data.lstrip(_BLANKS)
        if begun.startswith(_JSON):
            return await self._whole(begun)
        if self._odd and not any(begun.startswith(field) or field.startswith(begun) for field in _FIELDS):
            raise RemoteProtocolError(f"it answered with {self.headers['content-type']}, and no stream")
        self._or_json = not begun
        return None

    async def _whole(self, data: bytes) -> bytes:
        """The whole body, of which this is the beginning."""
        body, most = bytearray(data), self._limits.message_bytes
        await self._caller.read_into(body, most)
        if len(body) > most:
            raise RemoteProtocolError(f"an answer of JSON is larger than {most} bytes")
        self.done = True
        return bytes(body)

    def name_types(self) -> None:
        """An event's name is the ``type`` of a payload that has none; for servers that say it there alone."""
        self._parser.named = True

    async def drain(self) -> None:
        """Read the body's end, so that its connection can be used again; whatever comes is dropped.

        Raises:
            ConnectionEnded: the connection broke, or nothing came for ``limits.upstream_silence`` seconds.
            RemoteProtocolError: the body is broken.
        """
        await trio.lowlevel.checkpoint()
        await self._caller.skip()
