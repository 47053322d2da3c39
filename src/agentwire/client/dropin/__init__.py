"""The drop-in: HTTP clients that carry an SDK's requests for responses over one recovered WebSocket."""

from __future__ import annotations

from agentwire.client.dropin.clients import async_http_client as async_http_client
from agentwire.client.dropin.clients import http_client as http_client
from agentwire.client.dropin.clients import wire_statistics as wire_statistics
from agentwire.client.dropin.wires import WiresStatistics as WiresStatistics

__all__ = ["WiresStatistics", "async_http_client", "http_client", "wire_statistics"]
