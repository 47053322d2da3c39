"""A client with a journal that kills itself, as ``kill -9`` does, and is started again; for test_killed_client.

    python -m tests.client.killed_client URL FOLDER 5 12 5,3

Each argument is one rollout: at which moments of its lives it is killed; a last life has none. Moments are counted:
around every write of the journal, around the effect of every tool, and at every step. It prints a line for each.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import trio

from agentwire.client import connect
from agentwire.client.journal.file import FileJournal

PAGES = 4
TASK = f"Look up {PAGES} pages, 2 at a time."


def live(url: str, folder: Path, kill_at: int) -> None:
    """One life: in a process of its own."""
    moments = itertools.count(1)

    def moment() -> None:
        if next(moments) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    async def look_up(page: int) -> str:
        moment()
        with (folder / "effects").open("a") as effects:  # noqa: ASYNC230 - a moment
            effects.write(f"{page}\n")
        moment()
        await trio.sleep(0.001 * page)
        return f"Page {page}."

    async def main() -> None:
        async with connect(url) as wire:
            async with wire.run(TASK, tools=[look_up], journal=folder / "journal.db", key="job-17") as run:
                async for _ in run:
                    moment()
            unknown = [result.unknown for result in run.results.values()].count(True)
            assert run.response is not None
            (folder / "said").write_text(json.dumps([run.response.output_text, unknown, next(moments)]))

    watch_writes(moment)
    trio.run(main)


def watch_writes(moment: Callable[[], None]) -> None:
    """A moment before and after each write."""
    append: Any = FileJournal._append

    async def watched(*args: Any) -> None:
        moment()
        await append(*args)
        moment()

    FileJournal._append = watched  # type: ignore[assignment,method-assign]


def fork(life: Callable[[], None]) -> int:
    """Live in a child, which begins with everything loaded; returns how it ended, as a return code is told."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            life()
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def roll(url: str, folder: Path, kills: Sequence[int]) -> dict[str, Any]:
    """One rollout, however many lives it takes."""
    folder.mkdir()
    ends = [fork(lambda kill_at=kill_at: live(url, folder, kill_at)) for kill_at in (*kills, 0)]  # type: ignore[misc]
    text, unknown, moments = json.loads((folder / "said").read_text())
    effects = Counter((folder / "effects").read_text().split())
    return {"ends": ends, "text": text, "unknown": unknown, "moments": moments, "effects": effects}


def main() -> None:
    url, folder, *plans = sys.argv[1:]
    for number, plan in enumerate(plans):
        rolled = roll(url, Path(folder) / str(number), [int(at) for at in plan.split(",")])
        print(json.dumps(rolled), flush=True)  # noqa: T201 - the command's output


if __name__ == "__main__":
    main()
