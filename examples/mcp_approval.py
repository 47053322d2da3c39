"""Tools of an MCP server, with the user's approval: python examples/mcp_approval.py

The server starts examples/mcp_server.py as a process of its own, which ends with it. Looking up runs inside the
response; ordering waits until the client agrees. Needs `pip install 'agentwire-trio[mcp]'`.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import trio

import agentwire
from agentwire.engines import builtin
from agentwire.protocol.items import McpCall, OpaqueItem

SHOP = agentwire.McpServer(label="shop", command=(sys.executable, str(Path(__file__).with_name("mcp_server.py"))))
TOOLS = [
    {"type": "mcp", "server_label": "shop", "require_approval": {"never": {"tool_names": ["look_up"]}}},
]


def show(response: agentwire.Response) -> None:
    for item in response.output:
        if isinstance(item, McpCall):
            print(f"{item.server_label} ran {item.name}({item.arguments}): {item.output}")


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(agentwire.serve, builtin(), mcp=[SHOP]))
        async with agentwire.connect(server.url) as wire:
            response = await wire.respond("First look_up `pears`, then order 40 `pears`.", tools=TOOLS)
            show(response)
            answers = []
            for item in response.output:
                if isinstance(item, OpaqueItem) and item.type == "mcp_approval_request":
                    print(f"may {item.raw['server_label']} run {item.raw['name']}({item.raw['arguments']})? yes")
                    answers.append({"type": "mcp_approval_response", "approval_request_id": item.id, "approve": True})
            show(await wire.respond(answers, tools=TOOLS, previous_response_id=response.id))
        await server.drain()


trio.run(main)
