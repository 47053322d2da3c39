"""agentwire's client without async.

agentwire conform-client --able tasks python tests/peers/conform_agentwire_sync.py
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import conform_common as given

import agentwire
import agentwire.sync
from agentwire.protocol.limits import Limits
from agentwire.runtime.policies import Resume

LIMITS = Limits(
    first_event=given.PATIENCE,
    event_silence=given.PATIENCE,
    handshake=given.PATIENCE,
    write_progress=given.PATIENCE,
    close_grace=given.PATIENCE,
    ping_interval=given.PATIENCE / 3,
    ping_timeout=given.PATIENCE,
)


@agentwire.tool
def look_up(page: int) -> str:
    """Look up a page."""
    return str(given.look_up(page))


def work() -> None:
    """All tasks, side by side."""
    policy = Resume(within=3 * given.PATIENCE)
    with agentwire.sync.connect(given.URL, model=given.MODEL, limits=LIMITS, on_disconnect=policy) as client:

        def do(task: str) -> str:
            with client.run(task, tools=[look_up]) as run:
                return run.finish().output_text

        with ThreadPoolExecutor(len(given.TASKS)) as threads:
            for text in threads.map(do, given.TASKS):
                print(text, flush=True)


if __name__ == "__main__":
    sys.exit(given.main(work))
