"""A run for programs: one JSON object a line on stdout, each flushed, the last one saying how the run ended.

Every object has ``v`` (`VERSION`), ``type`` (one of `TYPES`) and ``at``, seconds since the command began. Members are
only ever added within a version, and so are types: a reader skips what it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import attrs
import trio

from agentwire.cli.failures import FAILED, OK, USAGE, UserError
from agentwire.cli.lines import LineWriter
from agentwire.cli.reaching import Settings
from agentwire.client import (
    ReasoningDelta,
    Run,
    RunSummary,
    ServerToolFinished,
    Step,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnLost,
    TurnStarted,
)
from agentwire.protocol.codec import encode_json
from agentwire.protocol.errors import AgentwireError
from agentwire.protocol.items import CustomToolCall, FunctionCall
from agentwire.protocol.response import Usage

__all__ = ["TYPES", "VERSION", "JsonReport"]

VERSION: Final = 1
"""Of the objects: raised when a member or a type changes its meaning, or goes."""

TYPES: Final = (
    "run.started",
    "turn.started",
    "text",
    "reasoning",
    "tool.started",
    "tool.finished",
    "server_tool.finished",
    "turn.finished",
    "turn.lost",
    "run.finished",
    "run.cancelled",
    "run.failed",
)
"""All that there are; the last three end the output."""

_Call: TypeAlias = FunctionCall | CustomToolCall
_Members: TypeAlias = Mapping[str, Any]


@attrs.define
class JsonReport:
    """Tells of one run.

    Attributes:
        lines: where the objects go.
        clock: gives seconds.
    """

    lines: LineWriter
    clock: Callable[[], float]
    _began: float = attrs.field(init=False)
    _turn: int = 0
    _calls: int = 0

    def __attrs_post_init__(self) -> None:
        self._began = self.clock()

    async def started(self, url: str, settings: Settings) -> None:
        """The server is there, and will be asked."""
        await self._put("run.started", url=url, model=settings.model, tools=[tool.name for tool in settings.tools])

    async def keep(self) -> None:
        """What was told stays as it is."""
        await trio.sleep_forever()

    async def step(self, step: Step) -> None:
        """Something happened in it."""
        told = self._step(step)
        if told is not None:
            name, members = told
            await self._put(name, **members)

    async def finished(self, run: Run) -> int:
        """The model is done; returns the exit code."""
        assert run.response is not None
        code = OK if run.response.status == "completed" else FAILED
        await self._put(
            "run.finished",
            status=run.response.status,
            response_id=run.response.id,
            incomplete_details=run.response.incomplete_details,
            text=run.text,
            turns=run.turns,
            tool_calls=self._calls,
            usage=_usage(run.usage),
            exit_code=code,
        )
        return code

    async def cancelled(self, summary: RunSummary | None, code: int) -> None:
        """A signal has cancelled it, for which there is an exit code; without a summary it had not begun."""
        await self._put("run.cancelled", **_reached(summary), exit_code=code)

    async def failed(self, error: Exception) -> None:
        """It cannot go on, or could not begin."""
        cause = error.__cause__ if isinstance(error.__cause__, AgentwireError) else error
        facts = {name: getattr(cause, name) for name in ("code", "status", "param") if hasattr(cause, name)}
        if hasattr(cause, "fate"):
            facts["fate"] = cause.fate.name.lower()
        code = USAGE if isinstance(error, UserError) else FAILED
        told = {"kind": type(cause).__name__, "message": str(error), **facts}
        await self._put("run.failed", error=told, **_reached(getattr(cause, "summary", None)), exit_code=code)

    def _step(self, step: Step) -> tuple[str, _Members] | None:
        told: tuple[str, _Members] | None = None
        match step:
            case TurnStarted():
                self._turn = step.number
                told = "turn.started", {"turn": step.number, "response_id": step.response_id}
            case TextDelta():
                told = "text", {"delta": step.text}
            case ReasoningDelta():
                told = "reasoning", {"delta": step.text}
            case ToolStarted():
                self._calls += 1
                told = "tool.started", _call(step.call)
            case ToolFinished():
                told = "tool.finished", _outcome(step)
            case ServerToolFinished():
                told = "server_tool.finished", _server_call(step)
            case TurnFinished():
                told = "turn.finished", _turn(self._turn, step)
            case TurnLost():
                told = "turn.lost", {"turn": step.number, "fate": step.fate.name.lower(), "repeated": step.repeated}
        return told

    async def _put(self, name: str, /, **members: Any) -> None:
        at = round(self.clock() - self._began, 3)
        await self.lines.put(encode_json({"v": VERSION, "type": name, "at": at, **members}))


def _call(call: _Call) -> _Members:
    given = call.arguments if isinstance(call, FunctionCall) else call.input
    return {"call_id": call.call_id, "name": call.name, "arguments": given}


def _outcome(step: ToolFinished) -> _Members:
    return {
        "call_id": step.call.call_id,
        "name": step.call.name,
        "output": step.result.text,
        "error": step.result.error,
        "seconds": round(step.seconds, 6),
    }


def _server_call(step: ServerToolFinished) -> _Members:
    names = ("server_label", "name", "arguments", "output", "error")
    return {name: getattr(step.call, name) for name in names}


def _turn(number: int, step: TurnFinished) -> _Members:
    response = step.response
    usage = _usage(response.usage or Usage())
    return {"turn": number, "response_id": response.id, "status": response.status, "usage": usage}


def _usage(usage: Usage) -> _Members:
    names = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
    return {name: getattr(usage, name) for name in names}


def _reached(summary: RunSummary | None) -> _Members:
    """How far a run came that did not end by itself."""
    if summary is None:
        return {"turns": 0, "text": "", "unfinished": []}
    return {"turns": summary.turns, "text": summary.text, "unfinished": _calls(summary.unfinished)}


def _calls(calls: Iterable[_Call]) -> list[_Members]:
    return [_call(call) for call in calls]
