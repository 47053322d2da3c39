"""An engine made of engines: the model's name says which one answers.

Retries, a bound on what runs at once, and fallbacks stand around each engine, and none of them acts once the client has
seen anything of an answer.
"""

from __future__ import annotations

from agentwire.engines.routing.capping import Cap as Cap
from agentwire.engines.routing.capping import CapStatistics as CapStatistics
from agentwire.engines.routing.names import Names as Names
from agentwire.engines.routing.routes import Route as Route
from agentwire.engines.routing.routes import Routes as Routes
from agentwire.engines.routing.upstream import Upstream as Upstream
from agentwire.engines.routing.upstream import UpstreamStatistics as UpstreamStatistics

__all__ = ["Cap", "CapStatistics", "Names", "Route", "Routes", "Upstream", "UpstreamStatistics"]
