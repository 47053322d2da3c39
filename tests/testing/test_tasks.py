"""Tasks are found, with the place where each of them waits."""

from __future__ import annotations

import trio
import trio.testing

from agentwire.testing.tasks import describe_task, describe_tasks, walk_tasks


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
