"""``agentwire conform``: holds any server of the WebSocket mode to the rules, and says what it found, with evidence.

Exit code 0: no binding rule is broken. 1: one is. 2: the server cannot be looked at at all, or
nothing that was meant applies to it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Annotated, Final, Literal

import attrs
import trio
from cyclopts import Parameter

from agentwire.cli.checks import print_checks, run_checks, typed_options
from agentwire.cli.failures import UserError
from agentwire.cli.reports import ReportFiles, ReportProgress, exit_code, print_report
from agentwire.link.address import Address, find_key
from agentwire.protocol.errors import LocalProtocolError
from agentwire.testing.conformance import NEEDS, Case, Peer
from agentwire.testing.conformance.campaign import HURRY, Campaign
from agentwire.testing.conformance.companion import Companion, open_companion
from agentwire.testing.conformance.process import NotStarted, start_server
from agentwire.testing.conformance.reporting import level_of, row_of, topic_of
from agentwire.testing.conformance.rules import Profile
from agentwire.testing.conformance.runner import Result
from agentwire.testing.conformance.selection import select
from agentwire.testing.conformance.survey import NotReached, survey
from agentwire.testing.conformance.wired import open_wired

__all__ = ["HINTS", "SECOND_KEY_VARIABLE", "conform"]

SECOND_KEY_VARIABLE: Final = "AGENTWIRE_SECOND_API_KEY"
"""The environment variable with another owner's API key."""

WIRE: Final = "{upstream_wire}"
"""What a command to start a server has where it is to reach the companion over the WebSocket mode."""

_HIGHEST: Final = 65_535
_NOT_OF_THE_RUN: Final = ("json", "html", "key_file", "full", "list_cases")

KEY_HINT: Final = " (--key-file, or the environment's AGENTWIRE_API_KEY)"

HINTS: Final[Mapping[str, str]] = {
    "tools": "--able tools, if only the survey did not see it",
    "slow": "--slow-model, --companion or --start",
    "failing": "--failing-model, --companion or --start",
    "steering": "--able steering",
    "keys": "--key-file",
    "second key": f"a second line in --key-file, or {SECOND_KEY_VARIABLE}",
    "queued": "--limit queued=NUMBER",
    "connections": "--limit connections=NUMBER",
    "steers": "--limit steers=NUMBER",
    "context_tokens": "--limit context_tokens=NUMBER",
    "patience": "--able patience, and a --timeout to match",
    "search": "--able search",
    "reasoning": "--able reasoning, if only the survey did not see it",
    "companion": "--companion, or {upstream} or {upstream_wire} in --start",
    "process": "--start",
}
"""How a run gets what a case needs."""


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class ConformOptions:
    """What can be said about a run."""

    model: str | None = None
    """Model to ask for; left out, the first one that the server lists."""
    key_file: str | None = None
    """File whose first line is the API key, and whose second line, if there is one, is the key of another owner. The
    environment's AGENTWIRE_API_KEY and AGENTWIRE_SECOND_API_KEY are the other way."""
    slow_model: str | None = None
    """Model that takes at least a few seconds for an answer."""
    failing_model: str | None = None
    """Model that fails once its response has begun."""
    able: tuple[str, ...] = ()
    """What else the server can do: steering, search, patience (cases that take minutes), tools, reasoning."""
    limit: tuple[str, ...] = ()
    """A bound of the server that is smaller than the protocol's, as NAME=VALUE, such as message_bytes=100000."""
    profile: Literal["openai", "open-responses"] = "openai"
    """The dialect whose rules are looked at."""
    only: tuple[str, ...] = ()
    """What to run: numbers (AWC-017, 17, 17-25), names, rules (AW-S-012), topics (lanes, L)."""
    skip: tuple[str, ...] = ()
    """The same, of what to leave out."""
    list_cases: Annotated[bool, Parameter(name="--list")] = False
    """List the cases that are meant, and what they need; nothing is run."""
    json: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    """File for the report as JSON; - is stdout."""
    html: str | None = None
    """File for the report as a page."""
    timeout: float = 60.0
    """Seconds that one case may take."""
    deadline: float = 3600.0
    """Seconds that the whole run may take; what is known by then is reported."""
    strict: bool = False
    """Exit with 1 also for rules that a server should keep."""
    full: bool = False
    """Print all that went over the wire for each failure, and choices in as many words."""
    companion: str | None = None
    """HOST:PORT where to open the companion: a model server for the server under test, which is pointed at
    http://HOST:PORT/v1. It shows what the server does to its models."""
    start: str | None = None
    """Command that starts the server under test. {port} is where it has to listen, {upstream} the base URL of the
    companion, {upstream_wire} that of its WebSocket mode, {folder} a folder that outlives a restart."""


def conform(url: str | None = None, /, *, options: ConformOptions = ConformOptions()) -> int:
    """Hold a server to the rules; see ``agentwire conform --help``.

    Args:
        url: its base URL, such as http://127.0.0.1:8000/v1 or ws://127.0.0.1:8000/v1/responses. With --start it may be
            left out, or have {port} in it.

    Raises:
        UserError: an option cannot be followed, or the server cannot be reached.
    """
    try:
        cases = select(options.only, options.skip)
    except ValueError as error:
        raise UserError(f"--only, --skip: {error}") from error
    if not cases:
        raise UserError("--only, --skip: they leave no case to run")
    if options.list_cases:
        _print_list(cases, options.profile)
        return 0
    files = ReportFiles(json=options.json, html=options.html)
    files.check()
    return trio.run(_Command(options, cases, files, _peer(url, options)).run)


def _peer(url: str | None, options: ConformOptions) -> Peer:
    """The server as far as it was described."""
    if url is None and options.start is None:
        raise UserError("name the server: its base URL, such as http://127.0.0.1:8000/v1, or --start COMMAND")
    if not (options.timeout > 0 and options.deadline > 0):
        raise UserError("--timeout and --deadline are seconds, more than 0")
    unknown = [name for name in options.able if name not in NEEDS]
    if unknown:
        raise UserError(f"--able: there is no {unknown[0]!r}; there are {', '.join(NEEDS)}")
    keys = _keys(url, options.key_file)
    return Peer(
        url or "",
        model=options.model or "",
        key=keys[0],
        second_key=keys[1],
        slow_model=options.slow_model,
        failing_model=options.failing_model,
        able=options.able,
        limits=_limits(options.limit),
        profile=options.profile,
    )


def _keys(url: str | None, path: str | None) -> tuple[str | None, str | None]:
    lines: Sequence[str] = ()
    if path is not None:
        try:
            with open(path, encoding="utf-8") as file:  # noqa: PTH123 - a pipe may be named as well
                lines = [line.strip() for line in file if line.strip() and not line.startswith("#")]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--key-file: cannot read {path}: {error}") from error
        if not lines:
            raise UserError(f"--key-file: there is no API key in {path}")
    given = lines[0] if lines else None
    try:
        address = Address.parse(url.replace("{port}", "1") if url is not None else "http://127.0.0.1/v1")
        key = find_key(address, given, os.environ)
    except LocalProtocolError as error:
        raise UserError(str(error)) from error
    second = lines[1] if len(lines) > 1 else os.environ.get(SECOND_KEY_VARIABLE)
    return key, second if key else None


def _limits(pairs: Sequence[str]) -> dict[str, int]:
    known = ("message_bytes", "queued", "connections", "steers", "connection_age", "context_tokens")
    found = {}
    for pair in pairs:
        name, _, value = pair.replace("-", "_").partition("=")
        if name not in known or not value.isdecimal():
            raise UserError(f"--limit must be NAME=VALUE with a whole number, of {', '.join(known)}; not {pair!r}")
        found[name] = int(value)
    return found


def _system(error: OSError) -> str:
    """What the system says, without what it was asked."""
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error)


@attrs.define
class _Command:
    options: ConformOptions
    cases: Sequence[Case]
    files: ReportFiles
    peer: Peer
    campaign: Campaign | None = None
    found: tuple[str, ...] = ()

    async def run(self) -> int:
        return await run_checks(len(self.cases), self._look, self._tell)

    async def _look(self, progress: ReportProgress) -> None:
        async with AsyncExitStack() as stack:
            peer = await self._open(stack, progress)
            try:
                survey_of = await survey(peer, turns=self._turns, timeout=self.options.timeout)
            except NotReached as error:
                raise UserError(f"{error}{KEY_HINT if 'API key' in str(error) else ''}") from error
            self.found = survey_of.told
            for sentence in self.found:
                progress.note(sentence)
            profile = self.peer.profile

            def told(result: Result) -> None:
                progress.end(row_of(result, profile))

            self.campaign = Campaign(
                survey_of.peer,
                self.cases,
                tell=told,
                begin=lambda case: progress.begin(case.number, case.title),
                timeout=min(self.options.timeout, HURRY) if survey_of.silent else self.options.timeout,
                deadline=self.options.deadline,
                turns=self._turns,
            )
            await self.campaign.run()

    @property
    def _turns(self) -> bool:
        """Whether any case has to do with more than the WebSocket itself."""
        return any(not case.bare for case in self.cases)

    async def _open(self, stack: AsyncExitStack, progress: ReportProgress) -> Peer:
        """Start what the run itself has to start."""
        options, companion, wire = self.options, None, None
        if options.companion is not None or "{upstream" in (options.start or ""):
            companion = await self._companion(stack)
            progress.note(f"the companion listens at {companion.url}")
            if WIRE in (options.start or ""):
                wire = await stack.enter_async_context(open_wired(companion, self._companion_place[0]))
                progress.note(f"it speaks the WebSocket mode at {wire}")
        peer = attrs.evolve(self.peer, companion=companion)
        if options.start is None:
            return peer
        progress.note("starting the server")
        try:
            process = await stack.enter_async_context(
                start_server(
                    options.start,
                    url=peer.url or None,
                    upstream=companion.url if companion else None,
                    upstream_wire=wire,
                )
            )
        except ValueError as error:
            raise UserError(f"--start: {error}") from error
        except NotStarted as error:
            raise UserError(f"--start: {error}") from error
        return attrs.evolve(peer, url=process.url, process=process)

    @property
    def _companion_place(self) -> tuple[str, int]:
        host, colon, port = (self.options.companion or "127.0.0.1:0").rpartition(":")
        if not colon or not port.isdecimal() or int(port) > _HIGHEST:
            raise UserError(f"--companion must be HOST:PORT, such as 127.0.0.1:9000, not {self.options.companion!r}")
        return host.strip("[]"), int(port)

    async def _companion(self, stack: AsyncExitStack) -> Companion:
        host, port = self._companion_place
        try:
            return await stack.enter_async_context(open_companion(host, port))
        except OSError as error:
            raise UserError(f"--companion: cannot listen on {host}:{port}: {_system(error)}") from error

    def _tell(self) -> int:
        if self.campaign is None:
            return 0
        report = self.campaign.report(options=typed_options(self.options, _NOT_OF_THE_RUN), found=self.found)
        self.files.write(report)
        if not self.files.stdout_is_taken:
            hints = {NEEDS[need]: hint for need, hint in HINTS.items()}
            seen = sys.stdout.isatty() and sys.stderr.isatty()  # on the screen already
            print_report(report, full=self.options.full, found=not seen, hints=hints)
        if report.complete and report.tally.count("not applicable") == len(report.rows):
            raise UserError(
                f"nothing was looked at: none of the {len(report.rows)} cases applies to this run; "
                "the report says what they lack"
            )
        return exit_code(report, strict=self.options.strict)


def _print_list(cases: Sequence[Case], profile: Profile) -> None:
    print_checks(
        ("number", "topic", "level", "what is done", "needs"),
        [(case.number, topic_of(case), level_of(case, profile), case.title, ", ".join(case.needs)) for case in cases],
        fold="what is done",
    )
