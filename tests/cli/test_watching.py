"""What is said of a connection that comes and goes."""

from __future__ import annotations

from typing import Any, cast

import attrs
import trio
from trio.testing import MockClock

from agentwire.cli.watching import watch_connection


@attrs.define
class FakeLine:
    """A line of which only the figures are real; it stands for its client, too."""

    lost_since: float | None = None
    ways: int = 1
    connections: int = 1
    remembers: bool = True

    @property
    def line(self) -> FakeLine:
        return self

    @property
    def current(self) -> FakeLine:
        return self

    def statistics(self) -> FakeLine:
        return self


async def test_one_line_for_a_short_loss_and_two_for_a_long_one(autojump_clock: MockClock) -> None:
    line, said = FakeLine(), list[str]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_connection, cast(Any, line), said.append)
        await trio.sleep(10)
        assert said == []
        line.lost_since = 10.0
        await trio.sleep(1)
        assert said == []
        line.lost_since, line.connections = None, 2
        await trio.sleep(1)
        assert said == ["the connection was lost, and is back after 1.1 s"]
        line.lost_since = trio.current_time()
        await trio.sleep(5)
        assert said[1:] == ["the connection is lost, and is opened again when it is needed"]
        line.lost_since, line.ways, line.connections = None, 2, 1
        await trio.sleep(1)
        assert said[2:] == ["the connection was lost, and is back after 5.1 s"]
        nursery.cancel_scope.cancel(reason="the test is over")


async def test_a_connection_that_was_replaced_in_time(autojump_clock: MockClock) -> None:
    line, said = FakeLine(), list[str]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_connection, cast(Any, line), said.append)
        await trio.sleep(1)
        line.ways = 2
        await trio.sleep(1)
        nursery.cancel_scope.cancel(reason="the test is over")
    assert said == ["the connection was replaced by another one"]


async def test_no_connection_at_all(autojump_clock: MockClock) -> None:
    said = list[str]()
    with trio.move_on_after(10):
        await watch_connection(cast(Any, FakeLine(remembers=False)), said.append)
    assert said == ["the server takes no WebSocket: everything goes over HTTP"]
