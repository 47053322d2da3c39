"""The other end of the tool: what it fetches, and a record of each time that it did.

A tool's run is a request over HTTP, so that anybody can see from outside how often it ran, when, and whether it was
still running when its client said that it had stopped.
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from agentwire.testing.hostile.clerk import page_text
from agentwire.testing.hostile.seen import Seen
from agentwire.transport.http11 import HttpConnection
from agentwire.transport.requests import Request

__all__ = ["PATH", "ToolDesk", "ToolRun"]

PATH: Final = "/tool"
_TEXT: Final = {"content-type": "text/plain; charset=utf-8"}


@attrs.define(eq=False)
class ToolRun:
    """One run of the tool.

    Attributes:
        page: what it asked for.
        began: Trio's time.
        ended: Trio's time; None while it runs.
        left: whether it went away before it had its answer.
    """

    page: int
    began: float
    ended: float | None = None
    left: bool = False


@attrs.define(eq=False)
class ToolDesk:
    """Answers the tool.

    Attributes:
        seconds: that each run takes.
        size: least characters of an answer.
        runs: all that there were.
        seen: takes them down, too.
    """

    seconds: float = 0.0
    size: int = 0
    runs: list[ToolRun] = attrs.field(factory=list)
    seen: Seen | None = None

    async def answer(self, http: HttpConnection, request: Request) -> bool:
        """Answer a request, if it is the tool's."""
        if request.path != PATH:
            await trio.lowlevel.checkpoint()
            return False
        await http.read_body()
        page = request.query.get("page", "")
        if not page.isdecimal():
            await http.respond(400, _TEXT, b"which page?")
            return True
        run = ToolRun(int(page), trio.current_time())
        self.runs.append(run)
        self._note(f"the tool runs for page {run.page}")
        try:
            await self._work(http, run)
        finally:
            run.ended = trio.current_time()
        return True

    async def _work(self, http: HttpConnection, run: ToolRun) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, http, run, nursery.cancel_scope)
            await trio.sleep(self.seconds)
            nursery.cancel_scope.cancel(reason="the tool is done")
        if run.left:
            self._note(f"the tool was left for page {run.page}")
            return
        text = page_text(run.page)
        await http.respond(200, _TEXT, f"{text} {'x' * max(0, self.size - len(text))}".strip().encode())

    async def _watch(self, http: HttpConnection, run: ToolRun, scope: trio.CancelScope) -> None:
        how = await http.wait_disconnect()
        run.left = True
        await http.abort(how)
        scope.cancel(reason=how)

    def _note(self, what: str) -> None:
        if self.seen is not None:
            self.seen.say("*", what)
