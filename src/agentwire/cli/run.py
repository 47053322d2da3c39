"""``agentwire run``: one agent, from its task to its answer, with tools of the user's own.

Ctrl-C or SIGTERM cancels the run, whose tools clean up, and says what was cut off; one more leaves at once. Who only
wants the answer reads stdout, and a program reads ``--json``.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, redirect_stdout
from typing import Annotated, Any, Final, Protocol

import attrs
import trio
from cyclopts import Parameter

from agentwire.cli.failures import INTERRUPTED, CommandFailed, UserError
from agentwire.cli.interrupts import Interrupts
from agentwire.cli.keys import read_key
from agentwire.cli.lines import Lines, LineWriter
from agentwire.cli.loading import load_tools
from agentwire.cli.reaching import Settings, open_client, open_server, split_url
from agentwire.cli.run_events import JsonReport
from agentwire.cli.run_view import RunView
from agentwire.cli.terminal import Screen
from agentwire.cli.watching import watch_connection
from agentwire.client import Client, JournalError, Run, RunSummary, Step
from agentwire.protocol.errors import AgentwireError, LocalProtocolError
from agentwire.runtime.groups import open_flat_nursery

__all__ = ["Job", "Plan", "Report", "run"]

STDIN: Final = "-"
"""The word that stands for what is on stdin."""
END_OF_OPTIONS: Final = "--"
"""The word after which none is an option."""
MAX_TURNS: Final = 50

_OPTION: Final = re.compile(r"--?[a-zA-Z]\S*")


class Report(Protocol):
    """Who is told of a run: a person or a program."""

    async def started(self, url: str, settings: Settings) -> None:
        """The server is there, and will be asked."""

    async def keep(self) -> None:
        """Keep what is shown up to date, until cancelled."""

    async def step(self, step: Step) -> None:
        """Something happened in it."""

    async def finished(self, run: Run) -> int:
        """The model is done; returns the exit code."""

    async def cancelled(self, summary: RunSummary | None, code: int) -> None:
        """A signal has cancelled it, for which there is an exit code; without a summary it had not begun."""

    async def failed(self, error: Exception) -> None:
        """It cannot go on, or could not begin."""


def run(
    *words: Annotated[str, Parameter(allow_leading_hyphen=True)],
    tools: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
    model: str | None = None,
    instructions: str | None = None,
    max_turns: int = MAX_TURNS,
    key_file: str | None = None,
    journal: str | None = None,
    key: str | None = None,
    json: bool = False,
) -> int:
    """Run one agent; see ``agentwire run --help``.

    Args:
        words: where the server is, such as http://127.0.0.1:8000/v1 or wss://api.openai.com/v1; then the task, in which
            a word - stands for what is on stdin, and words after a -- may look like options.
        tools: module:name of a function, or of a list of functions, that the model may have run here; may be given
            again and again.
        model: whom to ask.
        instructions: system text for every turn.
        max_turns: most turns of the model; the default is 50.
        key_file: file whose first line is the API key. The environment's AGENTWIRE_API_KEY, or OPENAI_API_KEY for
            OpenAI's own servers, is the other way.
        journal: file in which the run is written down. Started again with the same --journal, --key, task and tools, it
            goes on where it was, and no tool runs twice.
        key: the run's name in the journal.
        json: tell everything as JSON, one object a line on stdout.
    """
    screen = Screen.of_process()
    report: Report = JsonReport(LineWriter(1), time.monotonic) if json else RunView(screen)
    try:
        at = words.index(END_OF_OPTIONS) if END_OF_OPTIONS in words else len(words)
        _check(words[:at])
        url, rest = split_url(words[:at] + words[at + 1 :])
        with redirect_stdout(sys.stderr):  # what the tools print is neither the answer nor JSON
            settings = Settings(url, model, instructions, read_key(key_file), load_tools(tools))
            plan = Plan(rest, max_turns, journal, key)
            job = Job(settings, plan, report, Interrupts(screen.note), Lines(0), screen.aside)
            return trio.run(job.run)
    except AgentwireError as error:
        trio.run(report.failed, error)
        raise


def _check(words: Sequence[str]) -> None:
    """Refuse a word that looks like an option: there is none of that name."""
    unknown = next((word for word in words if _OPTION.fullmatch(word)), None)
    if unknown is not None:
        name = unknown.partition("=")[0]
        raise UserError(f"there is no option {name} (see agentwire run --help); what is no option goes after a --")


@attrs.frozen
class Plan:
    """What is to be done.

    Attributes:
        words: the task, in which a word may stand for what is on stdin.
        max_turns: most turns of the model.
        journal: the file in which the run is written down.
        key: its name there.

    Raises:
        UserError: there are no words, a journal without a key, or a key without a journal.
    """

    words: Sequence[str]
    max_turns: int = MAX_TURNS
    journal: str | None = None
    key: str | None = None

    def __attrs_post_init__(self) -> None:
        if not self.words:
            raise UserError("there is nothing to do: give a task, or - to read it from stdin")
        if (self.journal is None) != (self.key is None):
            need = "--journal FILE and --key NAME belong together: the key is the run's name in the file"
            raise UserError(f"{need} (an API key comes with --key-file)")


@attrs.define
class Job:
    """One run, from the command line to its end.

    Attributes:
        settings: whom to ask, and how.
        plan: what is to be done.
        report: who is told.
        interrupts: what Ctrl-C and SIGTERM do.
        lines: stdin.
        aside: told of the connection.
    """

    settings: Settings
    plan: Plan
    report: Report
    interrupts: Interrupts
    lines: Lines
    aside: Callable[[str], None]
    _run: Run | None = None

    async def run(self) -> int:
        """Run it; returns the exit code.

        Raises:
            UserError: the address, a tool or a bound is not possible.
            CommandFailed: nobody can be reached, or the run cannot go on.
        """
        code = INTERRUPTED
        with self.interrupts.listening() as scope:
            code = await self._everything()
        if scope.cancelled_caught:
            code = await self._cancelled()
        return code

    async def _everything(self) -> int:
        task = await self._task()
        async with open_server(self.settings.url, self.interrupts.note) as url, AsyncExitStack() as stack:
            wire = await open_client(stack, url, self.settings)
            await self.report.started(url, self.settings)
            try:
                return await self._work(wire, task)
            except AgentwireError as error:
                raise self._told(error) from error

    async def _task(self) -> str:
        """The words, with what is on stdin in the place of its word."""
        words = self.plan.words
        if STDIN not in words:
            return " ".join(words)
        if sys.stdin is not None and sys.stdin.isatty():
            self.interrupts.note("type the task; Ctrl-D ends it")
        read: list[str] = []
        while (line := await self.lines.next()) is not None:
            read.append(line)
        at = words.index(STDIN)
        parts = (" ".join(words[:at]), "\n".join(read), " ".join(words[at + 1 :]))
        task = "\n\n".join(part for part in parts if part.strip())
        if not task:
            raise UserError("there is nothing to do: stdin was empty")
        return task

    async def _work(self, wire: Client, task: str) -> int:
        """Cancelled, the run is left; the connection still says goodbye, so that the server is not left waiting."""
        code = INTERRUPTED
        plan = self.plan
        options: dict[str, Any] = {"max_turns": plan.max_turns, "journal": plan.journal, "key": plan.key}
        with self.interrupts.cancelling() as scope:
            async with open_flat_nursery() as nursery:
                nursery.start_soon(self.report.keep)
                nursery.start_soon(watch_connection, wire, self.aside)
                async with wire.run(task, instructions=self.settings.instructions, **options) as run:
                    self._run = run
                    async for step in run:
                        await self.report.step(step)
                nursery.cancel_scope.cancel(reason="the run is over")
            code = await self.report.finished(run)
        if scope.cancelled_caught:
            code = await self._cancelled()
        return code

    def _told(self, error: AgentwireError) -> AgentwireError:
        """For the person: what could not be tried at all is something to put right, anything else has failed."""
        untried = LocalProtocolError if self._run is not None else (LocalProtocolError, JournalError)
        return UserError(str(error)) if isinstance(error, untried) else CommandFailed(str(error))

    async def _cancelled(self) -> int:
        code = self.interrupts.code
        await self.report.cancelled(self._run.summary() if self._run is not None else None, code)
        return code
