"""An MCP server on the `mcp` package's own classes: ``python mcp_tools.py`` on stdio, ``... http PORT`` over HTTP.

What happens to it is written to stderr, one word a line.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys

import anyio
from mcp import MCPError
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp_types import CallToolResult, EmbeddedResource, TextContent, TextResourceContents, ToolAnnotations

server = MCPServer("tools", log_level="ERROR")


def tell(word: str) -> None:
    print(word, file=sys.stderr, flush=True)


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
async def slow(seconds: float) -> str:
    """Wait."""
    tell("slow-begun")
    try:
        await anyio.sleep(seconds)
    except BaseException:
        tell("slow-cancelled")
        raise
    return "waited"


@server.tool()
async def steps(count: int, ctx: Context) -> str:
    """Wait, and say so."""
    for step in range(count):
        await ctx.report_progress(step, count)
        await anyio.sleep(0.05)
    return "stepped"


@server.tool()
def fail() -> CallToolResult:
    """Say that it failed."""
    return CallToolResult(content=[TextContent(text="no such thing")], is_error=True)


@server.tool()
def refuse() -> None:
    """Answer with an error of the protocol's own, under the code that servers have for whatever they like."""
    raise MCPError(code=-32000, message="Connection closed by the database")


@server.tool()
def long(size: int) -> str:
    """Say a lot."""
    return "x" * size


@server.tool()
def look() -> list[Image | str]:
    """Show a picture."""
    return ["a dot:", Image(data=base64.b64decode("iVBORw0KGgo="), format="png")]


@server.tool()
def page() -> CallToolResult:
    """Give a resource."""
    page = TextResourceContents(uri="file:///a.txt", text="hello", mime_type="text/plain")
    return CallToolResult(content=[EmbeddedResource(resource=page)])


@server.tool()
def environment() -> str:
    """Name what it sees of the environment."""
    return " ".join(sorted(os.environ))


@server.tool()
def spawn() -> int:
    """Start a process that outlives its parent if it can, and ignores what it is asked."""
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).pid


@server.tool()
def die() -> None:
    """End at once."""
    os._exit(3)


@server.tool()
async def grow(ctx: Context) -> str:
    """Have one tool more."""

    def grown() -> str:
        """Grown."""
        return "grown"

    server.add_tool(grown)
    await ctx.notify_tools_changed()
    return "ok"


if __name__ == "__main__":
    if sys.argv[1:2] == ["http"]:
        server.run("streamable-http", port=int(sys.argv[2]))
    else:
        server.run()
