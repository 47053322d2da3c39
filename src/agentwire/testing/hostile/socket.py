"""The server's end of one WebSocket, which keeps the rules until it is told to break them.

It shares its frames with the library and nothing else: no session, no queue, no state machine.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import trio

from agentwire.protocol.errors import RemoteProtocolError
from agentwire.runtime.contracts import ByteStream
from agentwire.testing.hostile.script import End
from agentwire.testing.hostile.seen import Seen, SeenConnection
from agentwire.testing.hostile.steps import Form
from agentwire.testing.raw_frames import raw_frame
from agentwire.testing.streams import MemoryStream
from agentwire.transport.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Control, FrameParser
from agentwire.transport.requests import Request
from agentwire.transport.streams import SocketByteStream, close_now

__all__ = ["Gone", "ServerSocket", "accept_key", "reset_now", "server_frame_of"]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MOST: Final = 256 * 2**20
_CHUNK: Final = 65536


class Gone(Exception):
    """There is nobody to say anything to any more."""


def accept_key(key: str) -> str:
    """The ``Sec-WebSocket-Accept`` for a key (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def server_frame_of(
    opcode: int, payload: bytes, *, final: bool = True, reserved: int = 0, masked: bool = False
) -> bytes:
    """One frame of a server, right or wrong; the mask of one that has it is zero."""
    return raw_frame(opcode, payload, final=final, reserved=reserved, key=bytes(4) if masked else None)


async def reset_now(stream: ByteStream) -> None:
    """End a connection with an RST."""
    if isinstance(stream, MemoryStream):
        stream.reset()
    elif isinstance(stream, SocketByteStream):
        stream.reset_at_close()
    await close_now(stream)


class ServerSocket:
    """One WebSocket.

    Args:
        stream: of the connection; whoever serves it closes it.
        early: what came on it already.
        seen: takes down what goes by.
        connection: takes down how it ends.

    Attributes:
        pongs: whether pings are answered.
        answers_close: whether a close frame is answered.
    """

    def __init__(self, stream: ByteStream, early: bytes, seen: Seen, connection: SeenConnection) -> None:
        self.pongs = True
        self.answers_close = True
        self.connection = connection
        self._seen = seen
        self._stream = stream
        self._parser = FrameParser(masked=True, max_message=_MOST)
        self._found: deque[bytes | Control] = deque()
        self._early = early
        self._sending = trio.Lock()
        self._telling = trio.Lock()
        self._dead = False
        self._deaf = False
        self._closing = False
        self._close_seen = trio.Event()

    async def accept(self, request: Request, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer the upgrade with 101."""
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept_key(request.headers.get('sec-websocket-key', ''))}",
            *(f"{name}: {value}" for name, value in headers),
        ]
        self.connection.status = 101
        self._seen.note(self.connection, ">", "101")
        await self.send("\r\n".join((*lines, "", "")).encode("latin-1"))

    def deafen(self) -> None:
        """Read nothing any more; what is said goes on."""
        self._deaf = True

    # What comes

    async def receive(self) -> bytes:
        """The next message; pings are answered on the way.

        Raises:
            Gone: there will be none.
        """
        while True:  # noqa: ASYNC913 - a whole message may be here
            found = await self._next()
            if isinstance(found, bytes):
                return found
            await self._control(found)

    async def _next(self) -> bytes | Control:
        while not self._found:
            data, self._early = self._early or await self._read(), b""
            if self._deaf:
                await trio.sleep_forever()
            try:
                self._found += self._parser.feed(data)
            except RemoteProtocolError as error:
                self._seen.complain(self.connection, f"the client's frames are not valid: {error}")
                raise self._gone("the client's frames are not valid") from None
        return self._found.popleft()

    async def _read(self) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(_CHUNK))
        except trio.BrokenResourceError:
            raise self._gone("the client reset it") from None
        except trio.ClosedResourceError:
            raise self._gone("the server closed it") from None
        if not data:
            raise self._gone("the client closed it without a close frame")
        return data

    async def _control(self, control: Control) -> None:
        if control.opcode == PONG:
            self.connection.pongs += 1
        elif control.opcode == PING:
            self.connection.pings += 1
            if self.pongs:
                await self.send(server_frame_of(PONG, control.payload))
        elif control.opcode == CLOSE:
            code = int.from_bytes(control.payload[:2], "big") if control.payload else 1005
            self._seen.note(self.connection, "<", f"close {code}")
            self._close_seen.set()
            if not self.answers_close and not self._closing:
                self._seen.note(self.connection, "*", "the close frame is not answered")
                await trio.sleep_forever()
            if not self._closing:
                await self.send(server_frame_of(CLOSE, control.payload))
            raise self._gone(f"the client closed it with {code}" if not self._closing else "the server closed it")

    def _gone(self, how: str) -> Gone:
        self.connection.end(how)
        self._close_seen.set()
        return Gone(how)

    # What goes

    async def tell(self, event: Mapping[str, Any], form: Form = "text") -> None:
        """Send one event."""
        self._seen.note(self.connection, ">", event)
        payload = json.dumps(event, ensure_ascii=False).encode()
        async with self._telling:  # frames of two messages must not be mixed
            match form:
                case "text":
                    await self.send(server_frame_of(TEXT, payload))
                case "binary":
                    await self.send(server_frame_of(BINARY, payload))
                case "fragments":
                    for data in _fragments(payload):
                        await self.send(data)
                case "drip":
                    await self._drip(server_frame_of(TEXT, payload))

    async def _drip(self, frame: bytes) -> None:
        async with self._sending:
            for place in range(len(frame)):
                await self._write(frame[place : place + 1])
                await trio.lowlevel.checkpoint()

    async def send(self, data: bytes) -> None:
        """Bytes as they are.

        Raises:
            Gone: the client is.
        """
        async with self._sending:
            await self._write(data)

    async def _write(self, data: bytes) -> None:
        if self._dead:
            await trio.sleep_forever()
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[await self._stream.wait_send(rest[:_CHUNK]) :]
        except trio.BrokenResourceError:
            raise self._gone("the client reset it") from None
        except trio.ClosedResourceError:
            raise self._gone("the server closed it") from None

    async def end(self, end: End) -> None:
        """End it in the way that is asked for; returns when it has ended, which for some ways is never.

        Raises:
            Gone: it has ended.
        """
        self._seen.note(self.connection, "*", f"{end.how} {end.code if end.how == 'close' else ''}".rstrip())
        if end.how == "dead":
            self._dead = self._deaf = True
        if end.how in ("dead", "quiet"):
            await trio.sleep_forever()
        if end.how == "close":
            await self._say_goodbye(end)
        self.connection.end(f"the server ended it ({end.how})")
        if end.how == "reset":
            await reset_now(self._stream)
        else:
            await close_now(self._stream)
        raise Gone(end.how)

    async def _say_goodbye(self, end: End) -> None:
        self._closing = True
        payload = b"" if end.code is None else end.code.to_bytes(2, "big") + end.reason.encode()
        with suppress(Gone):
            await self.send(server_frame_of(CLOSE, payload))
        with trio.move_on_after(end.patience):
            await self._close_seen.wait()


def _fragments(payload: bytes) -> list[bytes]:
    """A text message in fragments of three bytes round each character that is not ASCII, and of 40 elsewhere."""
    pieces: list[bytes] = []
    while payload:
        size = 40 if payload[:43].isascii() else 3
        pieces.append(payload[:size])
        payload = payload[size:]
    last = len(pieces) - 1
    return [
        server_frame_of(CONTINUATION if number else TEXT, piece, final=number == last)
        for number, piece in enumerate(pieces)
    ]
