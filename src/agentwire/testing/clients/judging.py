"""What a client has to do whatever its server does, as rules that look at one run of a program from outside.

A rule says nothing if it was kept, and otherwise what was seen instead; which rules count is for the scenario to say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from agentwire.testing.clients.contract import CANCELLED
from agentwire.testing.clients.program import Ran
from agentwire.testing.clients.tool import ToolRun
from agentwire.testing.hostile.seen import Seen
from agentwire.testing.report import Level

__all__ = ["RULES", "Observed", "Rule", "rule"]

STORM: Final = 10
"""Attempts to connect, or to ask, within `STORM_SECONDS` that are too many."""
STORM_SECONDS: Final = 1.0
AT_ONCE: Final = 0.5
"""Seconds that what a program prints and what its tool does may be apart, and are the same moment."""

_ACCIDENT: Final = re.compile(
    r"^(?:[\w.]*\.)?(?:KeyError|AttributeError|TypeError|AssertionError|UnboundLocalError|NameError|IndexError"
    r"|RecursionError|NotImplementedError|StopIteration|StopAsyncIteration|InvalidStateError|ValidationError"
    r"|JSONDecodeError|UnicodeDecodeError|ReferenceError|BusyResourceError)\b"
)
_FATAL: Final = re.compile(r"^(?:panic:|thread '.*' panicked|Segmentation fault|fatal runtime error|FATAL ERROR:)")


@attrs.frozen(kw_only=True)
class Observed:
    """One run of a program, as it was seen.

    Attributes:
        ran: the program.
        seen: what the server saw.
        tool: the tool's runs.
        answers: the final texts that are right, one for each task.
        deadline: seconds that the program had.
        cancels: whether it was to cancel its run.
    """

    ran: Ran
    seen: Seen
    tool: Sequence[ToolRun]
    answers: Sequence[str]
    deadline: float
    cancels: bool = False

    @property
    def hung(self) -> bool:
        """Whether it had to be killed."""
        return self.ran.exit_code is None

    @property
    def finished(self) -> bool:
        """Whether it has printed every right answer."""
        return all(answer in self.ran.output for answer in self.answers)

    @property
    def attempts(self) -> list[float]:
        """When it connected to the API."""
        return [connection.at for connection in self.seen.connections if connection.kind != "beside"]

    @property
    def last_error(self) -> str:
        """The last line of what it complained about; empty if it did not."""
        return self.ran.errors[-1].strip() if self.ran.errors else ""

    @property
    def outcome(self) -> str:
        """How it ended, in words."""
        after = f"after {self.ran.seconds:.1f} s"
        if self.hung:
            text = "printed the right answer, and did not exit" if self.finished else "hung, and was killed"
            return f"{text} {after}"
        if self.ran.exit_code == 0:
            if self.cancels:
                return f"ended {after}"
            return f"{'finished' if self.finished else 'ended without the right answer'} {after}"
        return f"ended with exit code {self.ran.exit_code} {after}: {self.last_error[:300] or 'it said nothing'}"


Check = Callable[[Observed], str]


@attrs.frozen(kw_only=True)
class Rule:
    """One thing that a client does.

    Attributes:
        id: stable, such as ``AW-A-001``; never given to another rule.
        text: it, in a sentence.
        level: how binding it is where a scenario names no other level.
        check: empty if it was kept, otherwise what was seen.
        advice: how to mend a client that does not keep it.
    """

    id: str
    text: str
    level: Level
    check: Check
    advice: str


RULES: Final[dict[str, Rule]] = {}
"""Every rule, by its name in code."""


def rule(number: int, level: Level, advice: str) -> Callable[[Check], Check]:
    """Register a rule; its function's name is that of the rule, its docstring the text."""

    def register(check: Check) -> Check:
        text = " ".join((check.__doc__ or "").split())
        RULES[check.__name__] = Rule(id=f"AW-A-{number:03}", text=text, level=level, check=check, advice=advice)
        return check

    return register


@rule(
    1,
    "must",
    "Give each request a deadline for its first event and one between two events, ping connections that "
    "say nothing, and let a reconnect resolve every request that was under way: gone on, asked again, or "
    "failed.",
)
def ends(observed: Observed) -> str:
    """A client comes to an end in time, with what it was asked for or with an error."""
    if not observed.hung:
        return ""
    what = "it printed the right answer, but did not exit" if observed.finished else "it hung"
    return f"{what} within {observed.deadline:.0f} s, with a patience that is much shorter"


@rule(
    2,
    "must",
    "Map what comes from sockets, JSON and shapes to errors of your own at one place, and let them reach "
    "the exit code.",
)
def error_is_clear(observed: Observed) -> str:
    """Where it cannot finish, it says what happened, by an error that is meant for that and a non-zero exit code."""
    code = observed.ran.exit_code
    if code in (None, 0):
        return ""
    assert code is not None
    if code < 0:
        return f"it was ended by signal {-code}"
    if not observed.ran.errors:
        return f"it ended with exit code {code} and said nothing"
    if any(_FATAL.match(line) for line in observed.ran.errors):
        return f"it crashed: {observed.last_error}"
    if _ACCIDENT.match(observed.last_error):
        return f"it fell over its own feet: {observed.last_error}"
    return ""


@rule(
    3,
    "must",
    "A turn is over with its terminal event and not with the connection: a close without one is an error, "
    "whatever its code. Take the output from the items where the terminal event has none.",
)
def answer_is_right(observed: Observed) -> str:
    """What it gives as the final answer is the answer: nothing stale, partial or empty passes for it."""
    if observed.ran.exit_code != 0 or observed.finished or observed.cancels:
        return ""
    said = observed.ran.output.strip()
    return f"it ended with exit code 0 and said {said[-200:]!r}" if said else "it ended with exit code 0 and no answer"


@rule(
    4,
    "must",
    "A call id is an idempotency key: remember what each call has come to, beyond the connection, and "
    "bind each event to its response.",
)
def tool_runs_once(observed: Observed) -> str:
    """No tool call runs twice, whatever is lost on the way."""
    times = Counter(run.page for run in observed.tool)
    twice = [f"{count} times for page {page}" for page, count in sorted(times.items()) if count > 1]
    return f"the tool ran {', '.join(twice)}" if twice else ""


@rule(
    5,
    "must",
    "Send outputs only beside their calls, each once; after a loss say the conversation with its finished pairs alone.",
)
def sends_what_is_valid(observed: Observed) -> str:
    """What it sends is valid: JSON, known events, and each tool output beside its call."""
    return "; ".join(dict.fromkeys(observed.seen.complaints))


@rule(
    6,
    "must",
    "Let one attempt at a time be made for all who wait, ever further apart, also where connections open "
    "and are of no use; believe retry-after.",
)
def does_not_storm(observed: Observed) -> str:
    """It does not storm a server that is in trouble: attempts are few, and ever further apart."""
    connections = _crowd(observed.attempts)
    turns = _crowd([turn.at for turn in observed.seen.turns])
    if connections > STORM:
        return f"it connected {connections} times within {STORM_SECONDS:g} s"
    return f"it asked {turns} times within {STORM_SECONDS:g} s" if turns > STORM else ""


def _crowd(times: list[float]) -> int:
    """Most of these moments that are within `STORM_SECONDS`."""
    return max((sum(start <= at < start + STORM_SECONDS for at in times) for start in times), default=0)


@rule(
    7,
    "must",
    "A lane whose answer was given up is not free: take another lane or another connection.",
)
def leaves_what_is_poisoned(observed: Observed) -> str:
    """It asks nothing where an answer that it has given up may still come."""
    return "; ".join(dict.fromkeys(observed.seen.reused))


@rule(
    8,
    "should",
    "Reconnect and ask again where nothing has been done yet; fall back to HTTP where the upgrade is "
    "refused; say the conversation in full where the server has forgotten it.",
)
def finishes(observed: Observed) -> str:
    """It finishes its task where that can do no harm."""
    return "" if observed.finished and observed.ran.exit_code == 0 else f"it {observed.outcome}"


@rule(
    9,
    "must",
    "Let tools live in the scope of their run, cancel them with it, and wait for their end before saying "
    "that it is over.",
)
def tools_end_with_their_run(observed: Observed) -> str:
    """When it says that its run is cancelled, no tool of it runs any more, and none begins later."""
    said = next((line.at for line in observed.ran.lines if line.text.strip() == CANCELLED), None)
    if said is None:
        return "it never said that its run was cancelled"
    later = [run.page for run in observed.tool if run.ended is None or run.ended > said + AT_ONCE]
    if not later:
        return ""
    pages = ", ".join(map(str, later))
    return f"tools were running after it said that its run was cancelled (page {pages})"


@rule(
    10,
    "should",
    "Give each task a lane (`stream_id`) or a connection of its own.",
)
def works_side_by_side(observed: Observed) -> str:
    """Tasks side by side do not wait for one another."""
    peak = observed.seen.peak
    return "" if peak > 1 else "its tasks waited for one another: the server never had more than one turn to answer"


@rule(
    11,
    "must",
    "Ignore events and members that are not known, answer pings, take fragments and any size; open "
    "another connection where the 60 minutes are over, and say the conversation in full where it was "
    "forgotten.",
)
def takes_what_is_legal(observed: Observed) -> str:
    """A server that keeps the rules is enough for it: it finishes its task."""
    return finishes(observed)
