"""Real MCP servers, each a process, behind a real server: over stdio and over HTTP."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from agentwire.protocol.items import McpCall
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Out
from agentwire.runtime.tools.source import McpServer
from tests.runtime.kit import Event
from tests.server.kit import Rig, eventually, on_loopback

pytestmark = pytest.mark.socket

PROGRAM = str(Path(__file__).parents[1] / "peers" / "mcp_tools.py")
TOOLS = {"type": "mcp", "server_label": "tools", "require_approval": "never"}
LIMITS = Limits(tool_output_bytes=1000, mcp_restart=0.05)


async def engine(ask: Ask, out: Out) -> None:
    """Makes the calls that the message names, one a line (``name arguments``), then says how many it sees."""
    if ask.step == 0:
        for line in str(ask.new_items[-1].text).splitlines():  # type: ignore[union-attr] # it is a message
            name, _, arguments = line.partition(" ")
            await out.call(name, arguments or "{}")
    else:
        await out.text(str(sum(isinstance(item, McpCall) for item in ask.items)))


@pytest.fixture(scope="module")
def over_http() -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    process = subprocess.Popen([sys.executable, PROGRAM, "http", str(port)], stderr=subprocess.DEVNULL)
    yield f"http://127.0.0.1:{port}/mcp"
    process.kill()
    process.wait()


@asynccontextmanager
async def serving(**config: Any) -> AsyncGenerator[Rig]:
    server = McpServer(label="tools", **config or {"command": (sys.executable, PROGRAM)})
    async with on_loopback(engine, seconds=60, mcp=[server], limits=LIMITS) as rig:
        yield rig


def calls(events: list[Event]) -> list[Event]:
    return [item for item in events[-1]["response"]["output"] if item["type"] == "mcp_call"]


async def goes_in_the_middle(rig: Rig) -> None:
    """A client leaves while its tool runs: the tool stops, and the next client has the same session."""
    starts = rig.server.statistics().mcp[0].starts
    peer = await rig.connect()
    await peer.create('slow {"seconds":50}', tools=[TOOLS])
    await peer.until("response.mcp_call_arguments.done")
    await eventually(lambda: rig.server.statistics().mcp[0].running == 1)
    await peer.stream.aclose()
    await eventually(lambda: rig.server.statistics().mcp[0].running == 0)
    again = await rig.connect()
    assert calls(await again.ask('add {"a":1,"b":1}', tools=[TOOLS]))[0]["output"] == "2"
    assert rig.server.statistics().mcp[0].starts == starts


async def test_over_stdio(caplog: pytest.LogCaptureFixture) -> None:
    asked = 'add {"a":2,"b":3}\nfail\nlong {"size":5000}\nlook\npage\nenvironment\nsteps {"count":2}\nadd {"a":"x"}'
    caplog.set_level(logging.INFO, "agentwire")
    async with serving() as rig:
        peer = await rig.connect()
        events = await peer.ask(asked, tools=[TOOLS])
        listing = events[-1]["response"]["output"][0]
        assert [tool["name"] for tool in listing["tools"]][:2] == ["add", "slow"]
        assert listing["tools"][0]["annotations"] == {"readOnlyHint": True}
        done = calls(events)
        outputs = [item["output"] for item in done]
        assert outputs[0] == "5"
        assert (done[1]["status"], done[1]["error"]) == ("failed", "no such thing")
        assert outputs[2].startswith("x" * 1000 + "\n[cut")
        assert outputs[3] == "a dot:\n[image: image/png, 9 bytes, not shown]"
        assert outputs[4] == "[resource file:///a.txt]\nhello"
        assert "PYTEST_CURRENT_TEST" not in outputs[5]
        assert outputs[6] == "stepped"
        assert done[7]["status"] == "failed"
        await goes_in_the_middle(rig)
        await eventually(lambda: "slow-cancelled" in caplog.text)
        await peer.ask("grow", tools=[TOOLS])
        await eventually(lambda: caplog.text.count("tools now"))
        events = await peer.ask("", tools=[TOOLS])
        assert events[-1]["response"]["output"][0]["tools"][-1]["name"] == "grown"


async def test_an_error_of_a_call_is_not_the_end_of_the_session() -> None:
    async with serving() as rig:
        peer = await rig.connect()
        waited, refused = calls(await peer.ask('slow {"seconds":0.3}\nrefuse', tools=[TOOLS]))
        assert waited["output"] == "waited"
        assert (refused["status"], refused["error"]) == ("failed", "Connection closed by the database")
        assert rig.server.statistics().mcp[0].starts == 1


async def test_one_that_dies_is_started_again_and_nothing_of_it_is_left() -> None:
    async with serving() as rig:
        peer = await rig.connect()
        (first,) = calls(await peer.ask("spawn", tools=[TOOLS]))
        (dead,) = calls(await peer.ask("die", tools=[TOOLS]))
        assert dead["status"] == "failed"
        assert "not known" in dead["error"]
        add, second = calls(await peer.ask('add {"a":1,"b":1}\nspawn', tools=[TOOLS]))
        assert add["output"] == "2"
        assert rig.server.statistics().mcp[0].starts == 2
        await eventually(lambda: not _lives(int(first["output"])))
        assert _lives(int(second["output"]))
    with trio.fail_after(5):
        await eventually(lambda: not _lives(int(second["output"])))


def _lives(pid: int) -> bool:
    """A process that nobody reaps here is dead all the same."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # the mcp package leaves its own to the collector
async def test_over_http(over_http: str) -> None:
    async with serving(url=over_http, headers={"authorization": "Bearer x"}) as rig:
        peer = await rig.connect()
        done = calls(await peer.ask('add {"a":2,"b":3}\nfail\nsteps {"count":2}', tools=[TOOLS]))
        assert [item["output"] for item in done] == ["5", "ToolError: no such thing", "stepped"]
        await goes_in_the_middle(rig)
