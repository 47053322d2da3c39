"""A server that costs nothing worth measuring: one ready answer of as many text events as the request's model says.

``python -m benchmarks.client.server`` prints its port. It takes ``POST /v1/responses`` (SSE) and the WebSocket, one
thread a connection, and writes as fast as the client reads.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

ITEM = "msg_68f0c1d2a7f08190b1b2c3d4e5f60718"
RESPONSE = "resp_68f0c1d2a7f08190b1b2c3d4e5f60719"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def events(count: int) -> Iterator[bytes]:
    """A whole response, each event as JSON."""
    number = 0

    def event(kind: str, **members: Any) -> bytes:
        nonlocal number
        number += 1
        return json.dumps({"type": kind, "sequence_number": number - 1, **members}).encode()

    yield event("response.created", response=response("in_progress", []))
    yield event("response.in_progress", response=response("in_progress", []))
    message = {"id": ITEM, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    place = {"item_id": ITEM, "output_index": 0, "content_index": 0}
    yield event("response.output_item.added", output_index=0, item=message)
    yield event("response.content_part.added", **place, part=part(""))
    for _ in range(count):
        yield event("response.output_text.delta", **place, delta=" wonderful", logprobs=[], obfuscation="Xq3vT0")
    text = " wonderful" * count
    done = message | {"status": "completed", "content": [part(text)]}
    yield event("response.output_text.done", **place, text=text, logprobs=[])
    yield event("response.content_part.done", **place, part=part(text))
    yield event("response.output_item.done", output_index=0, item=done)
    yield event("response.completed", response=response("completed", [done]))


def part(text: str) -> dict[str, Any]:
    """Of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def response(status: str, output: list[Any]) -> dict[str, Any]:
    """With the members that clients insist on."""
    usage = {
        "input_tokens": 1,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 2,
    }
    return {
        "id": RESPONSE,
        "object": "response",
        "created_at": 1_800_000_000,
        "status": status,
        "model": "ready",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage if status == "completed" else None,
    }


def frame(payload: bytes) -> bytes:
    """A text frame as a server sends it."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + struct.pack(">H", size) + payload
    return b"\x81\x7f" + struct.pack(">Q", size) + payload


def line(payload: bytes) -> bytes:
    """An event of an SSE stream."""
    kind = payload.split(b'"', 4)[3]
    return b"event: " + kind + b"\ndata: " + payload + b"\n\n"


@lru_cache
def ready(count: int, form: Callable[[bytes], bytes]) -> bytes:
    """All that is written for an answer."""
    return b"".join(map(form, events(count)))


class Peer:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.data = b""

    def serve(self) -> None:
        """Until the client goes."""
        with self.sock:
            try:
                while self.answer():
                    pass
            except OSError:
                return

    def answer(self) -> bool:
        """One HTTP request; False where the client has gone."""
        while b"\r\n\r\n" not in self.data:
            if not self.more():
                return False
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        headers = dict(each.split(b": ", 1) for each in head.split(b"\r\n")[1:])
        headers = {name.lower(): value for name, value in headers.items()}
        if b"sec-websocket-key" in headers:
            accept = base64.b64encode(hashlib.sha1(headers[b"sec-websocket-key"] + GUID).digest())
            self.sock.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            while (asked := self.message()) is not None:
                self.sock.sendall(ready(asked, frame))
            return False
        asked = self.body(int(headers[b"content-length"]))
        self.sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        self.sock.sendall(ready(asked, line))
        return False

    def more(self, least: int = 0) -> bool:
        """Read on; False at the end."""
        while True:
            data = self.sock.recv(1 << 16)
            self.data += data
            if not data:
                return False
            if len(self.data) >= least:
                return True

    def body(self, size: int) -> int:
        """What a POST asks for."""
        if len(self.data) < size:
            self.more(size)
        body, self.data = self.data[:size], self.data[size:]
        return int(json.loads(body)["model"])

    def message(self) -> int | None:
        """What the next text frame asks for; other frames are nothing to us, and a close frame ends it."""
        while True:
            if len(self.data) < 6 and not self.more(6):
                return None
            opcode, size, begin = self.data[0] & 15, self.data[1] & 127, 2
            if size == 126:
                if len(self.data) < 8 and not self.more(8):
                    return None
                size, begin = int.from_bytes(self.data[2:4], "big"), 4
            end = begin + 4 + size
            if len(self.data) < end and not self.more(end):
                return None
            key, masked, self.data = self.data[begin : begin + 4], self.data[begin + 4 : end], self.data[end:]
            if opcode == 8:
                return None
            if opcode == 1:
                payload = bytes(byte ^ key[index % 4] for index, byte in enumerate(masked))
                return int(json.loads(payload)["model"])


def main() -> None:
    """Listen until killed."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=Peer(sock).serve, daemon=True).start()


if __name__ == "__main__":
    main()
