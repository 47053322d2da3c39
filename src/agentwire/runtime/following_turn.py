"""A turn that only tells: the response is made in the background, and the lane has its events as a reader has them.

So a lost connection ends the telling and not the response, and whoever asks for its events over HTTP gets the same
ones, with the same numbers. Nothing else may take a number among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from agentwire.protocol.desk import Outcome
from agentwire.protocol.errors import RequestError
from agentwire.protocol.transcript import Node
from agentwire.runtime.background import Background, Job
from agentwire.runtime.follower import Follower
from agentwire.runtime.turn import Ending, Turn

__all__ = ["FollowingTurn"]

_OUTCOMES: Final = {
    "completed": Outcome.COMPLETED,
    "incomplete": Outcome.INCOMPLETE,
    "cancelled": Outcome.CANCELLED,
}


class FollowingTurn(Turn):
    """One request for a background response, from a client that has a lane for its events.

    Args:
        settings: those of `Turn`.
        background: makes the response.
    """

    makes = False

    def __init__(self, *settings: Any, background: Background, **more: Any) -> None:
        super().__init__(*settings, **more)
        self._background = background
        self._job: Job | None = None

    async def run(self) -> Ending:
        """Start the response, and tell of it to its terminal event. Cancelled, the response goes on."""
        parent = self._desk.find_parent(self.ticket)
        try:
            self._job = job = await self._background.start(
                self._principal, self.ticket.frame, transport="background", parent=parent
            )
        except RequestError as error:
            return self._refuse(error)
        assert job.response is not None
        self.ticket.frame = b""
        self.ticket.response_id = job.response.id
        try:
            return await self._tell(job.response.id)
        except RequestError as error:
            self.fail(error)
            return Ending(outcome=Outcome.FAILED, error=error)

    async def _tell(self, response_id: str) -> Ending:
        follower = Follower(self._service, self._background, self._principal, response_id, after=-1)
        events: Sequence[bytes] = ()
        while not follower.ended:
            await self._put(events)
            events = await follower.read(self._service.limits.window_bytes)
        self.ending = ending = await self._settle(response_id)
        await self._put(events)
        return ending

    async def _put(self, events: Sequence[bytes]) -> None:
        for event in events:
            await self.window.put_made(event)

    async def _settle(self, response_id: str) -> Ending:
        """The desk knows before the client does how it ended, and what may be continued."""
        stored = await self._service.store.get(self._principal, response_id)
        outcome = _OUTCOMES.get(stored.status, Outcome.FAILED) if stored is not None else Outcome.FAILED
        node: Node | None = stored.node if stored is not None and stored.continuable else None
        self._desk.settle(self.ticket, outcome, node)
        return Ending(outcome=outcome)

    def fail(self, error: RequestError) -> None:
        """The telling ends here; see `Turn.fail`."""
        self._response = self._job.response if self._job is not None else None
        super().fail(error)

    def cancel(self, error: RequestError) -> bool:
        """Cancel the response itself; see `Turn.cancel`."""
        job = self._job
        return job is not None and job.turn is not None and job.turn.cancel(error)
