"""Plain functions as tools, for a server that runs them between engine steps and for a client that runs them itself.

A tool's schema is its signature; what it needs beyond that (a deadline, whether it may run twice) is said with `tool`.
A `Toolbox` runs one by name and turns whatever happens into something the model can read; only cancellation passes.
"""

from __future__ import annotations

from agentwire.runtime.tools.call import ToolCall, ToolCancelled
from agentwire.runtime.tools.command import CommandResult, run_command
from agentwire.runtime.tools.local import LocalTool, ToolError, tool
from agentwire.runtime.tools.output import ToolResult
from agentwire.runtime.tools.running import Reveal
from agentwire.runtime.tools.signature import Signature
from agentwire.runtime.tools.threads import ToolStatistics, tool_statistics
from agentwire.runtime.tools.toolbox import Toolbox

__all__ = [
    "CommandResult",
    "LocalTool",
    "Reveal",
    "Signature",
    "ToolCall",
    "ToolCancelled",
    "ToolError",
    "ToolResult",
    "ToolStatistics",
    "Toolbox",
    "run_command",
    "tool",
    "tool_statistics",
]
