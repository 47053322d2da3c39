"""The fake model server: ``/v1/chat/completions`` and ``/v1/responses`` as server-sent events, as cheap as can be.

``python -m benchmarks.gateway.upstream`` prints its port. What it answers is named in the request's text, as
``go/EVENTS/BURST/PAUSE/``: that many text events, so many at once, so many seconds apart; with ``@`` before the pause
in step with all other such answers, as where a model makes the next token of each in one batch. Every answer is
rendered once, each event as a chunk of its own; only the ids in it are new each time.
"""

from __future__ import annotations

import heapq
import json
import re
import select
import socket
import time
from functools import lru_cache
from typing import Any

PIECE = "a piece of text, as models give them "
SLOT = b"0123456789abcdef01234567"  # where the ids of one answer go
STREAM = re.compile(rb"go/(\d+)/(\d+)/(@?)([\d.]+)/")
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
MODELS = b'{"object":"list","data":[{"id":"fake","object":"model","created":1,"owned_by":"fake"}]}'


def chunk(text: str) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(text), text.encode())


def chat_events(count: int) -> tuple[str, list[str], str]:
    """What a chat server streams: a beginning, text events, an end."""
    frame = {"id": f"chatcmpl-{SLOT.decode()}", "object": "chat.completion.chunk", "created": 1, "model": "fake"}

    def data(delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return f"data: {json.dumps({**frame, 'choices': [choice]}, separators=(',', ':'))}\n\n"

    usage = {"prompt_tokens": 10, "completion_tokens": count, "total_tokens": 10 + count}
    counted = f"data: {json.dumps({**frame, 'choices': [], 'usage': usage}, separators=(',', ':'))}\n\n"
    begin, end = data({"role": "assistant", "content": ""}), data({}, "stop") + counted + "data: [DONE]\n\n"
    return begin, [data({"content": PIECE})] * count, end


def response_events(count: int) -> tuple[str, list[str], str]:
    """What a server of the Responses API streams: a beginning, text events, an end."""
    slot, numbers = SLOT.decode(), iter(range(count + 9))
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    full = {**part, "text": PIECE * count}
    item = {"id": f"msg_{slot}", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    done = {**item, "status": "completed", "content": [full]}
    response = {
        "id": f"resp_{slot}",
        "object": "response",
        "created_at": 1,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "fake",
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
    }
    used = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    usage = {"input_tokens": 10, "output_tokens": count, "total_tokens": 10 + count, **used}

    def data(kind: str, **members: Any) -> str:
        event = {"type": f"response.{kind}", "sequence_number": next(numbers), **members}
        return f"event: response.{kind}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n"

    at: dict[str, Any] = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    begin = data("created", response=response) + data("in_progress", response=response)
    begin += data("output_item.added", output_index=0, item=item) + data("content_part.added", **at, part=part)
    events = [data("output_text.delta", **at, delta=PIECE, logprobs=[]) for _ in range(count)]
    end = data("output_text.done", **at, text=full["text"], logprobs=[]) + data("content_part.done", **at, part=full)
    end += data("output_item.done", output_index=0, item=done)
    end += data("completed", response={**response, "status": "completed", "output": [done], "usage": usage})
    return begin, events, end


@lru_cache
def ticks(path: bytes, count: int, burst: int) -> tuple[bytes, ...]:
    """An answer, cut as it is sent: the first piece has its beginning, and the last one its end."""
    begin, events, end = (chat_events if b"chat" in path else response_events)(count)
    pieces = [b"".join(map(chunk, events[at : at + burst])) for at in range(0, count, burst)]
    pieces[0] = HEAD + chunk(begin) + pieces[0]
    pieces[-1] += b"".join(chunk(event + "\n\n") for event in end.split("\n\n") if event) + b"0\r\n\r\n"
    return tuple(pieces)


class Answer:
    """One answer on its way: its pieces, with an id of its own, and the pause between two of them."""

    __slots__ = ("_in_step", "_pause", "at", "id", "pieces", "sock")

    def __init__(
        self, number: int, sock: socket.socket, pieces: tuple[bytes, ...], pause: float, *, in_step: bool
    ) -> None:
        self.id = b"%016x%08x" % (time.time_ns(), number)
        self.sock = sock
        self.pieces = pieces
        self.at = 0
        self._pause = pause
        self._in_step = in_step

    def next_due(self) -> float:
        """When the next piece is to be sent, by the clock of `time.monotonic`."""
        now = time.monotonic()
        return (now // self._pause + 1) * self._pause if self._in_step else now + self._pause


class Upstream:
    """One thread, plain sockets, one timer heap."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._heard: dict[socket.socket, bytearray] = {}
        self._unsent: dict[socket.socket, bytes] = {}
        self._due: list[tuple[float, bytes, Answer]] = []
        self._answers = 0
        self._last_body = 0

    def run(self) -> None:
        """Serve until killed. (`select`, as poll and epoll know no time below a millisecond.)"""
        while True:
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            readable, writable, _ = select.select((self._listener, *self._heard), tuple(self._unsent), (), wait)
            for sock in readable:
                if sock is self._listener:
                    self._accept()
                elif sock in self._heard:
                    self._hear(sock)
            for sock in writable:
                self._write(sock, self._unsent.pop(sock, b""))
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                self._tick(heapq.heappop(self._due)[2])

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._heard[sock] = bytearray()

    def _hear(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(sock)
            return
        heard = self._heard[sock]
        heard += data
        while (end := heard.find(b"\r\n\r\n")) >= 0:
            found = LENGTH.search(heard, 0, end + 2)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(heard) < size:
                return
            head, body = bytes(heard[:end]), bytes(heard[end + 4 : size])
            del heard[:size]
            self._answer(sock, head.split(b" ", 2)[1], head.startswith(b"POST"), body)

    def _answer(self, sock: socket.socket, path: bytes, posted: bool, body: bytes) -> None:
        streams = STREAM.findall(body, max(0, body.rfind(b"go/")))
        if not posted or not streams:
            text = MODELS if path != b"/seen" else b'{"last_body":%d}' % self._last_body
            self._write(sock, b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
            self._write(sock, b"content-length: %d\r\n\r\n%b" % (len(text), text))
            return
        count, burst, at, pause = int(streams[-1][0]), int(streams[-1][1]), streams[-1][2], float(streams[-1][3])
        self._answers += 1
        self._last_body = len(body)
        pieces = ticks(b"chat" if b"chat" in path else b"responses", count, burst)
        self._tick(Answer(self._answers, sock, pieces, pause, in_step=bool(at)))

    def _tick(self, answer: Answer) -> None:
        if answer.sock not in self._heard:
            return
        self._write(answer.sock, answer.pieces[answer.at].replace(SLOT, answer.id))
        answer.at += 1
        if answer.at < len(answer.pieces):
            heapq.heappush(self._due, (answer.next_due(), answer.id, answer))

    def _write(self, sock: socket.socket, data: bytes) -> None:
        if sock in self._unsent:
            self._unsent[sock] += data
            return
        try:
            sent = sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(sock)
            return
        if sent < len(data):
            self._unsent[sock] = data[sent:]

    def _drop(self, sock: socket.socket) -> None:
        self._heard.pop(sock, None)
        self._unsent.pop(sock, None)
        sock.close()


def main() -> None:
    """Serve on a free port of 127.0.0.1."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    Upstream(listener).run()


if __name__ == "__main__":
    main()
