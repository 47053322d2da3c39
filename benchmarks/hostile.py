"""How long hostile peers hold up everybody else: ``python -m benchmarks.hostile [--json]``.

A server runs here with a client that takes one small turn after the other, and an instrument times every step of every
task: the longest one is how long the loop was held. It counts in CPU time, which other processes do not disturb, and
by the clock as well. Another process sends what is hostile, one kind after the other. A kind that holds the loop for
longer than the bound is a failure, and the exit code says so.
"""

from __future__ import annotations

import argparse
import gc
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import trio

import agentwire
from agentwire.cli.serve import GC_THRESHOLDS
from agentwire.protocol.codec import encode_json
from agentwire.protocol.compaction import seal
from agentwire.protocol.items import Message
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Out
from agentwire.transport.frames import client_frame, unmask

MIB = 1024 * 1024
BOUND_MS = 100.0
KEY = b"abcd"
UPGRADE = (
    b"GET /v1/responses HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def _create(given: bytes) -> bytes:
    return client_frame(b'{"type":"response.create","model":"m","store":false,"input":%b}' % given, KEY)


def _post(given: bytes) -> bytes:
    body = b'{"model":"m","store":false,"input":%b}' % given
    return b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _objects(size: int) -> bytes:
    return b"[" + b"{}," * (size // 3 - 2) + b"{}]"


def _compactions(count: int) -> bytes:
    return encode_json([seal("cmp_1", "", [Message("user", "x")] * 10_000)] * count)


MESSAGES: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "16 MiB of empty objects": lambda: _create(_objects(16 * MIB - 100)),
    "16 MiB of one string": lambda: _create(b'"' + b"x" * (16 * MIB - 100) + b'"'),
    "16 MiB of text that is not ASCII": lambda: _create(b'"' + "é".encode() * (8 * MIB - 100) + b'"'),
    "16 MiB of escapes": lambda: _create(b'"' + b"\\u0041" * (16 * MIB // 6 - 100) + b'"'),
    "16 MiB of quotes": lambda: _create(b'"' + b'\\"' * (8 * MIB - 100) + b'"'),
    "16 MiB of numbers": lambda: _create(b"[" + b"1," * (8 * MIB - 100) + b"1]"),
    "249,000 values": lambda: _create(_objects(249_000 * 3 // 2)),
    "10,000 messages in one": lambda: _create(b"[" + b",".join([b'{"role":"user","content":"x"}'] * 10_000) + b"]"),
    "200,000 messages in compactions": lambda: _create(_compactions(20)),
    "deep nesting": lambda: _create(b"[" * (8 * MIB - 100) + b"]" * (8 * MIB - 100)),
    "16 MiB without a type": lambda: client_frame(b'{"x":"%b"}' % (b"y" * (16 * MIB - 100)), KEY),
    "a steer of 16 MiB": lambda: client_frame(b'{"type":"response.steer","input":"%b"}' % (b"y" * 16 * MIB)[100:], KEY),
    "100,000 tiny messages": lambda: client_frame(b"{}", KEY) * 100_000,
    "100,000 ignored messages": lambda: client_frame(b'{"type":"response.processed"}', KEY) * 100_000,
    "100,000 pings": lambda: b"\x89\x80abcd" * 100_000,
    "500,000 fragments of one byte": lambda: b"\x01\x80abcd" + (b"\x00\x81abcd" + unmask(b"x", KEY)) * 500_000,
    "garbage": lambda: bytes(range(256)) * 4096,
    "an HTTP body of 64 MiB": lambda: _post(b'"' + b"x" * (64 * MIB - 200) + b'"'),
    "an HTTP body of 60 MiB of empty objects": lambda: _post(_objects(60 * MIB)),
    "300 broken handshakes": lambda: b"GET / HTTP/1.1\r\nhost: caf\xe9\r\nconnection: close\r\n\r\n",
}


def attack(port: int, kind: str) -> None:
    """The hostile process."""
    message = MESSAGES[kind]()
    for _ in range(300 if kind == "300 broken handshakes" else 1):
        with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)) as sock:
            if not message.startswith((b"POST", b"GET")) and message:
                sock.sendall(UPGRADE)
                sock.recv(4096)
            sock.settimeout(0.001)
            _send_and_read(sock, memoryview(message))


def _send_and_read(sock: socket.socket, rest: memoryview) -> None:
    """Send everything, and read what comes meanwhile; a second of silence is the end."""
    quiet = time.monotonic()
    while time.monotonic() - quiet < 1:
        with suppress(TimeoutError):
            if rest:
                rest = rest[sock.send(rest) :]
                quiet = time.monotonic()
        with suppress(TimeoutError):
            if not sock.recv(1 << 20):
                return
            quiet = time.monotonic()


class Held(trio.abc.Instrument):
    """Times every step of every task, in CPU time of this thread and by the clock."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.longest = self.by_the_clock = 0.0
        self.task = ""
        self._begun = time.thread_time(), time.perf_counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._begun = time.thread_time(), time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        cpu, clock = self._begun
        self.by_the_clock = max(self.by_the_clock, time.perf_counter() - clock)
        took = time.thread_time() - cpu
        if took > self.longest:
            self.longest, self.task = took, task.name


async def engine(_: Ask, out: Out) -> None:
    for word in ("one", "two", "three"):
        await out.text(word)


class Healthy:
    """A client beside the hostile one: how long each of its small turns took."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.turns: list[float] = []
        self._stream = stream

    async def run(self) -> None:
        await self._stream.send_all(UPGRADE)
        await self._stream.receive_some()
        while True:
            begun = time.perf_counter()
            await self._stream.send_all(_create(b'"hi"'))
            received = b""
            while b'"response.completed"' not in received:
                received += await self._stream.receive_some()
            self.turns.append(time.perf_counter() - begun)
            await trio.sleep(0.005)


async def measure(kinds: list[str]) -> list[dict[str, Any]]:
    """One row for each kind."""
    held, rows = Held(), []
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(agentwire.serve, engine, limits=Limits()))
        healthy = Healthy(await trio.open_tcp_stream("127.0.0.1", server.port))
        nursery.start_soon(healthy.run)
        await trio.sleep(0.5)
        trio.lowlevel.add_instrument(held)
        for kind in kinds:
            await trio.sleep(0.3)
            healthy.turns.clear()
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "benchmarks.hostile", "--attack", kind, "--port", str(server.port)],
                stderr=subprocess.DEVNULL,
            )
            await trio.sleep(0.2)
            held.reset()
            await process.wait()
            turns = sorted(healthy.turns)
            rows.append(
                {
                    "kind": kind,
                    "held_ms": held.longest * 1000,
                    "held_by_the_clock_ms": held.by_the_clock * 1000,
                    "by": held.task.rpartition(".")[2].partition(" of ")[0].partition(" resp_")[0],
                    "turns": len(turns),
                    "median_ms": statistics.median(turns) * 1000,
                    "worst_ms": turns[-1] * 1000,
                }
            )
        nursery.cancel_scope.cancel(reason="measured")
    return rows


def main() -> None:
    """Measure, or attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--kind", action="append", choices=MESSAGES, help="only this kind (may be repeated)")
    parser.add_argument("--attack", choices=MESSAGES, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack:
        attack(options.port, options.attack)
        return
    set_collector()
    rows = trio.run(measure, options.kind or list(MESSAGES))
    if options.json:
        print(json.dumps(rows))
    else:
        show(rows)
    if any(row["held_ms"] > BOUND_MS for row in rows):
        sys.exit(f"the loop was held for more than {BOUND_MS:.0f} ms")


def set_collector() -> None:
    """As `agentwire serve` sets it: a collection of everything would be the longest step of all."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def show(rows: list[dict[str, Any]]) -> None:
    """The rows as a table."""
    print(f"{'kind':42} {'loop held, ms':>13} {'by the clock':>12} {'turn, ms':>9} {'worst':>7}  held by")
    for row in rows:
        held = f"{row['held_ms']:13.1f} {row['held_by_the_clock_ms']:12.1f}"
        print(f"{row['kind']:42} {held} {row['median_ms']:9.2f} {row['worst_ms']:7.1f}  {row['by']}")


if __name__ == "__main__":
    main()
