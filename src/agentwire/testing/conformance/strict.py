"""A WebSocket below its messages: every frame of the server is judged, and every byte of the client is the case's.

Nothing is known here of what a server says or wants to hear, so that any server of RFC 6455 can be looked at.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.turns import CaseFailed, check
from agentwire.testing.conformance.wire import CLOSE, CONTINUATION, PING, PONG, TEXT, Log, frame
from agentwire.transport.refusal import Answer, AnswerReader

__all__ = ["ANSWER", "End", "StrictSocket", "accept_of", "answer_to", "new_key", "opened", "upgrade"]

ANSWER: Final = 10.0
"""Seconds within which a server has to answer."""

OWN_FRAMES: Final = "AW-N-031"
_CHUNK: Final = 65536
_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HEAD: Final = 1 << 20


def new_key() -> str:
    """A key for a handshake."""
    return base64.b64encode(os.urandom(16)).decode()


def accept_of(key: str) -> str:
    """What belongs to it."""
    return base64.b64encode(hashlib.sha1(key.encode() + _MAGIC, usedforsecurity=False).digest()).decode()


def upgrade(peer: Peer, changed: Mapping[str, str | None] | None = None, *, line: str = "GET {} HTTP/1.1") -> bytes:
    """The head of a request for an upgrade.

    Args:
        peer: whose resource is asked for.
        changed: headers that are other than usual, or more; None leaves one out.
        line: the request's line.
    """
    usual = {
        "Host": peer.authority,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": new_key(),
        **dict(peer.headers()),
    }
    headers = {name: value for name, value in (usual | dict(changed or {})).items() if value is not None}
    target = peer.resource if peer.websocket is None else peer.websocket
    return "\r\n".join((line.format(target), *(f"{n}: {v}" for n, v in headers.items()), "", "")).encode("latin-1")


async def answer_to(peer: Peer, head: bytes) -> Answer | None:
    """What a request for an upgrade is answered with; None if the connection ends instead.

    Raises:
        CaseFailed: there is no answer in time.
    """
    async with peer.connected() as stream:
        peer.log.note("http", ">", head)
        reader = await _read_answer(peer.log, stream, head)
        return reader.answer


async def _read_answer(log: Log, stream: trio.abc.Stream, head: bytes) -> AnswerReader:
    reader = AnswerReader(_HEAD)
    with trio.move_on_after(ANSWER) as scope:
        await trio.lowlevel.checkpoint()
        try:
            await stream.send_all(head)
            while (data := bytes(await stream.receive_some(_CHUNK))) and not reader.feed(data):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            log.note("http", "<", "the connection was reset")
    if (answer := reader.answer) is not None:
        log.note("http", "<", f"HTTP {answer.status} {dict(answer.headers)}")
    else:
        check(not scope.cancelled_caught, f"{ANSWER:g} s after the request there was no answer")
    return reader


@attrs.frozen
class End:
    """How a connection ended.

    Attributes:
        code: of the server's close frame; 1005 if it had none, None if there was no close frame.
        reason: of the close frame.
        pongs: payloads of the pongs that came before.
        messages: the messages that came before.
        after: frames that came after the close frame.
        open: whether it had not ended when there was no more time.
    """

    code: int | None = None
    reason: bytes = b""
    pongs: Sequence[bytes] = ()
    messages: Sequence[bytes] = ()
    after: int = 0
    open: bool = False

    def __str__(self) -> str:
        if self.open:
            return "not at all"
        return "without a close frame" if self.code is None else f"with {self.code}"


class StrictSocket:
    """A WebSocket after its handshake; made by `opened`.

    Attributes:
        pongs: payloads of the pongs that came.
        messages: the messages that came.
        answers: whether the server's pings and its close frame are answered.
    """

    def __init__(self, stream: trio.abc.Stream, log: Log, rest: bytes) -> None:
        self.pongs: list[bytes] = []
        self.messages: list[bytes] = []
        self.answers = True
        self._stream = stream
        self._log = log
        self._name = log.name("ws")
        self._buffer = rest
        self._partial: bytes | None = None
        self._echoes: bool | None = None

    async def send(self, data: bytes, *, drip: bool = False) -> None:
        """Send bytes as they are, one by one if they are to drip; a server that has gone does not hear them."""
        self._log.note(self._name, ">", f"{_shown(data)}{', byte by byte' if drip else ''}")
        try:
            for piece in [data[at : at + 1] for at in range(len(data))] if drip else [data]:
                await self._stream.send_all(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._log.note(self._name, ">", "nobody hears it")

    async def alive(self, what: str) -> None:
        """It answers a ping, past whatever it says before.

        Raises:
            CaseFailed: it does not, or has taken what came before for a fault.
        """
        token = os.urandom(4)
        await self.send(frame(PING, token))
        await self.answered(token, what)

    async def answered(self, token: bytes, what: str) -> None:
        """The pong with this payload comes, whatever else does.

        Raises:
            CaseFailed: it does not.
        """
        with trio.move_on_after(ANSWER):
            await trio.lowlevel.checkpoint()
            while token not in self.pongs:
                end = await self._step()
                if end is not None:
                    raise CaseFailed(f"{what} was not taken: the connection ended {end}")
            return
        raise CaseFailed(f"{what} was not taken: {ANSWER:g} s later there was no pong")

    async def echoes(self) -> bool:
        """Whether the server says what it is told; asked once."""
        if self._echoes is None:
            probe = b'{"type":"%b"}' % os.urandom(4).hex().encode()
            await self.send(frame(TEXT, probe))
            await self.alive("a text")
            self._echoes = await self.heard(probe, 0.3)
        return self._echoes

    async def heard(self, message: bytes, seconds: float = 2.0) -> bool:
        """Whether this message comes back."""
        with trio.move_on_after(seconds):
            await trio.lowlevel.checkpoint()
            while message not in self.messages and await self._step() is None:
                pass
        return message in self.messages

    async def end(self, seconds: float = ANSWER) -> End:
        """Read to the end of the connection."""
        with trio.move_on_after(seconds):
            await trio.lowlevel.checkpoint()
            while True:
                found = await self._step()
                if found is not None:
                    return found
        return End(open=True, pongs=self.pongs, messages=self.messages)

    async def _step(self) -> End | None:
        """The next frame; how the connection has ended, if it was the last one."""
        found = await self._frame()
        if found is None:
            return End(pongs=self.pongs, messages=self.messages)
        opcode, payload = found
        if opcode == PONG:
            self.pongs.append(payload)
        elif opcode == PING and self.answers:
            await self.send(frame(PONG, payload))
        elif opcode == CLOSE:
            return await self._closed(payload)
        return None

    async def _closed(self, payload: bytes) -> End:
        if self.answers:
            await self.send(frame(CLOSE, payload[:2]))
        after, over = 0, False
        with trio.move_on_after(ANSWER):
            await trio.lowlevel.checkpoint()
            while (found := await self._frame()) is not None:
                after += 1
                self.pongs += [found[1]] * (found[0] == PONG)
            over = True
        code = int.from_bytes(payload[:2], "big") if payload else 1005
        return End(code, payload[2:], self.pongs, self.messages, after, open=not over)

    async def _frame(self) -> tuple[int, bytes] | None:
        """The next frame, judged; None at the end. A message is collected from its frames."""
        while (cut := self._cut()) is None:
            try:
                data = bytes(await self._stream.receive_some(_CHUNK))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                self._log.note(self._name, "<", "the end of the stream")
                return None
            self._buffer += data
        final, opcode, payload = cut
        self._log.note(self._name, "<", _named(opcode, payload, final=final))
        _own(opcode in (CONTINUATION, 1, 2, CLOSE, PING, PONG), f"the server sent a frame with opcode {opcode}")
        if opcode >= CLOSE:
            _own(final and len(payload) <= 125, "a control frame of the server is long or in fragments")
        else:
            self._collect(opcode, payload, final=final)
        return opcode, payload

    def _collect(self, opcode: int, payload: bytes, *, final: bool) -> None:
        _own((opcode == CONTINUATION) is (self._partial is not None), "the server's fragments are out of order")
        whole = (self._partial or b"") + payload
        self._partial = None if final else whole
        if final:
            self.messages.append(whole)

    def _cut(self) -> tuple[bool, int, bytes] | None:
        """The first frame of the buffer, if it is all here."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        _own(not buffer[0] & 0x70, "the server set reserved bits that nothing explains")
        _own(not buffer[1] & 0x80, "the server masked a frame")
        length, start = buffer[1] & 0x7F, 2
        if length > 125:
            start = 4 if length == 126 else 10
            if len(buffer) < start:
                return None
            least = 126 if length == 126 else 65536
            length = int.from_bytes(buffer[2:start], "big")
            _own(length >= least, "the server did not encode a length in the shortest way")
        if len(buffer) < start + length:
            return None
        self._buffer = buffer[start + length :]
        return bool(buffer[0] & 0x80), buffer[0] & 0x0F, buffer[start : start + length]


def _own(holds: object, otherwise: str) -> None:
    check(holds, otherwise, OWN_FRAMES)


def _named(opcode: int, payload: bytes, *, final: bool) -> str:
    kinds = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
    more = "" if final else ", more to come"
    shown = payload[:60] if opcode != CLOSE else (int.from_bytes(payload[:2], "big"), payload[2:60])
    return f"{kinds.get(opcode, f'opcode {opcode}')}, {len(payload)} bytes{more}: {shown!r}"


def _shown(data: bytes) -> str:
    """A client's bytes for people: the head of the first frame, and how many there are."""
    return f"{len(data)} bytes: {data[:24].hex(' ')}{' ...' if len(data) > 24 else ''}"


@asynccontextmanager
async def opened(
    peer: Peer, changed: Mapping[str, str | None] | None = None, *, first: bytes = b"", drip: bool = False
) -> AsyncGenerator[StrictSocket]:
    """A WebSocket after a correct handshake; cut off when the block is left.

    Args:
        peer: the server.
        changed: headers, as for `upgrade`.
        first: bytes that go with the handshake, in one piece.
        drip: whether the handshake is sent byte by byte.

    Raises:
        CaseFailed: the upgrade was refused, or the 101 is wrong.
    """
    key = new_key()
    head = upgrade(peer, {**(changed or {}), "Sec-WebSocket-Key": key}) + first
    async with peer.connected() as stream:
        peer.log.note("http", ">", head[:600])
        if drip:
            for at in range(len(head) - 1):
                await stream.send_all(head[at : at + 1])
            head = head[-1:]
        reader = await _read_answer(peer.log, stream, head)
        accepted = reader.accepted
        check(accepted is not None, f"the upgrade was answered with {reader.answer and reader.answer.status}")
        assert accepted is not None
        assert reader.answer is not None
        headers = dict(reader.answer.headers)
        _judge(headers, key)
        yield StrictSocket(stream, peer.log, accepted[1])


def _judge(headers: Mapping[str, str], key: str) -> None:
    check(
        headers.get("sec-websocket-accept") == accept_of(key),
        "Sec-WebSocket-Accept does not belong to the key",
        "AW-N-001",
    )
    check(headers.get("upgrade", "").lower() == "websocket", f"Upgrade is {headers.get('upgrade')!r}", "AW-N-001")
    tokens = [token.strip().lower() for token in headers.get("connection", "").split(",")]
    check("upgrade" in tokens, f"Connection is {headers.get('connection')!r}", "AW-N-001")
