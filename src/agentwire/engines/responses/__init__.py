"""The engine in front of any server that has ``POST /v1/responses`` with server-sent events.

`agentwire.engines.responses.engine` holds it together; what goes up and what comes down is the business of
`agentwire.engines.relay`.
"""

from __future__ import annotations

from agentwire.engines.responses.engine import open_responses_engine as open_responses_engine

__all__ = ["open_responses_engine"]
