"""Watching changes nothing: schemas, results and cancellations pass."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from agentwire.cli.demo.watch import Watch
from agentwire.protocol.limits import Limits
from agentwire.runtime.tools import Toolbox


async def wait(seconds: float, mood: str = "calm") -> str:
    """Wait a while."""
    await trio.sleep(seconds)
    return mood


async def test_a_watched_tool_is_the_same_tool(autojump_clock: MockClock) -> None:
    watch = Watch()
    watched = Toolbox.of(watch.tools("client", [wait]))
    assert watched.specs == Toolbox.of([wait]).specs
    result = await watched.run("wait", '{"seconds": 3}', call_id="call_1", limits=Limits())
    assert result.output == "calm"
    (seen,) = watch.seen
    assert (seen.where, seen.kind, seen.what) == ("client", "tool", "wait(seconds=3.0)")
    assert (seen.began, seen.ended, seen.reason) == (0, 3, None)
    assert watch.cancelled == ()


async def test_reason_and_moment_of_a_cancellation(autojump_clock: MockClock) -> None:
    watch = Watch()
    (slow,) = watch.tools("server", [wait])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: slow(seconds=100))
        await watch.changed()
        assert [one.what for one in watch.running] == ["wait(seconds=100)"]
        await trio.sleep(2)
        nursery.cancel_scope.cancel(reason="enough")
    assert watch.running == ()
    (seen,) = watch.cancelled
    assert (seen.reason, seen.ended) == ("enough", 2)


async def test_errors_pass() -> None:
    async def fail() -> None:
        raise ValueError("no")

    watch = Watch()
    (failing,) = watch.tools("client", [fail])
    with pytest.raises(ValueError, match="no"):
        await failing()
    assert watch.cancelled == ()
    assert watch.running == ()
