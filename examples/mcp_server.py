"""An MCP server on stdin and stdout, as anybody writes one; examples/mcp_approval.py has it run."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer

server = MCPServer("shop", log_level="ERROR")


@server.tool()
def look_up(fruit: str) -> int:
    """Look up how many pieces of a fruit are in stock."""
    return {"apples": 12}.get(fruit, 0)


@server.tool()
def order(fruit: str, pieces: int) -> str:
    """Order pieces of a fruit."""
    return f"{pieces} {fruit} are on the way"


if __name__ == "__main__":
    server.run()
