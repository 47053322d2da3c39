"""A line to a real server over the system's sockets."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from agentwire.engines import Text, Turn, scripted
from agentwire.link import open_line
from agentwire.link.choosing import Transport
from agentwire.server import Server, serve
from agentwire.testing import no_leaks
from tests.link.lines import say

pytestmark = pytest.mark.socket


@pytest.mark.parametrize("transport", ["websocket", "http"])
async def test_both_reach_a_unix_socket(tmp_path: Path, transport: Transport) -> None:
    path = tmp_path / "wire.sock"

    async def start(*, task_status: trio.TaskStatus[Server]) -> None:
        await serve(scripted(Turn(Text("Hello."))), host=None, unix_path=path, task_status=task_status)

    with trio.fail_after(30):
        async with no_leaks(), trio.open_nursery() as nursery:
            await nursery.start(start)
            async with open_line(f"ws+unix://{path}", transport=transport) as line:
                assert await say(line) == "Hello."
                assert line.current.remembers is (transport == "websocket")
            nursery.cancel_scope.cancel(reason="the test is over")
