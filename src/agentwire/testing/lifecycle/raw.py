"""A client of the plain wire, for machines: it sends what it is told when it is told, and hears everything.

It knows frames and, if it is to, the extension for sessions; what it hears is for somebody else to judge.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import attrs
import trio

from agentwire.link.progress import Progress
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.hello import WELCOME, decode_welcome, encode_hello
from agentwire.runtime.groups import open_flat_nursery
from agentwire.testing.network import Network
from agentwire.testing.streams import MemoryStream
from agentwire.transport.frames import Control, FrameParser, client_frame
from agentwire.transport.refusal import AnswerReader

__all__ = ["Closed", "RawClient"]

Json = Mapping[str, Any]

_CLOSE, _PING, _PONG = 8, 9, 10
_MASK: Final = bytes(4)
_LARGEST: Final = 1 << 30
_RECEIVE: Final = 65536
_UNSENT: Final = 1000


@attrs.frozen
class Closed:
    """How a connection ended, as the client saw it.

    Attributes:
        code: of the server's close frame; 1006 if there was none, and an HTTP status for a refused upgrade.
        ours: whether the client had gone first.
        time: when, by Trio's clock.
    """

    code: int
    ours: bool
    time: float


class RawClient:
    """One client, on one connection at a time.

    Args:
        net: where the server is.
        key: its API key.
        heard: called with each event.
        progress: of its session; None for a client that asks for none.
        forgotten: called when its session could not be resumed, and is replaced by a new one.

    Attributes:
        closed: how the latest connection ended; None while there is one.
        links: the network's numbers of its connections.
    """

    def __init__(
        self,
        net: Network,
        key: str,
        heard: Callable[[dict[str, Any]], None],
        *,
        progress: Progress | None = None,
        forgotten: Callable[[], None],
    ) -> None:
        self.closed: Closed | None = Closed(0, ours=True, time=0.0)
        self.links: list[int] = []
        self.progress = progress
        self._net = net
        self._key = key
        self._heard = heard
        self._forgotten = forgotten
        self._said: list[bytes] = []
        self._leaving = False
        self._stream: MemoryStream | None = None
        self._letters, self._post = trio.open_memory_channel[bytes](_UNSENT)

    @property
    def stream(self) -> MemoryStream:
        """The latest connection."""
        assert self._stream is not None
        return self._stream

    # What it does

    async def live(self, ready: Callable[[], None]) -> None:
        """Connect, and read until the connection ends; ``ready`` is called once it can be used, or will not be."""
        self._letters, self._post = trio.open_memory_channel[bytes](_UNSENT)
        self._leaving = False
        try:
            self._stream = await self._net.connect()
        except OSError:
            self._ended(1006)
            ready()
            return
        self.links.append(self._stream.link.index)
        try:
            code = await self._live(ready)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            code = 1006
        finally:
            await trio.aclose_forcefully(self._stream)
        self._ended(code)
        ready()

    def say(self, message: Json) -> None:
        """Send a message, or, while there is no connection, keep it for a session that goes on."""
        payload = json.dumps(message).encode()
        if self.progress is not None:
            self._said.append(payload)
            self.progress.say()
        if self.closed is None:
            self._letters.send_nowait(client_frame(payload, _MASK))

    def leave(self, code: int = 1000) -> None:
        """Say goodbye."""
        self._leaving = True
        self._letters.send_nowait(_control(_CLOSE, code.to_bytes(2, "big")))

    def vanish(self) -> None:
        """Be gone without a word."""
        self._leaving = True
        self.stream.reset()

    # How

    async def _live(self, ready: Callable[[], None]) -> int:
        refused = await self._shake_hands()
        if refused is not None:
            return refused
        async with open_flat_nursery() as nursery:
            nursery.start_soon(self._write)
            code = await self._read(ready)
            nursery.cancel_scope.cancel(reason="the connection has ended")
        return code

    def _ended(self, code: int) -> None:
        self.closed = Closed(code, ours=self._leaving, time=trio.current_time())

    async def _shake_hands(self) -> int | None:
        """Upgrade; returns the status that refuses it."""
        key = base64.b64encode(f"{len(self.links):016}".encode()).decode()
        head = (
            f"GET /v1/responses HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._key}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n"
        )
        await self.stream.send_all(head.encode())
        reader = AnswerReader(_RECEIVE)
        while not reader.feed(data := await self.stream.receive_some(_RECEIVE)):
            if not data:
                return 1006
        answer = reader.answer
        if reader.accepted is None:
            return answer.status if answer is not None else 1006
        self._parser = FrameParser(masked=False, max_message=_LARGEST)
        self._rest = reader.accepted[1]
        return None

    async def _write(self) -> None:
        async for frame in self._post:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.stream.send_all(frame)

    async def _read(self, ready: Callable[[], None]) -> int:
        if self.progress is None:
            self._begin(ready)
        else:
            self._letters.send_nowait(client_frame(encode_hello(self.progress.hello()), _MASK))
        data = self._rest
        while True:
            for found in self._parser.feed(data):
                if isinstance(found, bytes):
                    self._take(json.loads(found), found, ready)
                elif found.opcode == _PING:
                    self._letters.send_nowait(_control(_PONG, found.payload))
                elif found.opcode == _CLOSE:
                    return await self._answer_close(found)
            data = bytes(await self.stream.receive_some(_RECEIVE))
            if not data:
                return 1006

    def _begin(self, ready: Callable[[], None]) -> None:
        self.closed = None
        ready()

    def _take(self, event: dict[str, Any], frame: bytes, ready: Callable[[], None]) -> None:
        if event.get("type") == WELCOME and self.progress is not None:
            self._welcome(frame)
            self._begin(ready)
            return
        if self.progress is not None:
            self.progress.take(frame)
        self._heard(event)

    def _welcome(self, frame: bytes) -> None:
        """What the server has not taken is said again; of a session that is lost, nothing."""
        assert self.progress is not None
        try:
            missing = self.progress.welcome(decode_welcome(frame))
        except LocalProtocolError:
            missing = 0
            self.progress.lanes, self.progress.reply, self.progress.sent = {}, 0, 0
            self._forgotten()
        again = self._said[len(self._said) - missing :]
        self._said = again
        for payload in again:
            self.progress.say()
            self._letters.send_nowait(client_frame(payload, _MASK))

    async def _answer_close(self, found: Control) -> int:
        if not self._leaving:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.stream.send_all(_control(_CLOSE, found.payload))
        return int.from_bytes(found.payload[:2], "big") if found.payload else 1005


def _control(opcode: int, payload: bytes) -> bytes:
    return bytes((0x80 | opcode,)) + client_frame(payload, _MASK)[1:]
