"""A reader of one background response's events: what is in the store, then what comes, to the terminal event.

Readers know nothing of each other, and nobody waits for them. Where the events stop short, because the process that
made them is gone, the terminal event is made from the record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import trio

from agentwire.protocol.errors import RequestError
from agentwire.runtime.background import Background, Job
from agentwire.runtime.contracts import RUNNING, Stored
from agentwire.runtime.service import Service

__all__ = ["Follower"]

_TERMINALS: Final = tuple(b'{"type":"response.%b"' % kind for kind in (b"completed", b"incomplete", b"failed"))


class Follower:
    """Reads on from one event.

    Args:
        service: where the events are.
        background: who knows of more.
        principal: whose response it is.
        response_id: the response.
        after: the ``sequence_number`` after which to begin; -1 for the first.

    Attributes:
        ended: what was read last holds the terminal event, or nothing more will come.
    """

    def __init__(self, service: Service, background: Background, principal: str, response_id: str, after: int) -> None:
        self._service = service
        self._background = background
        self._key = (principal, response_id)
        self._after = self._start = after
        self._short = False
        self.ended = False

    async def check(self) -> None:
        """See whether what it wants is there, or will be.

        Raises:
            RequestError: 404, it is not kept any more.
        """
        await self._look(1)

    async def read(self, max_bytes: int) -> Sequence[bytes]:
        """Wait for the next events: one at least, and about so many bytes; none at the end.

        Raises:
            RequestError: 404, they are not kept any more, or the response was deleted.
        """
        while not self.ended:
            job = self._background.find(*self._key)
            events = await self._look(max_bytes)
            if not events and job is None:
                events = await self._rest()
            if events:
                self._after += len(events)
                self.ended = events[-1].startswith(_TERMINALS)
                return events
            if job is not None:
                await job.until(self._is_due(job))
        return ()

    async def _look(self, max_bytes: int) -> Sequence[bytes]:
        try:
            return await self._service.store.read_events(*self._key, self._after, max_bytes)
        except LookupError as error:
            message = f"The events of response {self._key[1]!r} after {self._after} are not here: {error}."
            raise RequestError(404, "events_not_found", message, param="starting_after") from None

    def _is_due(self, job: Job) -> Callable[[], bool]:
        return lambda: job.done or job.kept > self._after + 1

    async def _rest(self) -> Sequence[bytes]:
        """Nobody here makes more of it: another process may; if none does, the record says how it ended."""
        stored = await self._service.store.get(*self._key)
        if stored is None or await self._had_all():
            self.ended = True
        elif stored.status in RUNNING or not self._short:
            self._short = stored.status not in RUNNING
            await trio.sleep(self._service.limits.store_poll)
        else:
            return (self._terminal(stored),)
        return ()

    async def _had_all(self) -> bool:
        """True if the client had the terminal event before it came, or claims to have more than there is."""
        if self._after < 0 or self._after > self._start:
            return False
        try:
            last = await self._service.store.read_events(*self._key, self._after - 1, 1)
        except LookupError:
            return True
        return not last or last[0].startswith(_TERMINALS)

    def _terminal(self, stored: Stored) -> bytes:
        kind = stored.status if stored.continuable else "failed"
        head = b'{"type":"response.%b","sequence_number":%d' % (kind.encode(), self._after + 1)
        return head + b',"response":' + stored.response + b"}"
