"""What all sessions of a server share: the engine, the server's own tools, the store, bounds, sources and counts."""

from __future__ import annotations

import attrs

from agentwire.protocol.errors import EngineError, RequestError
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest
from agentwire.runtime.accounting import Tally
from agentwire.runtime.contracts import Engine, Store
from agentwire.runtime.tools import Toolbox
from agentwire.runtime.tools.registry import Registry
from agentwire.runtime.tools.roster import Offered, OwnTools

__all__ = ["Service"]


@attrs.frozen(kw_only=True)
class Service:
    """What turns need that does not belong to one client.

    Attributes:
        engine: makes the output.
        toolbox: the tools that the server itself runs, in the turn's own nursery.
        store: where stored responses rest.
        limits: every bound.
        sources: ids, clock and randomness.
        generous: whether lanes remember more than the hosted service's do; see `Desk`.
        registry: the MCP servers; None where there are none and clients may bring none.
        server_label: under which the server's own tools appear in ``mcp_call`` items.
        tally: totals, for statistics and metrics.
        own: the tools of the toolbox, as every turn offers them.
    """

    engine: Engine
    toolbox: Toolbox
    store: Store
    limits: Limits = attrs.field(factory=Limits)
    sources: Sources = attrs.field(factory=Sources.system)
    generous: bool = False
    registry: Registry | None = None
    server_label: str = "agentwire"
    tally: Tally = attrs.field(factory=Tally)
    own: tuple[Offered, ...] = attrs.field(init=False, repr=False)

    @own.default
    def _offer(self) -> tuple[Offered, ...]:
        return OwnTools(self.server_label, self.toolbox).offered()

    def engine_for(self, request: CreateRequest) -> Engine:
        """The engine that answers such a request.

        Raises:
            RequestError: none does.
        """
        choose = getattr(self.engine, "engine_for", None)
        if choose is None:
            return self.engine
        try:
            chosen: Engine = choose(request)
        except EngineError as error:
            raise RequestError(error.status, error.code, error.message, param=error.param) from error
        return chosen
