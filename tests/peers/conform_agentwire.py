"""agentwire's client, on Trio.

agentwire conform-client --able tasks --able cancel python tests/peers/conform_agentwire.py
"""

from __future__ import annotations

import sys

import conform_common as given
import trio

import agentwire
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
async def look_up(page: int) -> str:
    """Look up a page."""
    host, _, port = given.TOOL_URL.split("/")[2].partition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(f"GET /tool?page={page} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join([bytes(data) async for data in stream])
    return answer.partition(b"\r\n\r\n")[2].decode()


async def do(client: agentwire.Client, task: str) -> None:
    """One task."""
    async with client.run(task, tools=[look_up]) as run:
        response = await run.finish()
    print(response.output_text, flush=True)


async def work() -> None:
    """All tasks, side by side."""
    policy = Resume(within=3 * given.PATIENCE)
    async with agentwire.connect(given.URL, model=given.MODEL, limits=LIMITS, on_disconnect=policy) as client:
        with trio.move_on_after(given.CANCEL_AFTER or float("inf")) as scope:
            async with trio.open_nursery() as nursery:
                for task in given.TASKS:
                    nursery.start_soon(do, client, task)
        if scope.cancelled_caught:
            print("cancelled", flush=True)
            await trio.sleep(3)


if __name__ == "__main__":
    sys.exit(given.main(lambda: trio.run(work)))
