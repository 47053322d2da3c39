"""Background responses: turns in sessions without a connection, whose windows are emptied into the store.

So they never wait for a client. Whoever wants to see one reads its events from the store and is told when there are
more: any number of readers, each at its own pace.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

import attrs
import trio

from agentwire.protocol.desk import Ticket
from agentwire.protocol.errors import RequestError
from agentwire.protocol.extensions import cancelled
from agentwire.protocol.request import Envelope
from agentwire.protocol.response import Response
from agentwire.protocol.transcript import Node
from agentwire.runtime.background_turn import BackgroundTurn
from agentwire.runtime.opening import Transport
from agentwire.runtime.pulse import Pulse
from agentwire.runtime.service import Service
from agentwire.runtime.session import Session
from agentwire.runtime.turn import Turn

__all__ = ["Background", "BackgroundStatistics", "Job"]

log = logging.getLogger("agentwire.background")


@attrs.frozen
class BackgroundStatistics:
    """A snapshot: background responses that run and that wait, and bytes of the requests of those that wait."""

    running: int
    waiting: int
    waiting_bytes: int


class Job:
    """One background response while it is queued or runs.

    Attributes:
        principal: whose it is.
        session: its own.
        size: bytes of its request, while it waits.
        response: as it was when it was accepted; None before that.
        turn: the turn that makes it.
        kept: how many of its events are in the store.
        done: nothing more will come.
    """

    def __init__(self, principal: str, session: Session, size: int) -> None:
        self.principal = principal
        self.session = session
        self.size = size
        self.response: Response | None = None
        self.turn: Turn | None = None
        self.kept = 0
        self.done = False
        self._news = trio.lowlevel.ParkingLot()

    @property
    def waits(self) -> bool:
        """True until it has a permit to run."""
        return self.turn is None or self.turn.response is None or self.turn.response.status == "queued"

    def tell(self) -> None:
        """Something has changed."""
        self._news.unpark_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for this; it is looked at whenever something has changed."""
        while not condition():
            await self._news.park()


class Background:
    """All background responses of a server.

    Args:
        service: engine, store and bounds.
        pulse: keeps their streams alive.
        nursery: owns them.
    """

    def __init__(self, service: Service, pulse: Pulse, nursery: trio.Nursery) -> None:
        self._service = service
        self._pulse = pulse
        self._nursery = nursery
        self._jobs: dict[Job, None] = {}
        self._by_id: dict[tuple[str, str], Job] = {}
        self._permits: dict[str, trio.Semaphore] = {}
        self._idle = trio.Event()
        self._idle.set()

    @property
    def sessions(self) -> Sequence[Session]:
        """Those of all jobs."""
        return [job.session for job in self._jobs]

    def statistics(self) -> BackgroundStatistics:
        """Counts at this moment, of all principals."""
        waiting = [job.size for job in self._jobs if job.waits]
        return BackgroundStatistics(len(self._jobs) - len(waiting), len(waiting), sum(waiting))

    def find(self, principal: str, response_id: str) -> Job | None:
        """The job of a response, if it is queued or runs here."""
        return self._by_id.get((principal, response_id))

    async def start(
        self, principal: str, body: bytes, *, transport: Transport = "http", parent: Node | None = None
    ) -> Job:
        """Take a request; returns when its response is stored. Cancelled, the request goes on.

        Args:
            principal: who asks.
            body: the request.
            transport: how it came.
            parent: what it continues, if whoever asks knows it; otherwise it is looked for in the store.

        Raises:
            RequestError: it is refused: 429 if too many wait, or whatever is wrong with it.
        """
        if not self._service.store.retains:
            message = "'background' is not supported here: this server keeps nothing; leave it out."
            raise RequestError(400, "unsupported_parameter", message, param="background")
        self._check_room(principal, len(body))
        job = Job(principal, Session(self._service, principal=principal, transport=transport), len(body))
        if not self._jobs:
            self._idle = trio.Event()
        self._jobs[job] = None
        self._nursery.start_soon(self._run, job, body, parent, name="background response")
        await job.until(lambda: job.response is not None or job.done)
        if job.response is None:
            ending = job.turn.ending if job.turn is not None else None
            raise ending.error if ending is not None and ending.error is not None else _stopped()
        return job

    def _check_room(self, principal: str, size: int) -> None:
        limits = self._service.limits
        mine = [job for job in self._jobs if job.principal == principal]
        waiting = sum(job.size for job in mine if job.waits)
        full = len(mine) >= limits.background_running + limits.background_queued
        if full or (waiting and waiting + size > limits.background_queued_bytes):
            message = f"{len(mine)} background responses run or wait already ({waiting} bytes); let some finish."
            raise RequestError(429, "background_queue_full", message, headers={"retry-after": "5"})

    # Running

    async def _run(self, job: Job, body: bytes, parent: Node | None) -> None:
        """One job, in a nursery of its own; its fault is not the server's."""
        session = job.session
        self._pulse.add(session)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(session.run)
                ticket = session.desk.submit(Envelope("response.create"), body)
                assert isinstance(ticket, Ticket)
                ticket.parent = parent
                job.turn = session.start_only(ticket, self._maker(job))
                await self._keep(job, job.turn)
                session.cancel("the response has ended")
                nursery.cancel_scope.cancel(reason="the response has ended")
        except Exception:
            log.exception("a background response failed: its events cannot be stored")
        finally:
            self._pulse.remove(session)
            self._forget(job)

    def _maker(self, job: Job) -> Callable[..., Turn]:
        permits = self._permits.setdefault(job.principal, trio.Semaphore(self._service.limits.background_running))
        return partial(BackgroundTurn, permits=permits, accepted=partial(self._accept, job))

    def _accept(self, job: Job, response: Response) -> None:
        job.response = response
        self._by_id[job.principal, response.id] = job
        job.tell()

    async def _keep(self, job: Job, turn: Turn) -> None:
        """Empty the turn's window into the store until it has ended."""
        window, share = turn.window, self._service.limits.write_bytes
        while await window.readable():
            batch: list[bytes] = []
            window.collect(partial(_take, batch), share)
            if job.response is not None:
                await self._service.store.append_events(job.principal, job.response.id, job.kept, batch)
                job.kept += len(batch)
                job.tell()

    def _forget(self, job: Job) -> None:
        job.done = True
        del self._jobs[job]
        if job.response is not None:
            del self._by_id[job.principal, job.response.id]
        if not any(other.principal == job.principal for other in self._jobs):
            self._permits.pop(job.principal, None)
        if not self._jobs:
            self._idle.set()
        job.tell()

    # Ending

    async def cancel(self, principal: str, response_id: str) -> bool:
        """Cancel a response, with its engine and tools, and wait until it has ended; nothing if it is not here.

        False if it did not end within ``limits.cleanup`` seconds.
        """
        job = self.find(principal, response_id)
        if job is None or job.turn is None:
            return True
        job.turn.cancel(cancelled())
        with trio.move_on_after(self._service.limits.cleanup):
            await job.until(lambda: job.done)
        return job.done

    def stop(self, error: RequestError, principal: str | None = None) -> None:
        """Cancel everything, or everything of one principal; the responses have failed, with this error."""
        for job in tuple(self._jobs):
            if principal not in (None, job.principal):
                continue
            if job.response is None or job.turn is None:
                job.session.cancel(error.message)
            else:
                job.turn.cancel(error)

    async def drain(self) -> None:
        """Wait for what runs, for at most ``limits.drain`` seconds; then it is cancelled, and has failed."""
        limits = self._service.limits
        with trio.move_on_after(limits.drain):  # noqa: ASYNC912 - nothing to wait for is fine
            while self._jobs:
                await self._idle.wait()
        self.stop(_stopped())
        with trio.move_on_after(limits.cleanup):  # noqa: ASYNC912 - nothing to wait for is fine
            while self._jobs:
                await self._idle.wait()


def _take(batch: list[bytes], events: Sequence[bytes]) -> bytes:
    """A framing that takes the events as they are."""
    batch += events
    return b""


def _stopped() -> RequestError:
    message = "The server stopped before this response was done; ask again."
    return RequestError(503, "server_is_draining", message, headers={"retry-after": "5"})
