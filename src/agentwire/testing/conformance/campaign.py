"""One run of cases against a server, case by case, which ends in bounded time whatever the server does.

A server that has stopped answering is not asked a hundred more questions: after a few cases in a row that ended at
their time, or could not connect, it has to hold a plain turn, or the run is over. A server that the run has started
itself is started again then, and the report says after which case.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import attrs
import trio

from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.process import NotStarted
from agentwire.testing.conformance.registry import Case
from agentwire.testing.conformance.reporting import row_of
from agentwire.testing.conformance.runner import TIMEOUT, Result, run_case
from agentwire.testing.report import Report, without_secrets

__all__ = ["HURRY", "Campaign"]

PATIENCE: Final = 3
"""Cases in a row without an answer, before the server has to show that it lives."""
HURRY: Final = 2.0
"""Seconds that are enough for a case, once it is known that the server lets it wait."""


@attrs.define(eq=False)
class Campaign:
    """A run.

    Attributes:
        peer: the server.
        cases: which, in order.
        tell: told each result as it comes.
        begin: told each case that begins.
        timeout: seconds for each case.
        deadline: seconds for all of them.
        turns: whether the server holds turns at all; if not, it lives as long as it answers.
        results: those that there are.
        stopped: why the run ended early; empty if it did not.
        revived: numbers of the cases after which the server had to be killed and started again.
    """

    peer: Peer
    cases: Sequence[Case]
    tell: Callable[[Result], None] | None = None
    begin: Callable[[Case], None] | None = None
    timeout: float = TIMEOUT
    deadline: float = float("inf")
    turns: bool = True
    results: list[Result] = attrs.field(factory=list)
    stopped: str = ""
    revived: list[str] = attrs.field(factory=list)
    _silent: int = 0
    _started: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    _begun: float = attrs.field(factory=trio.current_time)
    _ended: float | None = None

    async def run(self) -> None:
        """Run the cases. Cancelling it keeps the results of those that ended."""
        try:
            with trio.move_on_after(self.deadline) as scope:
                await self._run()
            if scope.cancelled_caught:
                self.stopped = f"the time for the whole run, {self.deadline:g} s, was over"
        finally:
            self._ended = trio.current_time()

    async def _run(self) -> None:
        for case in self.cases:
            if self.begin is not None:
                self.begin(case)
            result = await run_case(self.peer, case, timeout=self.timeout)
            self.results.append(result)
            if self.tell is not None:
                self.tell(result)
            if result.verdict != "not applicable":
                self._silent = self._silent + 1 if result.late else 0
            if (result.gone or self._silent >= PATIENCE) and not await self._goes_on(result):
                self.stopped = f"the server did not answer any more after {case.number}"
                return
        await trio.lowlevel.checkpoint()

    async def _goes_on(self, result: Result) -> bool:
        """Whether more may be asked: the server lives, or does so once it is started again."""
        if await self._lives(gone=result.gone):
            return True
        process = self.peer.process
        if process is None:
            return False
        await process.kill()
        try:
            await process.start()
        except NotStarted:
            return False
        self.revived.append(result.case.number)
        return await self._lives(gone=False)

    async def _lives(self, *, gone: bool) -> bool:
        """Whether a plain turn comes to an end, on a socket or over HTTP; if it was gone, whether it is back."""
        self._silent = 0
        on_socket, over_http = (self._open, self._get) if gone or not self.turns else (self._turn, self._post)
        if await self._comes(on_socket):
            return True
        if not await self._comes(over_http):
            return False
        if not gone:  # only HTTP works, so that everything on a socket will be waited for in vain
            self.timeout = min(self.timeout, HURRY)
        return True

    async def _comes(self, ask: Callable[[], Awaitable[None]]) -> bool:
        try:
            with trio.fail_after(self.timeout):
                await ask()
        except Exception:  # noqa: BLE001 - any of it means no
            return False
        return True

    async def _open(self) -> None:
        async with self.peer.socket():
            pass

    async def _get(self) -> None:
        await self.peer.http("GET")

    async def _turn(self) -> None:
        async with self.peer.socket() as socket:
            await socket.usable()

    async def _post(self) -> None:
        (await self.peer.post()).json()

    def report(self, *, options: Mapping[str, str] | None = None, found: Iterable[str] = ()) -> Report:
        """What is known so far; never with the API keys in it.

        Args:
            options: what was asked for.
            found: what the survey has found.
        """
        ended = trio.current_time() if self._ended is None else self._ended
        report = Report(
            kind="server",
            subject=self.peer.url,
            profile=self.peer.profile,
            started_at=self._started.isoformat(timespec="seconds").replace("+00:00", "Z"),
            seconds=round(ended - self._begun, 3),
            options=options or {},
            found=(*found, *self._course()),
            complete=len(self.results) == len(self.cases),
            rows=[row_of(result, self.peer.profile) for result in self.results],
        )
        secrets = [key for key in (self.peer.key, self.peer.second_key) if key]
        return without_secrets(report, secrets)

    def _course(self) -> Iterator[str]:
        """What happened to the run itself."""
        if self.revived:
            yield f"it did not answer any more after {', '.join(self.revived)}, and was killed and started again"
        if self.stopped:
            yield f"the run ended early: {self.stopped}"
