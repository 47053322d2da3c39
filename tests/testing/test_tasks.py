"""Tasks are found, with the place where each of them waits."""

from __future__ import annotations

import trio
import trio.testing

from agentwire.testing import network
from agentwire.testing.tasks import describe_place, describe_task, describe_tasks, walk_tasks


async def sleeps_here() -> None:
    await trio.sleep_forever()


async def test_tasks_and_where_they_wait() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleeps_here, name="the sleeper")
        await trio.testing.wait_all_tasks_blocked()
        tasks = {task.name: task for task in walk_tasks()}
        line = describe_task(tasks["the sleeper"])
        assert line.startswith("the sleeper: test_tasks.py:")
        assert line.endswith(" in sleeps_here")
        assert f"  {line}" in describe_tasks().splitlines()
        assert not any("run_sync_soon" in name for name in tasks)
        nursery.cancel_scope.cancel(reason="test")
    assert "the sleeper" not in describe_tasks()


async def reads_here(stream: trio.abc.ReceiveStream) -> None:
    await stream.receive_some()


async def test_a_place_is_the_innermost_line_of_ones_own() -> None:
    client, server = network().pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reads_here, client)
        nursery.start_soon(server.receive_some, name="the library's")
        await trio.testing.wait_all_tasks_blocked()
        places = {task.name: describe_place(task) for task in walk_tasks()}
        nursery.cancel_scope.cancel(reason="test")
    (own,) = (place for name, place in places.items() if "reads_here" in name)
    assert own.endswith(" in reads_here")
    assert own.startswith("test_tasks.py:")
    assert places["the library's"].endswith(" (task the library's)")
    for stream in (client, server):
        stream.reset()
