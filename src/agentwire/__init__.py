"""agentwire: a Trio runtime for the WebSocket mode of the Responses API; server, client and test kit.

Public names are loaded when they are first used, so that ``import agentwire.protocol`` brings in neither trio nor
sockets and the command starts fast. ``EXPORTS`` says where each name lives; type checkers read the imports below it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agentwire import aio as aio
    from agentwire import protocol as protocol
    from agentwire import sync as sync
    from agentwire._version import __version__ as __version__
    from agentwire.client.calls import ToolFailed as ToolFailed
    from agentwire.client.client import Client as Client
    from agentwire.client.client import connect as connect
    from agentwire.client.dropin.clients import async_http_client as async_http_client
    from agentwire.client.dropin.clients import http_client as http_client
    from agentwire.client.journal.contract import JournalError as JournalError
    from agentwire.client.journal.file import open_journal as open_journal
    from agentwire.client.lane import Lane as Lane
    from agentwire.client.outcomes import CallUnknown as CallUnknown
    from agentwire.client.outcomes import RunLost as RunLost
    from agentwire.client.outcomes import TurnsExhausted as TurnsExhausted
    from agentwire.client.run import Run as Run
    from agentwire.client.turn import TurnCancelled as TurnCancelled
    from agentwire.link.outcome import Fate as Fate
    from agentwire.link.outcome import RequestLost as RequestLost
    from agentwire.link.outcome import ResponseError as ResponseError
    from agentwire.link.outcome import TurnOverflow as TurnOverflow
    from agentwire.link.steering import Steer as Steer
    from agentwire.link.steering import SteerFate as SteerFate
    from agentwire.link.steering import SteerLost as SteerLost
    from agentwire.link.steering import SteerRefused as SteerRefused
    from agentwire.protocol.errors import AgentwireError as AgentwireError
    from agentwire.protocol.errors import CloseFrame as CloseFrame
    from agentwire.protocol.errors import ConnectionEnded as ConnectionEnded
    from agentwire.protocol.errors import EngineError as EngineError
    from agentwire.protocol.errors import LocalProtocolError as LocalProtocolError
    from agentwire.protocol.errors import RemoteProtocolError as RemoteProtocolError
    from agentwire.protocol.errors import RequestError as RequestError
    from agentwire.protocol.errors import StoreError as StoreError
    from agentwire.protocol.limits import Limits as Limits
    from agentwire.protocol.mcp import ApprovalRule as ApprovalRule
    from agentwire.protocol.mcp import ToolFilter as ToolFilter
    from agentwire.protocol.response import Response as Response
    from agentwire.protocol.response import Usage as Usage
    from agentwire.runtime.contracts import Ask as Ask
    from agentwire.runtime.contracts import Engine as Engine
    from agentwire.runtime.contracts import Finish as Finish
    from agentwire.runtime.contracts import Out as Out
    from agentwire.runtime.contracts import Summarized as Summarized
    from agentwire.runtime.policies import Cancel as Cancel
    from agentwire.runtime.policies import Resume as Resume
    from agentwire.runtime.tools.call import ToolCall as ToolCall
    from agentwire.runtime.tools.call import ToolCancelled as ToolCancelled
    from agentwire.runtime.tools.command import CommandResult as CommandResult
    from agentwire.runtime.tools.command import run_command as run_command
    from agentwire.runtime.tools.local import ToolError as ToolError
    from agentwire.runtime.tools.local import tool as tool
    from agentwire.runtime.tools.source import McpServer as McpServer
    from agentwire.runtime.tools.threads import tool_statistics as tool_statistics
    from agentwire.server.auth import Keys as Keys
    from agentwire.server.server import Server as Server
    from agentwire.server.server import serve as serve
    from agentwire.transport.dial import ConnectFailed as ConnectFailed
    from agentwire.transport.websocket import HandshakeRefused as HandshakeRefused

PACKAGES: Final = ("aio", "protocol", "sync")
"""Subpackages and modules that can be reached as attributes without being imported first."""

EXPORTS: Final = {
    "AgentwireError": "agentwire.protocol.errors",
    "CloseFrame": "agentwire.protocol.errors",
    "ConnectionEnded": "agentwire.protocol.errors",
    "EngineError": "agentwire.protocol.errors",
    "Limits": "agentwire.protocol.limits",
    "LocalProtocolError": "agentwire.protocol.errors",
    "RemoteProtocolError": "agentwire.protocol.errors",
    "RequestError": "agentwire.protocol.errors",
    "StoreError": "agentwire.protocol.errors",
    "serve": "agentwire.server.server",
    "Server": "agentwire.server.server",
    "Keys": "agentwire.server.auth",
    "Ask": "agentwire.runtime.contracts",
    "Out": "agentwire.runtime.contracts",
    "Engine": "agentwire.runtime.contracts",
    "Finish": "agentwire.runtime.contracts",
    "Summarized": "agentwire.runtime.contracts",
    "Cancel": "agentwire.runtime.policies",
    "Resume": "agentwire.runtime.policies",
    "Usage": "agentwire.protocol.response",
    "Response": "agentwire.protocol.response",
    "Client": "agentwire.client.client",
    "connect": "agentwire.client.client",
    "http_client": "agentwire.client.dropin.clients",
    "async_http_client": "agentwire.client.dropin.clients",
    "Run": "agentwire.client.run",
    "CallUnknown": "agentwire.client.outcomes",
    "JournalError": "agentwire.client.journal.contract",
    "Lane": "agentwire.client.lane",
    "TurnCancelled": "agentwire.client.turn",
    "RunLost": "agentwire.client.outcomes",
    "ToolFailed": "agentwire.client.calls",
    "open_journal": "agentwire.client.journal.file",
    "TurnsExhausted": "agentwire.client.outcomes",
    "Fate": "agentwire.link.outcome",
    "RequestLost": "agentwire.link.outcome",
    "ResponseError": "agentwire.link.outcome",
    "TurnOverflow": "agentwire.link.outcome",
    "Steer": "agentwire.link.steering",
    "SteerFate": "agentwire.link.steering",
    "SteerLost": "agentwire.link.steering",
    "SteerRefused": "agentwire.link.steering",
    "McpServer": "agentwire.runtime.tools.source",
    "ApprovalRule": "agentwire.protocol.mcp",
    "ToolFilter": "agentwire.protocol.mcp",
    "ToolCall": "agentwire.runtime.tools.call",
    "ToolCancelled": "agentwire.runtime.tools.call",
    "CommandResult": "agentwire.runtime.tools.command",
    "run_command": "agentwire.runtime.tools.command",
    "ToolError": "agentwire.runtime.tools.local",
    "tool": "agentwire.runtime.tools.local",
    "tool_statistics": "agentwire.runtime.tools.threads",
    "ConnectFailed": "agentwire.transport.dial",
    "HandshakeRefused": "agentwire.transport.websocket",
    "__version__": "agentwire._version",
}
"""Public name -> module that defines it."""

__all__ = sorted([*EXPORTS, *PACKAGES])  # noqa: PLE0605 - the table is the list

if not TYPE_CHECKING:  # a typed ``__getattr__`` would make every misspelt name an object of type Any

    def __getattr__(name: str) -> object:
        """Load a public name (PEP 562); the module keeps it, so this runs once a name."""
        if name in EXPORTS:
            value = getattr(importlib.import_module(EXPORTS[name]), name)
        elif name in PACKAGES:
            value = importlib.import_module(f"{__name__}.{name}")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
