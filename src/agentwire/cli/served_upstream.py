"""The server behind ``--upstream`` as one engine, also where it comes later than this one.

A server that is not there yet is asked again what it speaks by each turn, and by whoever wants the names of its models,
until it answers. A request for the model ``default`` is for the first one that the server lists.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

import attrs
import trio

from agentwire.cli.failures import UserError
from agentwire.cli.upstreams import UpstreamKind, find_upstream, open_upstream_engine
from agentwire.engines.probing import Found
from agentwire.protocol.codec import UNNAMED
from agentwire.protocol.copying import changed
from agentwire.protocol.errors import EngineError
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest
from agentwire.runtime.contracts import Ask, Engine, Finish, Out
from agentwire.runtime.groups import open_flat_nursery

__all__ = ["ServedUpstream", "open_served_upstream"]

_log = logging.getLogger("agentwire.cli")


@asynccontextmanager
async def open_served_upstream(
    url: str,
    kind: UpstreamKind | None,
    *,
    key: str | None,
    model: str | None,
    context_tokens: int | None,
    limits: Limits,
) -> AsyncGenerator[ServedUpstream]:
    """The engine in front of a server, until the block is left, which closes its connections.

    Args:
        url: the base URL.
        kind: what the server speaks; it is asked if this is left out.
        key: for ``Authorization: Bearer``.
        model: whom to ask for, whatever the client names.
        context_tokens: how many tokens the model can read.
        limits: deadlines and sizes.

    Raises:
        UserError: the address or the key is not possible, or the server is there and speaks nothing that is known.
        ValueError: the same, as the engine says it.
        LocalProtocolError: likewise.
    """

    def engine(found: Found) -> AbstractAsyncContextManager[Engine]:
        assert found.kind is not None
        return open_upstream_engine(
            found.base_url, found.kind, key=key, model=model, context_tokens=context_tokens, limits=limits
        )

    served = ServedUpstream(partial(find_upstream, url, kind, key=key, limits=limits), engine, model)
    async with open_flat_nursery() as nursery:
        await nursery.start(served.run)
        yield served
        served.close(nursery.cancel_scope)


@attrs.define(eq=False)
class ServedUpstream:
    """The engine itself; made by `open_served_upstream`.

    Args:
        find: finds out what the server speaks; of one that is not there, no kind.
        open_engine: opens the engine for what was found.
        model: whom to ask for, whatever the client names.

    Attributes:
        hosts_tools: the server may run tools of its own; asked of this engine only while nobody knows.
    """

    find: Callable[[], Awaitable[Found]]
    open_engine: Callable[[Found], AbstractAsyncContextManager[Engine]]
    model: str | None
    hosts_tools: bool = attrs.field(default=True, init=False)
    _found: Found | None = None
    _engine: Engine | None = None
    _unnamed: Engine | None = None
    _wanted: trio.Event = attrs.field(factory=trio.Event)
    _looked: trio.Event = attrs.field(factory=trio.Event)
    _closed: trio.Event = attrs.field(factory=trio.Event)

    def __str__(self) -> str:
        """One line for people."""
        return str(self._found) if self._engine is not None else f"{self._found}; each turn looks for it again"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:  # noqa: ASYNC114 - named in `open_served_upstream`
        """Look for the server, and keep its engine open until cancelled; started once it was looked for.

        Raises:
            UserError: it is there and speaks nothing that is known.
        """
        found = await self.find()
        if found.kind is None and found.reachable:
            raise UserError(f"--upstream: {found}; is the base URL right? --upstream-kind says what it speaks")
        async with AsyncExitStack() as stack:
            if found.kind is None:
                self._found = found
                _log.warning("%s", self)
                task_status.started()
                await self._wait(found.base_url, stack)
            else:
                await self._take(found, stack)
                task_status.started()
            await self._closed.wait()

    def close(self, scope: trio.CancelScope) -> None:
        """End `run`: with its engine closed as it wishes, or at once if there is none; ``scope`` is round it."""
        self._closed.set()
        if self._engine is None:
            scope.cancel(reason="the model's server never came")

    async def _take(self, found: Found, stack: AsyncExitStack) -> None:
        """Open the engine for what was found; ``stack`` closes it."""
        engine = await stack.enter_async_context(self.open_engine(found))
        self._found, self._engine, self._unnamed = found, engine, engine
        if self.model is None and found.models and UNNAMED not in found.models:
            self._unnamed = _Renamed(engine, found.models[0])

    async def _wait(self, url: str, stack: AsyncExitStack) -> None:
        """Look whenever somebody wants it, until the server is there and its engine is open; ``stack`` closes that.

        This server has other work, and whoever runs the model's server may mend it: no fault ends the looking.
        """
        while self._engine is None:
            await self._wanted.wait()
            try:
                found = await self.find()
                if found.kind is not None:
                    await self._take(found, stack)
                    _log.info("it is there: %s", found)
                self._found = found
            except Exception as error:  # noqa: BLE001 - it ends this look, nothing else
                self._found = Found(base_url=url, said="looking for it failed")
                _log.warning("%s: %s: %s", self._found, type(error).__name__, error, exc_info=error)
            looked, self._wanted, self._looked = self._looked, trio.Event(), trio.Event()
            looked.set()

    async def _look(self) -> None:
        """Have it looked for.

        Raises:
            EngineError: it is not there.
        """
        self._wanted.set()
        await self._looked.wait()
        if self._engine is None:
            message = f"The model's server failed: {str(self._found).rstrip('.')}."
            raise EngineError(message, code="upstream_unreachable", status=502)

    async def models(self) -> tuple[str, ...]:
        """The names of its models, as far as they are known. Cancelled, it knows no more than before."""
        if self.model is not None:
            return (self.model,)
        if self._engine is None:
            with suppress(EngineError):
                await self._look()
        return (self._found.models if self._found is not None else ()) or (UNNAMED,)

    def engine_for(self, request: CreateRequest) -> Engine:
        """The engine that answers such a request; this one while the server is not there."""
        return (self._unnamed if request.model == UNNAMED else self._engine) or self

    async def __call__(self, ask: Ask, out: Out) -> Finish | None:
        """Answer one step."""
        if self._engine is None:
            await self._look()
        return await self.engine_for(ask.request)(ask, out)


@attrs.frozen(eq=False)
class _Renamed:
    """An engine whose server must be told the name of a model that the client has left out."""

    engine: Engine
    model: str

    async def __call__(self, ask: Ask, out: Out) -> Finish | None:
        """Answer one step."""
        return await self.engine(self._named(ask), out)

    def __getattr__(self, name: str) -> Any:
        """What the engine says of itself; what it is asked about a conversation, it is asked by the model's name."""
        value = getattr(self.engine, name)
        return (lambda ask: value(self._named(ask))) if callable(value) else value

    def _named(self, ask: Ask) -> Ask:
        return changed(ask, {"request": changed(ask.request, {"model": self.model})})
