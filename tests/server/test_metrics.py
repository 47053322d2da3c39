"""What a server counts, for Prometheus: its format, its numbers, and who may read them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs
from trio.testing import MockClock

from agentwire.engines.routing import Route, Routes, Upstream
from agentwire.protocol.errors import EngineError
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Ask, Finish, Out
from agentwire.runtime.tools.remote import RemoteStatistics
from agentwire.server.metrics import write_metrics
from tests.server.kit import Rig, serving
from tests.transport.kit import Reply

SAMPLE = re.compile(r'(agentwire_[a-z_]+)(\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"\})? (\d+)')


async def hello(ask: Ask, out: Out) -> Finish:
    await out.text("hello")
    return Finish(usage=Usage(input_tokens=7, cached_tokens=2, output_tokens=3, reasoning_tokens=1))


async def down(ask: Ask, out: Out) -> Finish:
    raise EngineError("it is down", code="upstream_error", status=502)


async def scrape(rig: Rig, *headers: str) -> Reply:
    lines = "".join(f"{line}\r\n" for line in ("GET /metrics HTTP/1.1", "host: localhost", *headers))
    return await (await rig.http()).ask(f"{lines}\r\n".encode())


def read(body: bytes) -> dict[str, int]:
    """The samples; each stands behind two lines that say what it is, and each family is there once."""
    found: dict[str, int] = {}
    family, families = "", []
    for line in body.decode().removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            family = line.split()[2]
            families.append(family)
        elif line.startswith("# TYPE "):
            kind = "counter" if family.endswith("_total") else "gauge"
            assert line == f"# TYPE {family} {kind}"
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample is not None, line
            assert sample[1] == family
            found[sample[1].removeprefix("agentwire_") + (sample[2] or "")] = int(sample[3])
    assert len(families) == len(set(families))
    return found


async def test_turns_and_tokens(autojump_clock: MockClock) -> None:
    async with serving(hello, metrics=True) as rig:
        peer = await rig.connect()
        await peer.ask()
        reply = await scrape(rig)
        assert (reply.status, reply.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        told = read(reply.body)
        await peer.close()
    expected: Mapping[str, int] = {
        "connections": 1,
        "running": 0,
        "draining": 0,
        'turns_total{outcome="completed"}': 1,
        'input_tokens_total{outcome="completed"}': 7,
        'cached_tokens_total{outcome="completed"}': 2,
        'output_tokens_total{outcome="completed"}': 3,
        'reasoning_tokens_total{outcome="completed"}': 1,
        "tool_calls_total": 0,
    }
    assert {name: told.get(name) for name in expected} == expected
    assert not any(name.startswith(("mcp", "upstream")) for name in told)


async def test_upstreams(autojump_clock: MockClock) -> None:
    up, bounded = Upstream(down, name="up", retries=1), Upstream(hello, name="spare", concurrency=2)
    routes = Routes([Route("m", up, fallback=["s"]), Route("s", bounded)])
    async with serving(routes, metrics=True) as rig:
        peer = await rig.connect()
        await peer.ask(model="m")
        told = read((await scrape(rig)).body)
        await peer.close()
    assert {name: number for name, number in told.items() if name.startswith("upstream")} == {
        'upstream_running{upstream="spare"}': 0,
        'upstream_waiting{upstream="up"}': 0,
        'upstream_waiting{upstream="spare"}': 0,
        'upstream_attempts_total{upstream="up"}': 2,
        'upstream_attempts_total{upstream="spare"}': 1,
        'upstream_retries_total{upstream="up"}': 1,
        'upstream_retries_total{upstream="spare"}': 0,
        'upstream_failures_total{upstream="up"}': 2,
        'upstream_failures_total{upstream="spare"}': 0,
    }


async def test_who_may_read_them(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        assert (await scrape(rig)).status == 404
    async with serving(hello, metrics=True, keys=["a-key"]) as rig:
        assert (await scrape(rig)).status == 401
        assert (await scrape(rig, "authorization: Bearer a-key")).status == 200


async def test_labels_are_quoted_and_mcp_servers_counted(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        counts = rig.server.statistics()
    mcp: Any = (RemoteStatistics(label="git", up=True, starts=2, calls=5, running=0, waiting=0),)
    told = read(write_metrics(attrs.evolve(counts, ended={'a "b" \\ \n': 4}, mcp=mcp), {}))
    assert told[r'ended_connections_total{why="a \"b\" \\ \n"}'] == 4
    assert (told['mcp_up{server="git"}'], told['mcp_starts_total{server="git"}']) == (1, 2)
    assert told['mcp_calls_total{server="git"}'] == 5
