"""An MCP server's life: its session is opened, lost, opened again and left; calls under deadlines."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from agentwire.protocol.errors import RequestError
from agentwire.protocol.limits import Limits
from agentwire.protocol.mcp import read_entry
from agentwire.runtime.tools.local import ToolError
from agentwire.runtime.tools.output import ToolResult
from agentwire.runtime.tools.registry import Registry, allows_url
from agentwire.runtime.tools.remote import RemoteServer
from agentwire.runtime.tools.source import McpServer, SessionGone, SessionLost
from tests.runtime.mcps import Fake, echo, registry

LIMITS = Limits()


@asynccontextmanager
async def running(fake: Fake, limits: Limits = LIMITS, **config: Any) -> AsyncGenerator[RemoteServer]:
    server = RemoteServer(McpServer(label="docs", command=("fake",), **config), fake.dial, limits)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        yield server
        nursery.cancel_scope.cancel(reason="the test is over")


async def call(server: Any, name: str, arguments: str = "{}", limits: Limits = LIMITS) -> ToolResult:
    result: ToolResult = await server.call(name, arguments, call_id="c", limits=limits)
    return result


async def hang(x: int = 0) -> str:
    await trio.sleep(5000)
    return "late"


async def test_it_is_up_when_it_has_said_what_it_can(autojump_clock: MockClock) -> None:
    fake = Fake(starting=3)
    async with running(fake) as server:
        assert server.known is None
        assert [tool.name for tool in await server.tools()] == ["echo"]
        assert trio.current_time() == pytest.approx(3)
        assert (await call(server, "echo", '{"x":2}')).output == "echo 2"
        assert server.statistics().up
    assert fake.left == 1
    assert not server.statistics().up


async def test_a_session_that_dies_fails_its_calls_and_is_opened_again(autojump_clock: MockClock) -> None:
    fake = Fake({"echo": echo, "hang": hang})
    async with running(fake) as server:
        await server.tools()
        results: list[ToolResult] = []

        async def one() -> None:
            results.append(await call(server, "hang"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            await trio.sleep(1)
            fake.kill()
        assert results[0].error is not None
        assert "not known" in results[0].error
        assert (await call(server, "echo")).output == "echo 0"
        assert (server.statistics().starts, fake.left) == (2, 1)
        assert [tool.name for tool in await server.tools()] == ["echo", "hang"]


async def test_a_call_that_a_forgetful_server_refused_is_made_again_once(autojump_clock: MockClock) -> None:
    refusals = [SessionGone("forgotten")]

    async def moody(x: int = 0) -> str:
        await trio.lowlevel.checkpoint()
        if refusals:
            raise refusals.pop()
        return "done"

    fake = Fake({"moody": moody})
    async with running(fake) as server:
        assert (await call(server, "moody")).output == "done"
        assert (len(fake.sessions), len(fake.calls)) == (2, 2)
        refusals += [SessionGone("forgotten"), SessionGone("forgotten again")]
        result = await call(server, "moody")
        assert result.error == "forgotten. Whether moody took effect is not known."
        assert (len(fake.sessions), len(fake.calls)) == (3, 4)


async def test_the_pause_between_attempts_grows_and_is_bounded(autojump_clock: MockClock) -> None:
    fake = Fake(refuses="no such file")
    limits = Limits(mcp_restart=1, mcp_restart_most=4, mcp_connect=100)
    async with running(fake, limits) as server:
        await trio.sleep(0.5)
        starts = []
        for _ in range(12):
            starts.append(server.statistics().starts)
            await trio.sleep(1)
        assert starts == [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5]
        fake.refuses = ""
        assert [tool.name for tool in await server.tools()] == ["echo"]


async def test_a_server_that_does_not_start_says_why(autojump_clock: MockClock) -> None:
    async with running(Fake(starting=1000)) as server:
        with pytest.raises(SessionLost, match=r"did not start within 20 s"):
            await server.tools()
    async with running(Fake(refuses="no such file")) as server:
        with pytest.raises(SessionLost, match="no such file"):
            await server.tools()
        result = await call(server, "echo")
        assert result.error is not None
        assert "no such file" in result.error


async def test_it_is_left_in_good_order_by_a_cancelled_owner(autojump_clock: MockClock) -> None:
    fake = Fake(cleaning=3)
    async with running(fake) as server:
        await server.tools()
        began = trio.current_time()
    assert fake.left == 1
    assert trio.current_time() - began == pytest.approx(3)


async def test_an_end_that_hangs_is_bounded(autojump_clock: MockClock) -> None:
    fake = Fake(cleaning=1000)
    async with running(fake) as server:
        await server.tools()
        began = trio.current_time()
    assert trio.current_time() - began == pytest.approx(2 * LIMITS.mcp_exit)


async def test_one_that_has_not_started_is_left_at_once(autojump_clock: MockClock) -> None:
    async with running(Fake(starting=1000)):
        await trio.sleep(1)
    assert trio.current_time() == pytest.approx(1)


async def test_a_call_has_a_deadline_and_a_sign_of_life_moves_the_shorter_one(autojump_clock: MockClock) -> None:
    fake = Fake({"hang": hang})
    async with running(fake, timeout=10) as server:
        await server.tools()
        began = trio.current_time()
        result = await call(server, "hang")
        assert trio.current_time() - began == pytest.approx(10)
        assert result.error == "hang did not answer within 10 s and was cancelled"
        began = trio.current_time()

        async def live() -> None:
            while True:
                await trio.sleep(9)
                assert fake.progress is not None
                fake.progress()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(live)
            result = await call(server, "hang", limits=Limits(tool_seconds=60))
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began == pytest.approx(60)
        assert result.error == "hang did not answer within 60 s and was cancelled"
        assert fake.cancelled == ["hang", "hang"]


async def test_calls_run_side_by_side_up_to_a_bound(autojump_clock: MockClock) -> None:
    async def slow(x: int = 0) -> str:
        await trio.sleep(10)
        return "slow"

    async with running(Fake({"slow": slow}), Limits(mcp_calls=2)) as server:
        await server.tools()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(call, server, "slow")
            await trio.sleep(1)
            statistics = server.statistics()
            assert (statistics.running, statistics.waiting, server.busy) == (2, 2, True)
        assert trio.current_time() - began == pytest.approx(20)
        assert not server.busy


@pytest.mark.parametrize("arguments", ["[]", "{", "3", '{"x"}'])
async def test_arguments_that_are_no_object_reach_nobody(autojump_clock: MockClock, arguments: str) -> None:
    fake = Fake()
    async with running(fake) as server:
        result = await call(server, "echo", arguments)
    assert result.error is not None
    assert fake.calls == []


async def test_whatever_a_tool_does_is_a_result_and_is_bounded(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def bad(x: int = 0) -> str:
        await trio.lowlevel.checkpoint()
        raise ToolError("not today")

    async def broken(x: int = 0) -> str:
        await trio.lowlevel.checkpoint()
        raise KeyError("k")

    async def long(x: int = 0) -> str:
        await trio.lowlevel.checkpoint()
        return "x" * 5000

    async def furious(x: int = 0) -> ToolResult:
        await trio.lowlevel.checkpoint()
        return ToolResult.failed("y" * 5000)

    fake = Fake({"bad": bad, "broken": broken, "long": long, "furious": furious})
    async with running(fake, output_bytes=100) as server:
        with caplog.at_level(logging.CRITICAL, "agentwire.tools"):
            assert (await call(server, "bad")).error == "not today"
            assert (await call(server, "broken")).error == "KeyError: 'k'"
        text = (await call(server, "long")).text
        assert text.startswith("x" * 100 + "\n[cut")
        failed = (await call(server, "furious")).error
        assert failed is not None
        assert failed.startswith("y" * 100 + "\n[cut")


async def test_tools_that_change_are_asked_for_again(autojump_clock: MockClock) -> None:
    fake = Fake()
    async with running(fake) as server:
        await server.tools()
        fake.change(echo=echo, more=echo)
        await trio.sleep(1)
        assert [tool.name for tool in await server.tools()] == ["echo", "more"]
        assert server.statistics().starts == 1


@pytest.mark.parametrize(("refusal", "starts"), [(ToolError("HTTP 429"), 1), (SessionLost("who are you?"), 2)])
async def test_a_listing_that_is_refused_ends_a_session_only_where_that_is_over(
    refusal: Exception, starts: int, autojump_clock: MockClock
) -> None:
    fake = Fake()
    async with running(fake) as server:
        await server.tools()
        fake.unlisted = refusal
        fake.change(echo=echo, more=echo)
        await trio.sleep(0.1)
        fake.unlisted = None
        assert (await call(server, "echo")).output == "echo 0"
        assert server.statistics().starts == starts
        fake.change(echo=echo, most=echo)
        await trio.sleep(0.1)
        assert [tool.name for tool in await server.tools()] == ["echo", "most"]


async def test_a_tool_that_is_listed_twice_is_one(autojump_clock: MockClock) -> None:
    async with running(Fake(repeats=2)) as server:
        assert [tool.name for tool in await server.tools()] == ["echo"]


async def test_more_tools_than_anybody_needs_are_left_out(autojump_clock: MockClock) -> None:
    fake = Fake({f"t{number}": echo for number in range(9)})
    async with running(fake, Limits(mcp_tools=3)) as server:
        assert len(await server.tools()) == 3


# Servers that clients bring

URL = "https://mcp.example.org/api/v1"


def entry(**members: Any) -> Any:
    return read_entry({"type": "mcp", "server_label": "own", "server_url": URL, **members}, "tools[0]")


@asynccontextmanager
async def open_registry(fake: Fake, **limits: Any) -> AsyncGenerator[Registry]:
    made = registry({URL: fake}, Limits(**limits), urls=("https://mcp.example.org/api",))
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel(reason="the test is over")


async def test_a_session_is_one_principals_with_its_headers(autojump_clock: MockClock) -> None:
    fake = Fake()
    async with open_registry(fake) as made:
        for principal, authorization in (("a", "1"), ("a", "1"), ("a", "2"), ("b", "1")):
            source = made.source(principal, entry(authorization=authorization))
            assert [tool.name for tool in await source.tools()] == ["echo"]
        assert [config.headers["authorization"] for config in fake.configs] == ["Bearer 1", "Bearer 2", "Bearer 1"]
        assert len(made.statistics()) == 3
    assert fake.left == 3


async def test_a_session_that_nobody_uses_is_closed_and_comes_back_with_its_next_use(autojump_clock: MockClock) -> None:
    fake = Fake({"hang": hang})
    async with open_registry(fake, mcp_idle=60) as made:
        source = made.source("a", entry())
        await source.tools()
        with trio.move_on_after(300):
            await call(source, "hang")
        assert fake.left == 0
        await trio.sleep(100)
        assert (fake.left, made.statistics()) == (1, ())
        await source.tools()
        assert len(fake.sessions) == 2


async def test_the_longest_idle_session_makes_room_and_busy_ones_do_not(autojump_clock: MockClock) -> None:
    fake = Fake({"hang": hang})
    async with open_registry(fake, mcp_sessions_each=2, mcp_sessions=3) as made:
        sources = []
        for number in range(2):
            await trio.sleep(1)
            sources.append(made.source("a", entry(authorization=str(number))))
            await sources[-1].tools()
        await made.source("a", entry(authorization="2")).tools()
        await trio.sleep(1)
        assert (len(fake.sessions), fake.left) == (3, 1)
        async with trio.open_nursery() as nursery:
            for number in (1, 2):
                nursery.start_soon(call, made.source("a", entry(authorization=str(number))), "hang")
            await trio.sleep(1)
            with pytest.raises(RequestError) as caught:
                made.source("a", entry(authorization="3"))
            assert (caught.value.status, caught.value.code) == (429, "mcp_session_limit_reached")
            result = await call(sources[0], "hang")
            assert result.error is not None
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("allowed", "url", "verdict"),
    [
        ("https://a.example/x", "https://a.example/x", True),
        ("https://a.example/x/", "https://a.example/x", True),
        ("https://a.example/x", "https://a.example/x/y?z", True),
        ("https://a.example", "https://a.example/any", True),
        ("https://a.example", "https://A.example:443/any", True),
        ("https://a.example/x", "https://a.example/xy", False),
        ("https://a.example/x", "https://a.example/x/../y", False),
        ("https://a.example/x", "https://a.example/x/%2e%2e/y", False),
        ("https://a.example", "http://a.example/", False),
        ("https://a.example", "https://a.example:444/", False),
        ("https://a.example", "https://a.example.evil.example/", False),
        ("https://a.example", "https://u@a.example/", False),
    ],
)
def test_an_allowed_url_lets_in_what_is_below_it_and_nothing_else(allowed: str, url: str, verdict: bool) -> None:
    assert allows_url(allowed, url) is verdict


def test_what_makes_no_sense_is_refused_at_once() -> None:
    fake = Fake()
    with pytest.raises(ValueError, match="either a command or a URL"):
        McpServer(label="a", command=("x",), url="http://x")
    with pytest.raises(ValueError, match="no label"):
        McpServer(label="1 2", command=("x",))
    with pytest.raises(ValueError, match="no http or https URL"):
        Registry([], fake.dial, LIMITS, allowed_urls=["file:///x"])
