"""Engines and tools that a journal hears of: what the model was shown, what ran, and how it ended.

They behave as they did before; the invariants can judge them afterwards.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from agentwire.protocol.codec import encode_item
from agentwire.runtime.contracts import Ask, Engine, Finish, Out
from agentwire.runtime.tools.call import ToolCall
from agentwire.testing.journal import Journal

__all__ = ["observed", "observed_tool"]


class _Observed:
    """An engine that says of itself what the other one says."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal

    async def __call__(self, ask: Ask, out: Out) -> Finish | None:
        self._journal.saw(ask.response_id, [encode_item(item) for item in ask.items], step=ask.step)
        with self._journal.work("engine", ask.response_id):
            return await self._engine(ask, out)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def observed(engine: Engine, journal: Journal) -> Engine:
    """An engine that tells the journal what it is shown (`Journal.saw`) and while it works (``("engine", id)``)."""
    return _Observed(engine, journal)


def observed_tool(tool: Callable[..., Any], journal: Journal) -> Callable[..., Any]:
    """A tool, given as a function, that tells the journal while it runs: ``("tool", call_id)``.

    Its signature is the same for the model. A function that is not async is called in the loop, and not in a thread.
    """
    signature = inspect.signature(tool, eval_str=True)
    asked = next((name for name, given in signature.parameters.items() if given.annotation is ToolCall), None)
    hidden = inspect.Parameter("agentwire_call", inspect.Parameter.KEYWORD_ONLY, annotation=ToolCall)

    @functools.wraps(tool)
    async def run(*args: Any, **given: Any) -> Any:
        call = given[asked] if asked is not None else given.pop(hidden.name)
        with journal.work("tool", call.id):
            found = tool(*args, **given)
            return await found if inspect.isawaitable(found) else found

    del run.__wrapped__  # its hints are those of this function
    run.__annotations__ = inspect.get_annotations(tool, eval_str=True)
    if asked is None:
        run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), hidden])  # type: ignore[attr-defined]
        run.__annotations__ |= {hidden.name: ToolCall}
    return run
