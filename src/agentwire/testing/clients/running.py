"""Runs a program against a hostile server of its own, once for each scenario, and makes a report of what it survived.

Every program, and every run as a whole, ends in bounded time; what is known when it is cancelled is kept.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Self

import attrs
import trio

from agentwire.testing.clients.contract import Assignment, command_line, environment
from agentwire.testing.clients.judging import RULES, Observed, Rule
from agentwire.testing.clients.program import Ran, run_program
from agentwire.testing.clients.scenarios import SCENARIOS, Scenario
from agentwire.testing.clients.tool import PATH, ToolDesk
from agentwire.testing.hostile import HostileServer, hostile_server
from agentwire.testing.report import LEVELS, Level, Reference, Report, Row, Verdict

__all__ = ["ClientRun", "Result", "run_scenario"]

PATIENCE: Final = 2.0
"""Seconds of silence after which a client is told to give up."""

_BASELINE: Final = "AWK-001"
_SHOWN_OF_OUTPUT: Final = 40
_SLOWEST_START: Final = 60.0
_NEEDS: Final[Mapping[str, str]] = {
    "websocket": "it is about WebSockets, and this client used none",
    "tasks": "the program does one task at a time (see --able tasks)",
    "cancel": "the program does not say that it can cancel (see --able cancel)",
}


@attrs.frozen
class Result:
    """What came of one scenario.

    Attributes:
        scenario: the scenario.
        observed: what was seen; None if it was not run.
        why_not: why it was not run.
    """

    scenario: Scenario
    observed: Observed | None
    why_not: str = ""

    @classmethod
    def of(cls, scenario: Scenario, observed: Observed) -> Self:
        """From what was seen; a client that never came to where something goes wrong was not looked at."""
        if scenario.deeds and not observed.seen.deeds and observed.finished:
            return cls(scenario, None, "this client never did what the scenario waits for")
        if scenario.cancel_after is not None and not observed.tool and observed.ran.exit_code == 0:
            return cls(scenario, None, "its tool had not begun when it was to cancel; try again with less to do beside")
        return cls(scenario, observed)

    @property
    def broken(self) -> list[tuple[Rule, str]]:
        """The rules that were not kept, with what was seen instead."""
        if self.observed is None:
            return []
        found = [(rule, rule.check(self.observed)) for rule in self.scenario.rules]
        return [(rule, said) for rule, said in found if said]

    @property
    def verdict(self) -> Verdict:
        """What the weightiest of these makes of it."""
        if self.observed is None:
            return "not applicable"
        levels: list[Level] = [rule.level for rule, _ in self.broken]
        return next((LEVELS[level] for level in ("must", "should", "choice") if level in levels), "passed")

    def row(self) -> Row:
        """The same for a report."""
        broken = self.broken
        order = sorted(broken, key=lambda each: list(LEVELS).index(each[0].level))
        said = [what for rule, what in order if rule.check not in _OUTCOMES] or [what for _, what in order]
        return Row(
            number=self.scenario.number,
            name=self.scenario.name,
            topic=self.scenario.topic,
            title=self.scenario.title,
            verdict=self.verdict,
            rules=[_reference(rule, self.scenario) for rule in self.scenario.rules],
            broken=[rule.id for rule, _ in broken],
            advice=order[0][0].advice if order else "",
            why=self.why_not or "; ".join(dict.fromkeys(said)),
            evidence=() if self.observed is None else _evidence(self.observed),
            seconds=0.0 if self.observed is None else round(self.observed.ran.seconds, 3),
        )


_OUTCOMES: Final = (RULES["finishes"].check, RULES["takes_what_is_legal"].check)
"""Rules whose complaint is how it ended, which others say better."""


def _reference(rule: Rule, scenario: Scenario) -> Reference:
    return Reference(id=rule.id, text=rule.text, level=rule.level, sources=scenario.reports)


def _evidence(observed: Observed) -> list[str]:
    said = [f"{'stderr' if line.error else 'stdout'} | {line.text[:400]}" for line in observed.ran.lines]
    turns, runs = len(observed.seen.turns), len(observed.tool)
    counts = f"{len(observed.attempts)} connections, {turns} turns, {runs} runs of the tool"
    return [f"outcome: {observed.outcome}; {counts}", *observed.seen.lines, *said[-_SHOWN_OF_OUTPUT:]]


async def run_scenario(
    scenario: Scenario, command: Sequence[str], *, patience: float = PATIENCE, slack: float = 0.0
) -> Result:
    """Run a program once. Cancelled, the program is killed.

    Args:
        scenario: what is done to it.
        command: the program and its arguments, with placeholders (see `VARIABLES`).
        patience: seconds of silence after which it is told to give up.
        slack: seconds that it needs besides, such as for its start.

    Raises:
        OSError: it cannot be started.
    """
    begins = slack / 4 if scenario.cancel_after is not None else 0.0  # until a slow program's tool has begun
    desk = ToolDesk(scenario.tool_seconds + begins, scenario.tool_size)
    clerk = attrs.evolve(scenario.clerk, every=scenario.clerk.every * patience / PATIENCE)
    deadline = 10 + 4 * patience + scenario.extra + slack + 2 * begins
    async with hostile_server(
        scenario.deeds, clerk, sockets=True, stores=scenario.stores, beside=desk.answer
    ) as server:
        desk.seen = server.seen
        assignment = Assignment(
            url=server.url,
            tool_url=server.url.removesuffix("/v1") + PATH,
            tasks=scenario.tasks,
            patience=patience,
            cancel_after=None if scenario.cancel_after is None else scenario.cancel_after + begins,
        )
        env, words = environment(assignment), command_line(command, assignment)
        ran = await run_program(words, env=env, deadline=deadline)
        return Result.of(scenario, _observed(scenario, server, desk, ran, deadline))


def _observed(scenario: Scenario, server: HostileServer, desk: ToolDesk, ran: Ran, deadline: float) -> Observed:
    return Observed(
        ran=ran,
        seen=server.seen,
        tool=tuple(attrs.evolve(run) for run in desk.runs),
        answers=scenario.answers,
        deadline=deadline,
        cancels=scenario.cancel_after is not None,
    )


@attrs.define(eq=False)
class ClientRun:
    """One program, and one scenario after the other, some of them side by side.

    Attributes:
        command: the program and its arguments.
        scenarios: which, in order; the first one of all, in which the server keeps the rules, is always run.
        able: keys of `ABILITIES`.
        patience: seconds of silence after which the program is told to give up.
        jobs: programs at once.
        begin: told each scenario that begins.
        tell: told each result.
    """

    command: Sequence[str]
    scenarios: Sequence[Scenario] = attrs.field(factory=lambda: tuple(SCENARIOS.values()))
    able: frozenset[str] = frozenset()
    patience: float = PATIENCE
    jobs: int = 2
    begin: Callable[[Scenario], None] | None = None
    tell: Callable[[Result], None] | None = None
    _slack: float = 0.0
    _results: dict[str, Result] = attrs.field(factory=dict)
    _started: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    _begun: float = attrs.field(factory=trio.current_time)

    async def run(self) -> None:
        """Run them. Cancelling it keeps the results of those that ended.

        Raises:
            OSError: the program cannot be started.
        """
        self._slack = _SLOWEST_START
        baseline = await self._one(SCENARIOS[_BASELINE])
        self._slack = 2 * baseline.observed.ran.seconds if baseline.observed is not None else 0.0
        why = _why_nothing(baseline)
        missing = set(_NEEDS) - self.able - {"websocket"}
        if baseline.observed is not None and not _used_websocket(baseline.observed):
            missing.add("websocket")
        limiter = trio.CapacityLimiter(self.jobs)
        async with trio.open_nursery() as nursery:
            for scenario in self.scenarios:
                lacks = [_NEEDS[need] for need in scenario.needs if need in missing]
                if scenario.number == _BASELINE:
                    continue
                if why or lacks:
                    self._note(Result(scenario, None, why or "; ".join(lacks)))
                else:
                    await limiter.acquire_on_behalf_of(scenario)
                    nursery.start_soon(self._one, scenario, limiter)

    async def _one(self, scenario: Scenario, limiter: trio.CapacityLimiter | None = None) -> Result:
        try:
            if self.begin is not None:
                self.begin(scenario)
            result = await run_scenario(scenario, self.command, patience=self.patience, slack=self._slack)
        finally:
            if limiter is not None:
                limiter.release_on_behalf_of(scenario)
        self._note(result)
        return result

    def _note(self, result: Result) -> None:
        self._results[result.scenario.number] = result
        if self.tell is not None:
            self.tell(result)

    @property
    def results(self) -> list[Result]:
        """Those that there are, in the order of the scenarios."""
        return [self._results[number] for number in SCENARIOS if number in self._results]

    def report(self, *, options: Mapping[str, str] | None = None, found: Iterable[str] = ()) -> Report:
        """What is known so far.

        Args:
            options: what was asked for.
            found: what is known of the program, in sentences.
        """
        wanted = {scenario.number for scenario in self.scenarios} | {_BASELINE}
        return Report(
            kind="client",
            subject=shlex.join(self.command),
            started_at=self._started.isoformat(timespec="seconds").replace("+00:00", "Z"),
            seconds=round(trio.current_time() - self._begun, 3),
            options=options or {},
            found=(*found, *self._found()),
            complete=wanted == set(self._results),
            rows=[result.row() for result in self.results],
        )

    def _found(self) -> list[str]:
        baseline = self._results.get(_BASELINE)
        if baseline is None or baseline.observed is None:
            return []
        seen = baseline.observed.seen
        if not seen.turns:
            return [f"the program asked the model for nothing; it {baseline.observed.outcome}"]
        over = " and ".join(sorted({turn.over for turn in seen.turns})) or "nothing"
        chained = any(turn.body.get("previous_response_id") for turn in seen.turns)
        how = "names the response that it continues" if chained else "says the whole conversation each time"
        lanes = ", uses lanes" if any(turn.lane for turn in seen.turns) else ""
        return [f"with an honest server, the client speaks over {over}, {how}{lanes}; it {baseline.observed.outcome}"]


def _used_websocket(observed: Observed) -> bool:
    return any(connection.kind == "websocket" for connection in observed.seen.connections)


def _why_nothing(baseline: Result) -> str:
    """Why nothing else can be said of a client."""
    if baseline.verdict == "passed":
        return ""
    return f"{_BASELINE} failed: with a server that keeps all rules, the program does not do its task either"
