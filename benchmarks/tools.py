"""Who runs the tools, and what it costs: ``python -m benchmarks.tools [--json] [--rounds N] [--calls N]``.

One rollout of calls, one after the other, by an engine that needs no time to think: tools that the server runs, its own
and those of an MCP server beside it, and tools that the client runs, over a WebSocket and over HTTP. Every way goes
through a relay that delays both directions; the time runs from before the connect to the end of the answer, and the
rounds are interleaved.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import attrs
import trio

import agentwire
from agentwire.cli.demo.rollout import Rollout, over_http, over_wire
from agentwire.protocol.items import FunctionCallOutput, McpCall
from agentwire.testing.relay import RelayStatistics, open_relay

RTTS = (0.0, 0.02, 0.05)
TEXT = "x" * 200

SERVER = f"""
from mcp.server.mcpserver import MCPServer

server = MCPServer("tools", log_level="ERROR")

@server.tool()
async def look_up(key: int) -> str:
    return {TEXT!r}

server.run()
"""

Run = Callable[[str, str, Sequence[Callable[..., object]], Callable[[], None]], Awaitable[Rollout]]


async def look_up(key: int) -> str:
    """Look something up."""
    await trio.lowlevel.checkpoint()
    return TEXT if key >= 0 else ""


@attrs.frozen
class Way:
    name: str
    server: str
    run: Run
    clients_tools: tuple[Callable[..., object], ...] = ()


WAYS = (
    Way("the server's functions", "functions", over_wire),
    Way("the server's MCP server, over stdio", "mcp", over_wire),
    Way("the client's, over a WebSocket", "plain", over_wire, (look_up,)),
    Way(
        "the client's, over HTTP, kept alive, previous id",
        "plain",
        partial(over_http, keep_alive=True, full_history=False),
        (look_up,),
    ),
    Way(
        "the client's, over HTTP, kept alive, full history",
        "plain",
        partial(over_http, keep_alive=True, full_history=True),
        (look_up,),
    ),
)


def calling(calls: int) -> agentwire.Engine:
    """Calls the tool so many times, then says that it has."""

    async def engine(ask: agentwire.Ask, out: agentwire.Out) -> None:
        done = sum(isinstance(item, FunctionCallOutput | McpCall) for item in ask.items)
        if done < calls:
            await out.call("look_up", {"key": done})
        else:
            await out.text(f"{done} calls")

    return engine


@attrs.frozen
class Sample:
    seconds: float
    cpu: float
    traffic: RelayStatistics


async def measure(way: Way, server: agentwire.Server, rtt: float, calls: int) -> Sample:
    assert server.port is not None
    async with open_relay("127.0.0.1", server.port, rtt=rtt) as relay:
        ended: list[float] = []
        began, cpu = trio.current_time(), time.process_time()
        rollout = await way.run(
            relay.through(server.http_url), "go", way.clients_tools, lambda: ended.append(trio.current_time())
        )
        cpu = time.process_time() - cpu
        assert (rollout.calls, rollout.text) == (calls, f"{calls} calls")
        return Sample(ended[0] - began, cpu, relay.statistics())


async def rounds(count: int, calls: int) -> dict[tuple[str, float], list[Sample]]:
    samples: dict[tuple[str, float], list[Sample]] = {(way.name, rtt): [] for way in WAYS for rtt in RTTS}
    shop = agentwire.McpServer(label="tools", command=(sys.executable, "-c", SERVER), always_on=True)
    engine, limits = calling(calls), agentwire.Limits(steps=calls + 2)
    async with trio.open_nursery() as nursery:
        start = partial(agentwire.serve, engine, limits=limits)
        servers: dict[str, agentwire.Server] = {
            "plain": await nursery.start(start),
            "functions": await nursery.start(partial(start, tools=[look_up])),
            "mcp": await nursery.start(partial(start, mcp=[shop])),
        }
        for number in range(count + 1):
            for way in WAYS:
                for rtt in RTTS:
                    sample = await measure(way, servers[way.server], rtt, calls)
                    if number:  # the first round warms up
                        samples[way.name, rtt].append(sample)
        nursery.cancel_scope.cancel(reason="all is measured")
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="figures for programs")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=20)
    arguments = parser.parse_args()
    samples = trio.run(rounds, arguments.rounds, arguments.calls)
    if arguments.json:
        figures = [
            {"way": name, "rtt": rtt, "seconds": [s.seconds for s in all_]} for (name, rtt), all_ in samples.items()
        ]
        print(json.dumps(figures))
        return
    print(f"a rollout of {arguments.calls} calls, ms: median of {arguments.rounds} rounds (least, most)")
    for way in WAYS:
        print(f"\n{way.name}")
        for rtt in RTTS:
            found = samples[way.name, rtt]
            seconds = sorted(sample.seconds * 1000 for sample in found)
            cpu = statistics.median(sample.cpu for sample in found) * 1000
            traffic = found[-1].traffic
            spread = f"{statistics.median(seconds):7.1f} ({seconds[0]:.1f}, {seconds[-1]:.1f})"
            print(
                f"  round trip {rtt * 1000:2.0f} ms: {spread}; CPU of both ends {cpu:.0f} ms; {traffic.exchanges} "
                f"exchanges, {traffic.bytes_up} bytes up, {traffic.bytes_down} down"
            )


if __name__ == "__main__":
    main()
