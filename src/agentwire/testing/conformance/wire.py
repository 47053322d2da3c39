"""A plain client that can do what no client does: the frames and bytes that a case wants, and nothing by itself.

It shares no state machine with the clients and servers of this library. Pings are answered, because every client does;
everything else that goes out is what the case says.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import trio

from agentwire.protocol.errors import RemoteProtocolError
from agentwire.testing.raw_frames import raw_frame
from agentwire.transport.refusal import AnswerReader

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Closed",
    "Frame",
    "Log",
    "Refused",
    "WebSocket",
    "frame",
]

Header = tuple[str, str]

_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_CHUNK: Final = 65536
_SHOWN: Final = 2000


class Log:
    """What went over the wire, in lines: the evidence of a failure."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=400)
        self._count = 0
        self._begun: float | None = None

    def name(self, kind: str) -> str:
        """A name for one more connection."""
        self._count += 1
        return f"{kind}{self._count}"

    def note(self, where: str, sign: str, said: str | bytes) -> None:
        """One message or one head."""
        text = said if isinstance(said, str) else said.decode(errors="replace")
        text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
        now = trio.current_time()
        self._begun = now if self._begun is None else self._begun
        self.lines.append(f"{now - self._begun:8.3f}  {where} {sign} {text}")


class Refused(Exception):
    """The upgrade was answered with another status than 101."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"the upgrade was refused with HTTP {status}: {body[:300].decode(errors='replace')}")
        self.status = status
        self.headers = headers
        self.body = body


class Closed(Exception):
    """The server closed the connection; 1006 stands for an end without a close frame."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"the connection was closed with {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class Frame(NamedTuple):
    """A frame that was received: its opcode (a message's is 1 or 2) and its payload."""

    opcode: int
    payload: bytes


def frame(opcode: int, payload: bytes, *, final: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """One frame of a client, right or wrong."""
    return raw_frame(opcode, payload, final=final, reserved=reserved, key=os.urandom(4) if masked else None)


def cut_frame(buffer: bytes) -> tuple[Frame, bool, bytes] | None:
    """The first frame of a server in a buffer, whether it is final, and what follows it; None if it is not all here.

    Raises:
        RemoteProtocolError: a server must not send such a frame.
    """
    if len(buffer) < 2:
        return None
    length, start = buffer[1] & 0x7F, 2
    if buffer[0] & 0x70 or buffer[1] & 0x80:
        raise RemoteProtocolError("the server's frame is masked, or has reserved bits set")
    if length > 125:
        start = 4 if length == 126 else 10
        length = int.from_bytes(buffer[2:start], "big")
    if len(buffer) < start + length:
        return None
    payload = buffer[start : start + length]
    return Frame(buffer[0] & 0x0F, payload), bool(buffer[0] & 0x80), buffer[start + length :]


class WebSocket:
    """One WebSocket connection.

    Args:
        stream: connected; closed by whoever made it.
        log: takes what is said.

    Attributes:
        headers: of the 101, names in lower case.
        pongs: payloads of the pongs that came.
        pings: how many pings came.
        answers: whether pings are answered.
        binary: how many of the messages that came were binary.
    """

    def __init__(self, stream: trio.abc.Stream, log: Log) -> None:
        self.headers: Mapping[str, str] = {}
        self.pongs: list[bytes] = []
        self.pings = 0
        self.answers = True
        self.binary = 0
        self._stream = stream
        self._log = log
        self._name = log.name("ws")
        self._buffer = b""
        self._partial: Frame | None = None
        self._closing = False

    async def shake_hands(
        self, host: str, target: str, headers: Sequence[Header], *, method: str = "GET", version: str = "13"
    ) -> None:
        """Ask for the upgrade.

        Raises:
            Refused: the answer is not 101.
            Closed: there is none.
            RemoteProtocolError: the 101 is not valid.
        """
        key = base64.b64encode(os.urandom(16))
        lines = [
            f"{method} {target} HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Version: {version}",
            f"Sec-WebSocket-Key: {key.decode()}",
            *(f"{name}: {value}" for name, value in headers),
        ]
        self._log.note(self._name, ">", f"{lines[0]} (upgrade)")
        await self._write("\r\n".join((*lines, "", "")).encode("latin-1"))
        reader = AnswerReader(1 << 20)
        while not reader.feed(await self._read()):
            pass
        self._judge(reader, key)

    def _judge(self, reader: AnswerReader, key: bytes) -> None:
        answer = reader.answer
        assert answer is not None
        if not answer.status:
            raise RemoteProtocolError(f"the answer to the upgrade is not HTTP: {answer.body[:60]!r}")
        self._log.note(self._name, "<", f"HTTP {answer.status} {answer.body.decode(errors='replace')[:200]}")
        self.headers = dict(answer.headers)
        if reader.accepted is None:
            raise Refused(answer.status, self.headers, answer.body)
        wanted = base64.b64encode(hashlib.sha1(key + _ACCEPT, usedforsecurity=False).digest()).decode()
        if self.headers.get("sec-websocket-accept") != wanted:
            raise RemoteProtocolError("the Sec-WebSocket-Accept of the 101 does not answer the key")
        self._buffer = reader.accepted[1]

    async def _read(self) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(_CHUNK))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Closed(1006, "reset") from None
        if not data:
            raise Closed(1006, "end of the stream")
        return data

    async def _write(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Closed(1006, "reset") from None

    # What comes

    async def message(self) -> bytes:
        """The next message.

        Raises:
            Closed: there is none.
        """
        while True:
            found = await self.step()
            if found is not None:
                return found

    async def step(self) -> bytes | None:
        """The next message, or None for a control frame that came instead and was answered.

        Raises:
            Closed: there is none.
        """
        found = await self._next()
        if found.opcode in (TEXT, BINARY):
            self.binary += found.opcode == BINARY
            self._log.note(self._name, "<", found.payload)
            return found.payload
        if found.opcode == PONG:
            self.pongs.append(found.payload)
        elif found.opcode == PING:
            self.pings += 1
            if self.answers:
                await self._write(frame(PONG, found.payload))
        elif found.opcode == CLOSE:
            await self._answer_close(found.payload)
        return None

    async def _next(self) -> Frame:
        """The next control frame, or whole message."""
        while True:  # noqa: ASYNC913 - a whole frame may be here
            while (cut := cut_frame(self._buffer)) is None:
                self._buffer += await self._read()
            found, final, self._buffer = cut
            if found.opcode >= CLOSE:
                return found
            if (found.opcode == CONTINUATION) is (self._partial is None):
                raise RemoteProtocolError("the server's fragments are out of order")
            if self._partial is not None:
                found = Frame(self._partial.opcode, self._partial.payload + found.payload)
            self._partial = None if final else found
            if final:
                return found

    async def _answer_close(self, payload: bytes) -> None:
        code = int.from_bytes(payload[:2], "big") if payload else 1005
        reason = payload[2:].decode(errors="replace")
        self._log.note(self._name, "<", f"close {code} {reason}")
        if not self._closing:
            await self.send_frames(frame(CLOSE, payload))
        raise Closed(code, reason)

    async def event(self) -> dict[str, Any]:
        """The next message, decoded; a message that is no JSON object is the server's fault."""
        payload = await self.message()
        found = json.loads(payload)
        if not isinstance(found, dict):
            raise RemoteProtocolError(f"a message that is no JSON object: {payload[:100]!r}")
        return found

    # What goes

    async def send(self, message: Mapping[str, Any] | str) -> None:
        """One text message: a JSON object, or the text itself."""
        text = message if isinstance(message, str) else json.dumps(message)
        self._log.note(self._name, ">", text)
        await self._write(frame(TEXT, text.encode()))

    async def send_binary(self, payload: bytes) -> None:
        """One binary message."""
        self._log.note(self._name, "> (binary)", payload)
        await self._write(frame(BINARY, payload))

    async def send_frames(self, data: bytes) -> None:
        """Bytes, as they are; a server that has gone does not hear them."""
        self._log.note(self._name, "> (bytes)", repr(data[:80]))
        await self._write(data)

    async def ping(self, payload: bytes) -> None:
        """Ask for a pong with this payload."""
        await self._write(frame(PING, payload))

    async def close(self, code: int | None = 1000, reason: str = "") -> Closed:
        """Say goodbye, and wait for the server's answer: how it closed."""
        self._closing = True
        payload = b"" if code is None else code.to_bytes(2, "big") + reason.encode()
        self._log.note(self._name, ">", f"close {code}")
        try:
            await self._write(frame(CLOSE, payload))
            while True:
                await self.message()
        except Closed as closed:
            return closed
