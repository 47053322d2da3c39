"""An engine in front of a server that itself speaks the WebSocket mode of the Responses API.

With plain HTTP clients in front it is a sidecar: a request that sends its whole history goes up as what is new in it.
"""

from __future__ import annotations

from agentwire.engines.wire.engine import WireEngine as WireEngine
from agentwire.engines.wire.engine import WireStatistics as WireStatistics
from agentwire.engines.wire.engine import open_wire_engine as open_wire_engine

__all__ = ["WireEngine", "WireStatistics", "open_wire_engine"]
