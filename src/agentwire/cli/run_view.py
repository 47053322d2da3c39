"""A run for a person: what its turns and tools do on stderr, live where that is a terminal, and the answer on stdout.

In a terminal the answer comes as it is written. Anybody else gets the last turn's text, once it is complete: a pipe
cannot be told that what it has read is void.
"""

from __future__ import annotations

import time
from typing import Final

import attrs
import trio
from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from agentwire.cli.failures import FAILED, OK
from agentwire.cli.reaching import Settings
from agentwire.cli.terminal import Screen, clean
from agentwire.client import (
    ReasoningDelta,
    Run,
    RunSummary,
    ServerToolFinished,
    Step,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnLost,
    TurnStarted,
)
from agentwire.protocol.items import CustomToolCall, FunctionCall

__all__ = ["RunView", "name_of", "short", "told_of"]

SHOWN: Final = 100
"""Characters of a tool's arguments, and of its output, that are shown."""
BEAT: Final = 0.1
"""Seconds between two pictures of what runs."""


@attrs.define
class RunView:
    """Shows one run.

    Attributes:
        screen: where.
    """

    screen: Screen
    _turn: int = 0
    _calls: int = 0
    _began: float = attrs.field(factory=time.monotonic)
    _running: dict[str, tuple[str, float]] = attrs.field(factory=dict)
    _spinner: Spinner = attrs.field(factory=lambda: Spinner("dots"))
    _live: Live | None = None

    async def started(self, url: str, settings: Settings) -> None:
        """The server is there, and will be asked."""
        await trio.lowlevel.checkpoint()
        if self.screen.notes.is_terminal:
            self._live = Live(
                get_renderable=self._picture,
                console=self.screen.notes,
                transient=True,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )

    async def keep(self) -> None:
        """Keep the picture of what runs up to date, until cancelled."""
        while True:
            await trio.sleep(BEAT)
            if self._live is not None and not self.screen.writing:
                self._live.start()
                self._live.refresh()

    def rest(self) -> None:
        """Take the picture away."""
        if self._live is not None:
            self._live.stop()

    async def step(self, step: Step) -> None:
        """Something happened in it."""
        await trio.lowlevel.checkpoint()
        match step:
            case TurnStarted():
                self._turn = step.number
            case TextDelta() if self.screen.answers.is_terminal:
                self.rest()
                self.screen.text(step.text)
            case ReasoningDelta():
                self.rest()
                self.screen.thought(step.text)
            case ToolStarted(call=call):
                self._start(call)
            case ToolFinished(call=call):
                self._running.pop(call.call_id, None)
                style = "red" if step.result.error else "dim"
                self._note(f"{name_of(call)}: {short(step.result.text)} ({step.seconds * 1000:.0f} ms)", style)
            case ServerToolFinished(call=call):
                told = short(call.output or str(call.error))
                self._note(f"{call.name} {short(call.arguments)}: {told} (run by the server)")

            case TurnLost():
                self.rest()
                self.screen.note(told_of(step))
            case _:
                pass

    async def finished(self, run: Run) -> int:
        """The model is done; returns the exit code."""
        await trio.lowlevel.checkpoint()
        assert run.response is not None
        self.rest()
        if not self.screen.answers.is_terminal:
            self.screen.text(run.text)
        self.screen.end()
        seconds = time.monotonic() - self._began
        turns, calls = _count(run.turns, "turn"), _count(self._calls, "tool call")
        self.screen.note(f"{turns}, {calls}, {run.usage.total_tokens} tokens, {seconds:.1f} s")
        if run.response.status == "completed":
            return OK
        why = (run.response.incomplete_details or {}).get("reason", run.response.status)
        self.screen.note(f"the answer stops short: {why}", style="red")
        return FAILED

    async def cancelled(self, summary: RunSummary | None, code: int) -> None:
        """A signal has cancelled it; without a summary it had not begun."""
        await trio.lowlevel.checkpoint()
        self.rest()
        self.screen.end()
        if summary is None:
            self.screen.note("cancelled before anything was asked")
            return
        cut = [name_of(call) for call in summary.unfinished]
        tools = f"; cut off: {', '.join(cut)}" if cut else ""
        self.screen.note(f"cancelled in turn {summary.turns}{tools}")

    async def failed(self, error: Exception) -> None:
        """It cannot go on, or could not begin; whoever called the command says why."""
        await trio.lowlevel.checkpoint()
        self.rest()
        self.screen.end()

    def _start(self, call: FunctionCall | CustomToolCall) -> None:
        self._calls += 1
        self._running[call.call_id] = (name_of(call), time.monotonic())
        if self._live is None:
            self._note(name_of(call))

    def _note(self, text: str, style: str = "dim") -> None:
        self.screen.note(f"turn {self._turn}  {text}", style=style)

    def _picture(self) -> Group:
        now = time.monotonic()
        self._spinner.update(text=Text(f"turn {self._turn}, {_count(self._calls, 'tool call')}", style="bold"))
        running = [
            Text(clean(f"   {name}  {now - began:.0f} s"), style="yellow", no_wrap=True, overflow="ellipsis")
            for name, began in self._running.values()
        ]
        return Group(self._spinner, *running)


def name_of(call: FunctionCall | CustomToolCall) -> str:
    """A call as it is shown: the tool and what it was given."""
    return f"{call.name} {short(call.arguments if isinstance(call, FunctionCall) else call.input)}"


def short(text: str) -> str:
    """A text on one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}..."


def told_of(lost: TurnLost) -> str:
    """What a person should know of a turn that was lost."""
    what = "it is asked again, and what it wrote is void" if lost.repeated else "the calls that it made stand"
    return f"turn {lost.number} was lost with its connection: {what}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
