"""``agentwire conform-client``: runs anybody's client against hostile servers, and says what it survived.

Exit code 0: no binding rule is broken. 1: one is. 2: the program cannot be started.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Annotated, Final

import attrs
import trio
from cyclopts import Parameter

from agentwire.cli.checks import print_checks, run_checks, typed_options
from agentwire.cli.failures import UserError
from agentwire.cli.reports import ReportFiles, ReportProgress, exit_code, print_report
from agentwire.testing.clients import ClientRun, Result, Scenario
from agentwire.testing.clients.contract import ABILITIES
from agentwire.testing.clients.running import PATIENCE
from agentwire.testing.clients.selecting import select

__all__ = ["conform_client"]

_NOT_OF_THE_RUN: Final = ("json", "html", "full", "list_scenarios")


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class ClientOptions:
    """What can be said about a run."""

    able: tuple[str, ...] = ()
    """What else the program can do: tasks (several, side by side), cancel (its run, after a while)."""
    patience: float = PATIENCE
    """Seconds of silence after which the program is told to give a server up."""
    jobs: int = 2
    """Programs that run at once."""
    only: tuple[str, ...] = ()
    """What to run: numbers (AWK-017, 17, 17-25), names (forgets), topics (errors)."""
    skip: tuple[str, ...] = ()
    """The same, of what to leave out."""
    list_scenarios: Annotated[bool, Parameter(name="--list")] = False
    """List the scenarios that are meant, and what they need; nothing is run."""
    json: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    """File for the report as JSON; - is stdout."""
    html: str | None = None
    """File for the report as a page."""
    strict: bool = False
    """Exit with 1 also for rules that a client should keep."""
    full: bool = False
    """Print all that went over the wire for each failure."""


def conform_client(
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    options: ClientOptions = ClientOptions(),
) -> int:
    """Run a client against hostile servers; see ``agentwire conform-client --help``.

    Args:
        command: the program and its arguments; {url}, {ws_url}, {key}, {task}, {tool_url} and {patience} are filled in.

    Raises:
        UserError: an option cannot be followed, or the program cannot be started.
    """
    try:
        scenarios = select(options.only, options.skip)
    except ValueError as error:
        raise UserError(f"--only, --skip: {error}") from error
    if options.list_scenarios:
        _print_list(scenarios)
        return 0
    if not scenarios:
        raise UserError("--only, --skip: they leave no scenario to run")
    try:
        words = shlex.split(command[0]) if len(command) == 1 else command
    except ValueError as error:
        raise UserError(f"the command cannot be read as a shell would: {error}") from error
    if not words:
        raise UserError("name the program that is to be run, such as: agentwire conform-client python my_agent.py")
    if not options.patience > 0 or options.jobs < 1:
        raise UserError("--patience is more than 0 seconds, and --jobs at least 1")
    unknown = [ability for ability in options.able if ability not in ABILITIES]
    if unknown:
        raise UserError(f"--able: there is no {unknown[0]!r}; there are {', '.join(ABILITIES)}")
    files = ReportFiles(json=options.json, html=options.html)
    files.check()
    return trio.run(_Command(options, words, scenarios, files).run)


@attrs.define
class _Command:
    options: ClientOptions
    words: Sequence[str]
    scenarios: Sequence[Scenario]
    files: ReportFiles
    client: ClientRun | None = None

    async def run(self) -> int:
        return await run_checks(len(self.scenarios), self._look, self._tell)

    async def _look(self, progress: ReportProgress) -> None:
        def told(result: Result) -> None:
            progress.end(result.row())

        self.client = ClientRun(
            self.words,
            self.scenarios,
            able=frozenset(self.options.able),
            patience=self.options.patience,
            jobs=self.options.jobs,
            begin=lambda scenario: progress.begin(scenario.number, scenario.title),
            tell=told,
        )
        try:
            await self.client.run()
        except OSError as error:
            raise UserError(f"{self.words[0]} cannot be started: {error.strerror or error}") from error

    def _tell(self) -> int:
        if self.client is None:
            return 0
        report = self.client.report(options=typed_options(self.options, _NOT_OF_THE_RUN))
        self.files.write(report)
        if not self.files.stdout_is_taken:
            print_report(report, full=self.options.full)
        return exit_code(report, strict=self.options.strict)


def _print_list(scenarios: Sequence[Scenario]) -> None:
    print_checks(
        ("number", "topic", "name", "what the server does", "needs"),
        [(each.number, each.topic, each.name, each.title, ", ".join(each.needs)) for each in scenarios],
        fold="what the server does",
    )
