"""A turn that runs without a client: what it is and how far it got is in the store, from its first event to its last.

It is put there before anything is said of it, waits for a permit, and is put there again whenever its status changes.
Whatever ends it, it leaves no record that says that it still runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio

from agentwire.protocol.codec import encode_json
from agentwire.protocol.errors import RequestError
from agentwire.protocol.hello import CANCELLED
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.response import Response
from agentwire.protocol.transcript import Node
from agentwire.runtime.contracts import Stored
from agentwire.runtime.showing import Shown
from agentwire.runtime.telling import event_parts
from agentwire.runtime.turn import Ending, Turn

__all__ = ["BackgroundTurn"]

log = logging.getLogger("agentwire.background")


class BackgroundTurn(Turn):
    """One background request from its message to its terminal event.

    No event says ``cancelled``: a response that its client has cancelled has that status, and ends its stream with
    ``response.failed``.

    Args:
        permits: what it needs one of while it runs.
        accepted: told when there is a response, and it is stored.
        settings: those of `Turn`.
    """

    def __init__(
        self, *settings: Any, permits: trio.Semaphore, accepted: Callable[[Response], None], **more: Any
    ) -> None:
        super().__init__(*settings, **more)
        self._permits = permits
        self._accepted = accepted
        self._waiting = trio.CancelScope()
        self._runs = False
        self._start: Node | None = None

    async def run(self) -> Ending:
        """Run it to its terminal event; cancelled, or broken, the store says that it has failed."""
        try:
            return await super().run()
        except BaseException as exception:
            if self.response is not None and self.ending is None:
                ours = isinstance(exception, Exception)
                message = "The server failed; its log has the reason." if ours else "The server stopped."
                await self._lose(message)  # noqa: ASYNC102 - it is shielded, and has a deadline
            raise
        finally:
            if self._runs:
                self._permits.release()

    async def _lose(self, message: str) -> None:
        assert self.response is not None
        error = {"code": "server_error", "message": message, "type": "server_error"}
        made = self._output.items()
        failed = attrs.evolve(self.response, status="failed", error=error, output=made, usage=self.used)
        with trio.move_on_after(self._service.limits.cleanup, shield=True):  # noqa: ASYNC912 - the store waits
            try:
                await self._record(failed)
            except Exception:
                log.exception("response %s: that it has failed cannot be stored", failed.id)

    # Its begin

    async def _begin(self, request: CreateRequest, id_: str) -> None:
        """Store it, say that it is there, and wait for a permit."""
        self.ticket.response_id = id_
        grow = self._parent.extend if self._parent is not None else Node.root
        self._start = grow(id_, request.input, ())
        created_at = self._service.sources.timestamp()
        self._shown = Shown(request, self.ticket.lane.memo, id=id_, created_at=created_at)
        running, queued = self._shown.response(), self._shown.response({"status": "queued"})
        self._runs = self._take_permit()
        await self._record(running if self._runs else queued)
        self._response = queued
        self._accepted(queued)
        await self.window.put(*event_parts("response.created", {"response": queued}))
        if not self._runs:
            await self.window.put(*event_parts("response.queued", {"response": queued}))
            await self._wait_for_permit(running)
        if self._runs:
            self._response = running
            await self.window.put(*event_parts("response.in_progress", {"response": running}))

    def _take_permit(self) -> bool:
        try:
            self._permits.acquire_nowait()
        except trio.WouldBlock:
            return False
        return True

    async def _wait_for_permit(self, running: Response) -> None:
        with self._waiting:
            await self._permits.acquire()
            self._runs = True
        if self._runs and self._stopped is None:
            await self._record(running)

    def cancel(self, error: RequestError) -> bool:
        """Stop it, or its waiting; see `Turn.cancel`."""
        stopped = super().cancel(error)
        if stopped:
            self._waiting.cancel(reason=error.message)
        return stopped

    # Its end

    def _final(self, told: Mapping[str, Any], ending: Ending) -> dict[str, Any]:
        final = super()._final(told, ending)
        by_client = ending.error is not None and ending.error.code == CANCELLED
        return {**final, "status": "cancelled"} if by_client else final

    async def _keep(self, node: Node | None, shown: bytes, output: bytes) -> None:
        """Store it, whatever became of it."""
        final = self.response
        assert final is not None
        await self._record(final, node, shown)

    async def _record(self, response: Response, node: Node | None = None, shown: bytes | None = None) -> None:
        node = node or self._start
        assert node is not None
        shown = shown or encode_json(response)
        size = self._size + len(shown)
        stored = Stored(node=node, response=shown, size=size, status=response.status, background=True)
        await self._service.store.put(self._principal, stored)
