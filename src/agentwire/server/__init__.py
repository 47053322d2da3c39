"""The server: sockets, routes, keys and the drain, around the runtime's sessions."""

from __future__ import annotations

from agentwire.server.auth import Keys as Keys
from agentwire.server.server import Server as Server
from agentwire.server.server import ServerStatistics as ServerStatistics
from agentwire.server.server import serve as serve

__all__ = ["Keys", "Server", "ServerStatistics", "serve"]
