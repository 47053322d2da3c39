"""The demonstration's task, done live: an agent surveys a folder over one WebSocket, with real tools on real files.

The task is a list in words. The engine is the built-in one, which follows such lists: what it reads and where it looks
comes out of what the tools before put out, so every folder gets another rollout.
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from agentwire.cli.demo.rollout import MODEL
from agentwire.cli.demo.view import View
from agentwire.cli.demo.watch import Watch
from agentwire.cli.demo.workspace import Workspace
from agentwire.client import TextDelta, ToolFinished, ToolStarted, TurnFinished, TurnStarted, connect
from agentwire.engines.builtin import builtin
from agentwire.protocol.items import CustomToolCall, FunctionCall
from agentwire.server import Server, serve

__all__ = ["TASK", "SurveyReport", "survey"]

TASK: Final = """\
Survey this repository and report what you found.

1. List the files in `.`.
2. List the files in each folder that it listed, three at a time.
3. Read each `.md` file that step 1 listed, two at a time.
4. Read the first six `.py` files that step 2 listed, one at a time.
5. Search for `class `, `async def ` and `raise ` in parallel.
6. Read the first four files that step 5 found, one by one.

Finally, report what you found.
"""
"""What the agent is asked to do."""

THINK: Final = 0.2
"""Seconds before each engine step, so that a person can follow."""
TYPING: Final = 0.003
"""Seconds after each word."""


@attrs.frozen(kw_only=True)
class SurveyReport:
    """What the agent did.

    Attributes:
        root: the folder.
        turns: responses on the one WebSocket.
        calls: tool calls, by name.
        seconds: the whole rollout.
        connections: sockets that the server accepted.
        input_tokens: what all turns took together.
        output_tokens: what they gave.
        text: the agent's report.
    """

    root: str
    turns: int
    calls: dict[str, int]
    seconds: float
    connections: int
    input_tokens: int
    output_tokens: int
    text: str


async def survey(workspace: Workspace, view: View, *, quick: bool = False) -> SurveyReport:
    """Let the agent do the task, and show it; starts a server of its own."""
    engine = builtin(delay=0.0 if quick else TYPING)
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(serve, Watch().engine(engine, think=0.0 if quick else THINK))
        view.heading("An agent at work", f"one WebSocket to {server.url}, tools on the files in {workspace.root}")
        view.quote(TASK)
        report = await _work(server, workspace, view)
        nursery.cancel_scope.cancel(reason="the survey is done")
    return report


async def _work(server: Server, workspace: Workspace, view: View) -> SurveyReport:
    began = trio.current_time()
    calls: dict[str, int] = {}
    turns = 0
    async with connect(server.url) as wire, wire.run(TASK, model=MODEL, tools=workspace.tools) as run:
        with view.rollout() as stage:
            async for step in run:
                match step:
                    case TurnStarted():
                        stage.turn(step.number)
                    case ToolStarted(call=call):
                        calls[call.name] = calls.get(call.name, 0) + 1
                        stage.started(call.call_id, call.name, _arguments(call))
                    case ToolFinished():
                        stage.finished(step.call.call_id, step.result.text, step.seconds)
                    case TextDelta():
                        stage.said(step.text)
                    case TurnFinished():
                        turns += 1
        report = SurveyReport(
            root=str(workspace.root),
            turns=turns,
            calls=calls,
            seconds=trio.current_time() - began,
            connections=server.statistics().listening.accepted,
            input_tokens=run.usage.input_tokens,
            output_tokens=run.usage.output_tokens,
            text=run.text,
        )
    view.line(
        f"\n{report.turns} turns and {sum(calls.values())} tool calls on {report.connections} connection, in "
        f"{report.seconds:.1f} s; the engine took its time, to be watchable"
    )
    return report


def _arguments(call: FunctionCall | CustomToolCall) -> str:
    return call.arguments if isinstance(call, FunctionCall) else call.input
