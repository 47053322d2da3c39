"""The client: plain sockets, frames made and cut by hand, no JSON. Of an event, only whether it is the last is read.

It treats all gateways alike, and costs less than any of them.
"""

from __future__ import annotations

import json
import re
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

HANDSHAKE = (
    "GET /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Authorization: Bearer {key}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
EVENT = b"response.output_text.delta"
ENDED = b'"response.completed"'
FAILED = re.compile(rb'"type": ?"(?:error|response\.failed|response\.incomplete)"')
ID = re.compile(rb'"id": ?"(resp_[^"]+)"')
DEADLINE = 60.0


class Wire:
    """One WebSocket, with one turn at a time.

    Args:
        port: of the gateway.
        key: the API key.
    """

    def __init__(self, port: int, key: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(HANDSHAKE.format(key=key).encode())
        self._heard = bytearray()
        while (end := self._heard.find(b"\r\n\r\n")) < 0:
            self._heard += self._recv()
        if b" 101 " not in self._heard.split(b"\r\n", 1)[0]:
            raise RuntimeError(f"no upgrade: {bytes(self._heard[:200])!r}")
        del self._heard[: end + 4]

    def ask(self, stream: str, *, store: bool, previous: str | None = None, more: str = "") -> None:
        """Send a request; ``stream`` names the answer, as the fake server reads it."""
        request: dict[str, Any] = {"type": "response.create", "model": "fake", "store": store}
        if previous is not None:
            request["previous_response_id"] = previous
        body = json.dumps({**request, "input": f"{more}go/{stream}/"}).encode()
        size = bytes((0x80 | len(body),)) if len(body) < 126 else b"\xfe" + len(body).to_bytes(2, "big")
        self.sock.sendall(b"\x81" + size + b"\0\0\0\0" + body)

    def hear(self) -> tuple[int, str | None]:
        """Receive once: how many text events came, and the response's id if that was the end."""
        data = self._recv()
        self._heard += data
        return data.count(EVENT), self._cut()

    def turn(self, stream: str, *, store: bool, previous: str | None = None, more: str = "") -> str:
        """A whole turn; returns the response's id."""
        self.ask(stream, store=store, previous=previous, more=more)
        while True:
            _, id_ = self.hear()
            if id_ is not None:
                return id_

    def close(self) -> None:
        """Leave at once."""
        self.sock.close()

    def _recv(self) -> bytes:
        data = self.sock.recv(1 << 16)
        if not data:
            raise RuntimeError(f"the gateway closed the connection after {bytes(self._heard[-300:])!r}")
        return data

    def _cut(self) -> str | None:
        """Take the whole frames away; the id in the last event of a turn."""
        heard, at, id_ = self._heard, 0, None
        while len(heard) >= at + 2:
            size, start = heard[at + 1], at + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                size = int.from_bytes(heard[at + 2 : start], "big")
            if len(heard) < start + size or len(heard) < start:
                break
            opcode = heard[at] & 15
            if opcode != 1:
                self._control(opcode, bytes(heard[start : start + size]))
            elif heard.find(ENDED, start, start + size) >= 0:
                id_ = self._id(bytes(heard[start : start + size]))
            elif FAILED.search(heard, start, min(start + 100, start + size)):
                raise RuntimeError(f"a turn failed: {bytes(heard[start : start + min(size, 500)])!r}")
            at = start + size
        del heard[:at]
        return id_

    @staticmethod
    def _id(event: bytes) -> str:
        found = ID.search(event)
        assert found, event[:300]
        return found[1].decode()

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == 9:
            self.sock.sendall(bytes((0x8A, 0x80 | len(payload))) + b"\0\0\0\0" + payload)
        elif opcode == 8:
            raise RuntimeError(f"the gateway closed: {payload!r}")


def at_once(wires: Sequence[Wire], reached: Mapping[int, Callable[[], None]]) -> int:
    """Read until the turn of each has ended, and call what is due when so many text events have come over all.

    Returns:
        How many text events came.

    Raises:
        TimeoutError: a turn did not end, in time.
    """
    poll, waiting = select.poll(), {wire.sock.fileno(): wire for wire in wires}
    for number in waiting:
        poll.register(number, select.POLLIN)
    marks, events, deadline = sorted(reached.items()), 0, time.monotonic() + DEADLINE
    while waiting:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(waiting)} turns did not end within {DEADLINE:g} s")
        for number, _ in poll.poll(1000):
            more, id_ = waiting[number].hear()
            events += more
            if id_ is not None:
                poll.unregister(number)
                del waiting[number]
        while marks and events >= marks[0][0]:
            marks.pop(0)[1]()
    return events
