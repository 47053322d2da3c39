"""A run ends in bounded time whatever the server does, keeps what it has, and tells what it means."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentwire.testing.conformance import CASES, Case, CaseFailed, Peer, run_case
from agentwire.testing.conformance.campaign import HURRY, Campaign
from agentwire.testing.conformance.process import NotStarted
from agentwire.testing.conformance.reporting import level_of, row_of
from agentwire.testing.conformance.rules import RULES
from agentwire.testing.conformance.runner import Result
from agentwire.testing.conformance.turns import NotShown, about, check
from agentwire.testing.conformance.wire import Closed
from agentwire.transport.dial import ConnectFailed
from tests.conformance.kit import in_memory

Body = Callable[[Peer], Awaitable[None]]


def case(number: int, body: Body, *rules: str) -> Case:
    return Case(f"AWC-{number:03}", f"case{number}", rules or ("AW-H-001",), body, (), frozenset(("openai",)))


async def passes(peer: Peer) -> None:
    """Nothing."""
    await trio.lowlevel.checkpoint()


async def waits(peer: Peer) -> None:
    """Wait."""
    await trio.sleep_forever()


async def fails(peer: Peer) -> None:
    """Fail."""
    await trio.lowlevel.checkpoint()
    raise CaseFailed(f"it said {peer.key}", "AW-H-002")


async def cannot_connect(peer: Peer) -> None:
    """Connect."""
    await trio.lowlevel.checkpoint()
    raise ConnectFailed("localhost:80", "connection refused")


async def never() -> trio.abc.Stream:
    await trio.sleep_forever()


def many(body: Body, count: int = 20) -> list[Case]:
    return [case(number, body) for number in range(1, count + 1)]


async def test_results_are_told_as_they_come(autojump_clock: MockClock) -> None:
    seen: list[str] = []
    campaign = Campaign(
        Peer("http://localhost/v1", model="m", key="sk-secret"),
        [case(1, passes), case(2, fails)],
        begin=lambda case: seen.append(case.number),
        tell=lambda result: seen.append(result.verdict),
    )
    await campaign.run()
    assert seen == ["AWC-001", "passed", "AWC-002", "failed"]
    report = campaign.report(options={"timeout": "5"}, found=["it answers"])
    assert report.complete
    assert (report.kind, report.subject, report.profile) == ("server", "http://localhost/v1", "openai")
    assert [row.verdict for row in report.rows] == ["passed", "failed"]
    assert report.rows[1].why == "it said [key]"
    assert (report.options, report.found) == ({"timeout": "5"}, ("it answers",))


async def test_a_server_that_falls_silent_is_given_up(autojump_clock: MockClock) -> None:
    async with in_memory("openai") as peer:
        silent = attrs.evolve(peer, dial=never)
        campaign = Campaign(silent, many(waits), timeout=10)
        await campaign.run()
    assert len(campaign.results) == 3
    assert "did not answer any more after AWC-003" in campaign.stopped
    assert not campaign.report().complete
    assert campaign.stopped in campaign.report().found[-1]


class Revivable:
    """A process whose server answers only after it was started again."""

    def __init__(self, dial: Callable[[], Awaitable[trio.abc.Stream]], *, starts: bool = True) -> None:
        self.running = True
        self.deeds: list[str] = []
        self._dial = dial
        self._starts = starts

    async def dial(self) -> trio.abc.Stream:
        return await (self._dial() if "start" in self.deeds else never())

    async def kill(self) -> None:
        await trio.lowlevel.checkpoint()
        self.running = False
        self.deeds.append("kill")

    async def start(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.running:
            return
        if not self._starts:
            raise NotStarted("it ended before it listened")
        self.running = True
        self.deeds.append("start")


async def test_a_server_that_never_starts_again_is_not_asked_for_every_case(autojump_clock: MockClock) -> None:
    async def restarts(peer: Peer) -> None:
        assert peer.process is not None
        await peer.process.kill()
        await peer.process.start()

    async with in_memory("openai") as peer:
        assert peer.dial is not None
        process: Any = Revivable(peer.dial, starts=False)
        campaign = Campaign(attrs.evolve(peer, dial=process.dial, process=process), many(restarts, 9), timeout=10)
        await campaign.run()
    assert len(campaign.results) == 1
    assert not campaign.report().complete


@pytest.mark.parametrize("starts", [True, False])
async def test_a_server_of_the_run_that_falls_silent_is_started_again(autojump_clock: MockClock, starts: bool) -> None:
    async with in_memory("openai") as peer:
        assert peer.dial is not None
        process: Any = Revivable(peer.dial, starts=starts)
        silent = attrs.evolve(peer, dial=process.dial, process=process)
        campaign = Campaign(silent, [*many(waits, 3), case(4, passes)], timeout=10)
        await campaign.run()
    assert process.deeds == (["kill", "start"] if starts else ["kill"])
    assert campaign.revived == (["AWC-003"] if starts else [])
    assert campaign.report().complete == starts
    assert "after AWC-003" in campaign.report().found[-1]


async def test_a_server_that_answers_otherwise_goes_on(autojump_clock: MockClock) -> None:
    async with in_memory("openai") as peer:
        campaign = Campaign(peer, many(waits, 7), timeout=10)
        await campaign.run()
    assert len(campaign.results) == 7
    assert campaign.timeout == 10


async def test_a_server_that_answers_over_http_alone_is_not_waited_for_long(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_memory("openai") as peer:
        monkeypatch.setattr(Campaign, "_turn", waits)
        campaign = Campaign(peer, many(waits, 7), timeout=60)
        await campaign.run()
    assert len(campaign.results) == 7
    assert campaign.timeout == HURRY


async def test_a_server_that_is_gone_is_given_up_at_once(autojump_clock: MockClock) -> None:
    async def refuse() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise ConnectFailed("localhost:80", "connection refused")

    campaign = Campaign(Peer("http://localhost/v1", model="m", dial=refuse), many(cannot_connect))
    await campaign.run()
    assert len(campaign.results) == 1
    assert campaign.results[0].gone


async def test_the_whole_run_has_its_time(autojump_clock: MockClock) -> None:
    async with in_memory("openai") as peer:
        campaign = Campaign(peer, many(waits), timeout=10, deadline=25)
        await campaign.run()
    assert len(campaign.results) == 2
    assert "25 s, was over" in campaign.stopped


async def test_cancelling_keeps_what_is_known(autojump_clock: MockClock) -> None:
    campaign = Campaign(Peer("http://localhost/v1", model="m"), [case(1, passes), case(2, waits)])
    with trio.move_on_after(5) as scope:
        await campaign.run()
    assert scope.cancelled_caught
    report = campaign.report()
    assert [row.number for row in report.rows] == ["AWC-001"]
    assert not report.complete
    assert report.seconds == pytest.approx(5)


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [("AW-H-001", "failed"), ("AW-H-005", "fell short"), ("AW-S-010", "differs"), (None, "failed")],
)
def test_a_failure_is_called_by_the_level_of_its_rule(rule: str | None, verdict: str) -> None:
    one = case(1, passes, "AW-S-010", "AW-H-005", "AW-H-001")
    row = row_of(Result(one, "failed", "so it is", rule=rule), "openai")
    assert row.verdict == verdict
    assert row.broken == ((rule,) if rule else ())
    assert level_of(one, "openai") == "must"
    assert row.rules[2].sources[0].startswith("OpenAI")


def test_what_open_responses_alone_demands_does_not_bind_in_the_other_dialect() -> None:
    one = case(1, passes, "AW-V-003")
    result = Result(one, "failed", "the stream has no [DONE]", rule="AW-V-003")
    assert row_of(result, "open-responses").verdict == "failed"
    row = row_of(result, "openai")
    assert (row.verdict, row.rules[0].level) == ("fell short", "should")


def test_a_rule_of_another_dialect_makes_no_failure_worse() -> None:
    one = case(1, passes, "AW-S-010", "AW-E-014")
    assert level_of(one, "openai") == "choice"
    assert level_of(one, "open-responses") == "must"


def test_what_is_our_choice_binds_nobody() -> None:
    binding = {rule.id for rule in RULES.values() if rule.level == "must" and "ours" in rule.sources}
    assert binding == {"AW-N-032"}  # of which RFC 6455 has the one half, and the other goes without saying


async def closes_early(peer: Peer) -> None:
    """The connection ends where one rule is looked at."""
    await trio.lowlevel.checkpoint()
    with about("AW-S-010"):
        raise Closed(1008, "")


async def says_nothing(peer: Peer) -> None:
    """Nothing comes where one rule is looked at."""
    with about("AW-S-010"):
        await trio.sleep_forever()


@pytest.mark.parametrize("body", [closes_early, says_nothing])
async def test_a_rule_that_is_looked_at_is_the_one_that_is_broken(autojump_clock: MockClock, body: Body) -> None:
    peer = Peer("http://127.0.0.1:1/v1", model="any")
    one = case(1, body, "AW-E-004", "AW-S-010")
    result = await run_case(peer, one, timeout=5)
    assert (result.verdict, result.rule) == ("failed", "AW-S-010")
    assert (await run_case(peer, case(2, waits, "AW-E-004", "AW-S-010"), timeout=5)).rule is None


def test_rules_of_another_dialect_are_not_told() -> None:
    lanes = CASES["lane_names_are_checked"]
    assert row_of(Result(lanes, "passed"), "openai").rules
    assert not row_of(Result(lanes, "not applicable"), "open-responses").rules


def test_much_evidence_is_shortened() -> None:
    lines = tuple(f"line {number}" for number in range(400))
    row = row_of(Result(case(1, passes), "failed", evidence=lines), "openai")
    assert len(row.evidence) == 121
    assert (row.evidence[0], row.evidence[-1]) == ("line 0", "line 399")
    assert "280 lines" in row.evidence[30]


async def test_what_fails_in_a_block_breaks_its_rule() -> None:
    async def body(peer: Peer) -> None:
        await trio.lowlevel.checkpoint()
        with about("AW-H-005"):
            check(peer.model != "a", "it is a")
            check(peer.model != "b", "it is b", "AW-H-006")

    for model, rule in (("a", "AW-H-005"), ("b", "AW-H-006")):
        result = await run_case(Peer("http://localhost/v1", model=model), case(1, body))
        assert (result.rule, result.why) == (rule, f"it is {model}")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("id"), "what it said lacks the member 'id'"),
        (json.JSONDecodeError("no", "x", 0), "what it said is no JSON: no: line 1 column 1 (char 0)"),
        (TypeError("it is None"), "what it said has another shape than it must have (TypeError: it is None)"),
        (AssertionError(), "it is not so"),
        (Closed(1006, "reset"), "the connection was closed with 1006 reset"),
        (trio.BrokenResourceError("gone"), "the connection broke: gone"),
        (ValueError("odd"), "ValueError: odd"),
    ],
)
async def test_whatever_goes_wrong_is_told_to_a_person(error: Exception, said: str) -> None:
    async def body(peer: Peer) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    assert (await run_case(Peer("http://localhost/v1", model="m"), case(1, body))).why == said


async def test_a_case_that_came_to_nothing_does_not_apply() -> None:
    async def body(peer: Peer) -> None:
        await trio.lowlevel.checkpoint()
        raise NotShown("the model is too quick")

    result = await run_case(Peer("http://localhost/v1", model="m"), case(1, body))
    assert (result.verdict, result.why) == ("not applicable", "the model is too quick")
