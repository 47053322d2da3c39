"""Takes down the work that a program does for a connection: every tool call of this process, every step of an engine.

It looks on from outside, below whoever may run something twice, so that it needs no help from what it judges.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Final

import trio
import trio.testing

from agentwire.runtime.contracts import Ask, Engine, Finish, Out
from agentwire.runtime.tools import Toolbox, ToolResult
from agentwire.runtime.tools.running import Running
from agentwire.testing.journal import Entry, Journal, Who
from agentwire.testing.trace import Record, Trace

__all__ = ["NotedEngine", "WorkJournal", "noting_tools"]

_journals: Final[list[Journal]] = []
_run = Toolbox.run
_call = Running._call


class WorkJournal(Journal):
    """A journal that knows where in a network's trace each of its entries belongs, as many have the same time.

    Args:
        trace: of the network.
    """

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace
        self._places: list[int] = []

    def note(self, who: Who, event: Mapping[str, Any]) -> None:
        """See `Journal.note`."""
        self._places.append(len(self._trace.records))
        super().note(who, event)

    def merged(self) -> Iterator[Record | Entry]:
        """What went by and what was noted, as it happened."""
        done = 0
        for place, entry in zip(self._places, self.entries, strict=True):
            yield from self._trace.records[done:place]
            yield entry
            done = place
        yield from self._trace.records[done:]


@contextmanager
def noting_tools(journal: Journal) -> Generator[None]:
    """Within the block, every tool call of this process is a piece of ``tool`` work in the journal, by its call id.

    One that may run twice (``rerun="safe"``) is ``safe tool`` work. On a virtual clock, which does not wait for
    threads, plain functions run in the loop itself meanwhile, and take no time.
    """
    toolbox: Any = Toolbox
    running: Any = Running
    _journals.append(journal)
    toolbox.run, running._call = _noted_run, _call_at_once
    try:
        yield
    finally:
        _journals.remove(journal)
        if not _journals:
            toolbox.run, running._call = _run, _call


async def _noted_run(self: Toolbox, name: str, arguments: str, *, call_id: str, **how: Any) -> ToolResult:
    tool = self.tools.get(name)
    kind = "safe tool" if tool is not None and tool.rerun == "safe" else "tool"
    run = partial(_run, self, name, arguments, call_id=call_id, **how)
    for journal in _journals:
        run = partial(_noted, run, journal.work(kind, call_id, what=f"{name}({arguments})"))
    return await run()


async def _noted(run: Callable[[], Any], work: AbstractContextManager[None]) -> Any:
    with work:
        return await run()


async def _call_at_once(self: Running) -> Any:
    if self.tool.is_async or not isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock):
        return await _call(self)
    await trio.lowlevel.checkpoint()
    (value,) = self._call_plain()
    return await value if hasattr(value, "__await__") else value


class NotedEngine:
    """An engine whose steps are ``engine`` work in a journal, named for their response; all else is the engine's own.

    What it is shown is noted, too (`Journal.saw`).

    Args:
        engine: what answers.
        journal: where it is noted.
    """

    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal

    async def __call__(self, ask: Ask, out: Out) -> Finish | None:
        """One step."""
        self._journal.saw(ask.response_id, ask.items, step=ask.step)
        with self._journal.work("engine", f"{ask.response_id} step {ask.step}"):
            return await self._engine(ask, out)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._engine, name)
        return self._chosen(value) if name == "engine_for" else value

    def _chosen(self, choose: Callable[[Any], Engine]) -> Callable[[Any], Engine]:
        return lambda request: NotedEngine(choose(request), self._journal)
