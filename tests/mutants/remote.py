"""Tools of MCP servers in a turn, on the bare wire: listed, run, asked for, and stopped before they are there."""

from __future__ import annotations

from typing import Any

import trio

from agentwire.protocol.items import McpCall
from agentwire.runtime.contracts import Ask, Finish, Out
from agentwire.runtime.tools.source import McpServer
from agentwire.testing import Rig
from agentwire.testing.conformance import Peer
from tests.mutants.counted import EXTENDED, Noting
from tests.mutants.extended import extended, hello
from tests.runtime.mcps import Fake

__all__ = ["EXTENDED"]

DOCS = {"type": "mcp", "server_label": "docs", "require_approval": "never"}
ASKING = {"type": "mcp", "server_label": "docs"}
SERVERS = [McpServer(label="docs", command=("docs",))]


async def caller(ask: Ask, out: Out) -> Finish | None:
    """Call the tool once, then say what came of it."""
    made = [item for item in ask.items if isinstance(item, McpCall)]
    if not made and ask.step == 0 and ask.tools:
        await out.call("echo", {"x": 3})
    else:
        await out.text("; ".join(str(call.output) for call in made) or "none")
    return None


def dial(starting: float = 0, refuses: str = "") -> Any:
    """Opens sessions with a server that takes so long, or cannot be reached."""
    return Fake(starting=starting, refuses=refuses).dial


def kinds(items: list[dict[str, Any]]) -> list[str]:
    """Their types."""
    return [item["type"] for item in items]


@extended(engine=caller, mcp=SERVERS, mcp_dial=dial())
async def tools_of_a_server_are_listed_and_run(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        first = (await socket.ask("go", tools=[DOCS])).completed()
        assert kinds(first.output) == ["mcp_list_tools", "mcp_call", "message"]
        assert first.text == "echo 3"
        second = (await socket.ask("go", tools=[DOCS], previous_response_id=first.id)).completed()
        assert kinds(second.output) == ["message"]


@extended(engine=caller, mcp=SERVERS, mcp_dial=dial())
async def a_call_waits_for_approval(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        first = (await socket.ask("go", tools=[ASKING])).completed()
        assert kinds(first.output) == ["mcp_list_tools", "mcp_approval_request"]
        request = first.output[-1]
        answer = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}
        done = (await socket.ask([answer], tools=[ASKING], previous_response_id=first.id, stream_id="a")).completed()
        assert kinds(done.output) == ["mcp_call", "message"]
        assert done.text == "echo 3"
        denied = {**answer, "approve": False}
        done = (await socket.ask([denied], tools=[ASKING], previous_response_id=first.id, stream_id="b")).completed()
        assert "mcp_call" not in [item["type"] for item in done.output if item.get("output")]
        assert done.text in ("none", "None")


@extended(engine=caller, mcp=SERVERS, mcp_dial=dial(starting=20))
async def what_waits_for_a_server_can_be_stopped(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        await hello(socket, ["response.cancel"])
        await socket.create("go", tools=[DOCS])
        (created,) = await socket.until("response.created")
        await trio.sleep(1)
        await socket.ws.send({"type": "agentwire:response.cancel", "response_id": created["response"]["id"]})
        with trio.fail_after(1):
            told = await socket.until("response.failed")
        assert told[-1]["response"]["error"]["code"] == "agentwire:cancelled"
        assert (await socket.ask("go")).completed().text == "none"


@extended(engine=caller, mcp=SERVERS, mcp_dial=dial(refuses="it is down"))
async def a_server_that_is_not_there_is_told(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        turn = await socket.ask("go", tools=[DOCS])
        listing = next(item for item in turn.response["output"] if item["type"] == "mcp_list_tools")
        assert listing["error"]
        (await socket.ask("go")).completed()


@extended(engine=Noting)
async def a_steer_to_what_has_ended_is_handed_back(rig: Rig, peer: Peer) -> None:
    """It is told on the lane of the response that it names, and changes nothing."""
    async with peer.socket() as socket:
        warm = (await socket.ask("hi", generate=False)).completed()
        message = {"type": "response.steer", "previous_response_id": warm.id, "input": "More."}
        await socket.ws.send(message)
        event = await socket.receive()
        assert (event["type"], event["error"]["code"]) == ("response.steer.failed", "response_already_completed")
        assert event["steer"] == {"previous_response_id": warm.id, "input": "More."}
        assert event["sequence_number"] == 0
        named = (await socket.ask("hi", stream_id="a")).completed()
        await socket.ws.send({**message, "previous_response_id": named.id})
        event = await socket.receive()
        assert (event["stream_id"], event["error"]["code"]) == ("a", "response_already_completed")
        (await socket.ask("hi", previous_response_id=warm.id)).completed()
