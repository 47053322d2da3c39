"""How soon an upstream learns that a client has gone: ``python -m benchmarks.disconnects [--rounds N] [--json]``.

A client asks, the model says a word and falls silent, the client resets or closes its connection: measured is the time
until the model's server reads the end of its own. Between them stands agentwire with the engine for chat completions,
or a bare relay of Trio's, which only copies bytes; each is a process of its own, and rounds alternate between them.
Client and model's server are one program that waits for one thing at a time, so that nothing of it is measured.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from agentwire.transport.frames import client_frame

BOUND_MS = 3.0
KEY = b"abcd"
RESET = struct.pack("ii", 1, 0)
HOWS = ("reset", "close")
UPGRADE = (
    b"GET /v1/responses HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
CREATE = json.dumps({"type": "response.create", "model": "m", "input": "hi"}).encode()
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}"
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"word"}}]}\n\n'
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    + b"%x\r\n%b\r\n" % (len(WORD), WORD)
)  # fmt: skip

SERVER = """
import sys, trio, agentwire
from agentwire.engines.chat import open_chat_engine
async def main():
    async with open_chat_engine("http://127.0.0.1:" + sys.argv[1] + "/v1") as engine, trio.open_nursery() as nursery:
        server = await nursery.start(agentwire.serve, engine)
        print(server.port, flush=True)
trio.run(main)
"""

RELAY = """
import sys, trio
async def copy(source, sink, scope):
    try:
        async for data in source:
            await sink.send_all(data)
    except trio.BrokenResourceError:
        pass
    scope.cancel(reason="one side has ended")
async def handle(client):
    async with await trio.open_tcp_stream("127.0.0.1", int(sys.argv[1])) as upstream, trio.open_nursery() as nursery:
        nursery.start_soon(copy, client, upstream, nursery.cancel_scope)
        nursery.start_soon(copy, upstream, client, nursery.cancel_scope)
async def main():
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, handle, 0)
        print(listeners[0].socket.getsockname()[1], flush=True)
trio.run(main)
"""


def begin_turn(client: socket.socket) -> None:
    """Ask agentwire."""
    client.sendall(UPGRADE)
    read_until(client, b"\r\n\r\n")
    client.sendall(client_frame(CREATE, KEY))


def begin_request(client: socket.socket) -> None:
    """Ask the model's server, through the relay."""
    client.sendall(POST)


def read_until(peer: socket.socket, word: bytes) -> None:
    seen = b""
    while word not in seen:
        data = peer.recv(65536)
        if not data:
            raise RuntimeError(f"the connection ended before {word!r}")
        seen += data


def one_round(port: int, listening: socket.socket, begin: Callable[[socket.socket], None], how: str) -> float:
    """Milliseconds from the client's end to the upstream's."""
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    begin(client)
    upstream, _ = listening.accept()
    with upstream:
        upstream.settimeout(10)
        read_until(upstream, b"}")
        upstream.sendall(ANSWER)
        read_until(client, b"word")
        time.sleep(0.02)  # until everybody waits
        if how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        begun = time.perf_counter()
        client.close()
        with suppress(ConnectionResetError):
            upstream.recv(1)
        return (time.perf_counter() - begun) * 1000


def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    taken: dict[str, dict[str, list[float]]] = {name: {how: [] for how in HOWS} for name in ("agentwire", "relay")}
    ways = {"agentwire": (SERVER, begin_turn), "relay": (RELAY, begin_request)}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        command = [sys.executable, "-c"]
        upstream_port = str(listening.getsockname()[1])
        processes = {
            name: subprocess.Popen([*command, program, upstream_port], stdout=subprocess.PIPE)
            for name, (program, _) in ways.items()
        }
        try:
            ports = {name: int(process.stdout.readline()) for name, process in processes.items() if process.stdout}
            for number in range(-5, rounds):
                for name, (_, begin) in ways.items():
                    for how in HOWS:
                        milliseconds = one_round(ports[name], listening, begin, how)
                        if number >= 0:
                            taken[name][how].append(milliseconds)
        finally:
            for process in processes.values():
                process.terminate()
                process.wait()
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="print one object instead of a table")
    arguments = parser.parse_args()
    taken = measure(arguments.rounds)
    shown = {
        name: {
            how: {"p50": statistics.median(times), "p90": statistics.quantiles(times, n=10)[-1]}
            for how, times in by.items()
        }
        for name, by in taken.items()
    }
    worst = max(shown["agentwire"][how]["p90"] - shown["relay"][how]["p90"] for how in HOWS)
    if arguments.json:
        print(json.dumps({"milliseconds": shown, "p90_more_than_relay": worst, "bound": BOUND_MS}))
    else:
        print(f"{'':12} {'how':8} {'p50 ms':>8} {'p90 ms':>8}")
        for name, by in shown.items():
            for how, found in by.items():
                print(f"{name:12} {how:8} {found['p50']:8.2f} {found['p90']:8.2f}")
        print(f"p90 is at most {worst:.2f} ms more than the bare relay's; the bound is {BOUND_MS:g} ms")
    return worst > BOUND_MS


if __name__ == "__main__":
    sys.exit(main())
