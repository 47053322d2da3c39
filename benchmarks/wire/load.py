"""The client: plain sockets and one poll loop, so that it is never the bottleneck and treats all servers alike."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence

HANDSHAKE = (
    b"GET /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
LAST = b'"response.completed"'
EVENT = b'"response.output_text.delta"'
DEADLINE = 60.0


def connect(port: int) -> socket.socket:
    """An open WebSocket."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.sendall(HANDSHAKE)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += sock.recv(4096)
    if b" 101 " not in answer.split(b"\r\n", 1)[0]:
        raise RuntimeError(f"no upgrade: {answer[:200]!r}")
    return sock


def ask(sock: socket.socket, model: str) -> None:
    """Send the request that names the stream."""
    body = json.dumps({"type": "response.create", "model": model, "input": "go", "store": False}).encode()
    if len(body) > 125:
        raise ValueError("the request must fit a short frame")
    sock.sendall(bytes((0x81, 0x80 | len(body), 0, 0, 0, 0)) + body)


def drain(socks: Sequence[socket.socket], reached: Mapping[int, Callable[[], None]] | None = None) -> None:
    """Read until every stream has ended.

    Args:
        socks: one stream each.
        reached: what to call when so many text events have come over all of them.

    Raises:
        TimeoutError: a stream did not end, in time.
        RuntimeError: a server closed one.
    """
    poll, tails = select.poll(), {sock.fileno(): b"" for sock in socks}
    by_number = {sock.fileno(): sock for sock in socks}
    marks, events = sorted((reached or {}).items()), 0
    for number in tails:
        poll.register(number, select.POLLIN)
    deadline = time.monotonic() + DEADLINE
    while tails:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(tails)} streams did not end within {DEADLINE:g} s")
        for number, _ in poll.poll(1000):
            data = by_number[number].recv(1 << 18)
            if not data:
                raise RuntimeError("the server closed a connection")
            tail = tails[number] + data
            events += tail.count(EVENT)
            if LAST in tail:
                poll.unregister(number)
                del tails[number]
            else:
                tails[number] = tail[tail.rfind(b"}") + 1 :][-len(LAST) :]
        while marks and events >= marks[0][0]:
            marks.pop(0)[1]()
