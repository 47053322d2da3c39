"""The same rollout over five ways to reach the same engine, across the same links: what each one costs, measured.

Every way goes through a relay of its own, which counts bytes, connections and round trips; the time runs from before
the connect until the last answer is complete. Rounds are interleaved, and the median of a way's rounds is its time.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

import attrs
import trio

from agentwire.cli.demo.rollout import Rollout, over_http, over_wire
from agentwire.cli.demo.survey import TASK
from agentwire.cli.demo.view import View
from agentwire.cli.demo.watch import Watch
from agentwire.cli.demo.workspace import Workspace
from agentwire.engines.builtin import builtin
from agentwire.server import Server, serve
from agentwire.testing.relay import Relay, RelayStatistics, open_relay

__all__ = ["BASELINES", "WAYS", "Comparison", "Figure", "LinkModel", "compare"]

THINK: Final = 0.02
"""Seconds that each engine step waits in place of a model."""


@attrs.frozen(kw_only=True)
class LinkModel:
    """A link between client and server; no TLS, no slow start, no loss; a connect costs one round trip.

    Attributes:
        rtt: round-trip time in seconds.
        bits: bandwidth in each direction, bits a second.
    """

    rtt: float
    bits: float = math.inf

    def __str__(self) -> str:
        rate = "any bandwidth" if math.isinf(self.bits) else f"{self.bits / 1e6:g} Mbit/s"
        return f"round trip {self.rtt * 1000:g} ms, {rate}"


@attrs.frozen
class Way:
    """One way to reach the engine, and what the table calls it."""

    name: str
    run: Callable[[str, str, Sequence[Callable[..., object]], Callable[[], None]], Awaitable[Rollout]]
    server_tools: bool = False


WAYS: Final[Mapping[str, Way]] = {
    "http_new": Way("HTTP, new connection each turn", partial(over_http, keep_alive=False, full_history=True)),
    "http_kept": Way("HTTP keep-alive, full history", partial(over_http, keep_alive=True, full_history=True)),
    "http_kept_id": Way("HTTP keep-alive, previous id", partial(over_http, keep_alive=True, full_history=False)),
    "websocket": Way("WebSocket", over_wire),
    "websocket_tools": Way("WebSocket, tools at the server", over_wire, server_tools=True),
}
"""What is compared, in the order of the table."""

BASELINES: Final = ("http_new", "http_kept_id")
"""Against which savings are told: the usual way, and the best that HTTP can do."""


@attrs.frozen(kw_only=True)
class Figure:
    """One line of the table: one way across one link.

    Attributes:
        way: key in `WAYS`.
        link: the link.
        seconds: the median of all rounds.
        rounds: each round's seconds.
        traffic: what the relay counted in the last round.
        turns: responses.
        steps: engine steps, each of which waited `THINK`.
        calls: tool calls.
    """

    way: str
    link: LinkModel
    seconds: float
    rounds: tuple[float, ...]
    traffic: RelayStatistics
    turns: int
    steps: int
    calls: int

    def at(self, think: float) -> float:
        """Seconds that the same rollout would take with a model that needs ``think`` seconds a step: reckoned."""
        return self.seconds + self.steps * (think - THINK)


@attrs.frozen(kw_only=True)
class Comparison:
    """The whole table.

    Attributes:
        links: the links, in order.
        figures: by link and way.
        same_answer: whether all ways ended in the same report, word for word.
    """

    links: tuple[LinkModel, ...]
    figures: Mapping[tuple[LinkModel, str], Figure]
    same_answer: bool

    def saved(self, link: LinkModel, way: str, baseline: str, *, think: float = THINK) -> float:
        """The part of the baseline's time that a way does not need, 0.25 for a quarter; negative if it needs more."""
        return 1 - self.figures[link, way].at(think) / self.figures[link, baseline].at(think)


@attrs.frozen
class _Sample:
    seconds: float
    traffic: RelayStatistics
    rollout: Rollout
    steps: int


async def compare(
    workspace: Workspace, view: View, links: Sequence[LinkModel], *, rounds: int, seconds: float
) -> Comparison:
    """Run the rollout over every way and link, and measure; starts servers of its own.

    Args:
        workspace: what the tools work on.
        view: shows how far it is.
        links: the links to measure.
        rounds: how often, at most.
        seconds: no further round begins that would probably end after this time.
    """
    began = trio.current_time()
    samples: dict[tuple[LinkModel, str], list[_Sample]] = {(link, way): [] for link in links for way in WAYS}
    async with trio.open_nursery() as nursery:
        watch = Watch()
        engine = watch.engine(builtin(), think=THINK)
        plain: Server = await nursery.start(serve, engine)
        equipped: Server = await nursery.start(partial(serve, engine, tools=workspace.tools))
        for number in range(rounds):
            spent = trio.current_time() - began
            if number and spent + spent / number > seconds:
                break
            for (link, key), measured in samples.items():
                way = WAYS[key]
                server = equipped if way.server_tools else plain
                with view.status(f"{way.name}; {link} (round {number + 1})"):
                    measured.append(await _measure(way, server, workspace, link, watch))
        nursery.cancel_scope.cancel(reason="the comparison is done")
    answers = {sample.rollout.text for measured in samples.values() for sample in measured}
    figures = {key: _figure(key, measured) for key, measured in samples.items()}
    return Comparison(links=tuple(links), figures=figures, same_answer=len(answers) == 1)


async def _measure(way: Way, server: Server, workspace: Workspace, link: LinkModel, watch: Watch) -> _Sample:
    assert server.port is not None
    before = len(watch.seen)
    async with open_relay("127.0.0.1", server.port, rtt=link.rtt, bandwidth=link.bits / 8) as relay:
        clock = _Stopwatch(relay, trio.current_time())
        tools = () if way.server_tools else workspace.tools
        rollout = await way.run(relay.through(server.http_url), TASK, tools, clock.stop)
    assert clock.traffic is not None
    return _Sample(clock.ended - clock.began, clock.traffic, rollout, len(watch.seen) - before)


@attrs.define
class _Stopwatch:
    """The time and the traffic at the moment of the last answer; what closing costs is nobody's wait."""

    relay: Relay
    began: float
    ended: float = math.nan
    traffic: RelayStatistics | None = None

    def stop(self) -> None:
        """The last answer is complete."""
        self.ended = trio.current_time()
        self.traffic = self.relay.statistics()


def _figure(key: tuple[LinkModel, str], samples: Sequence[_Sample]) -> Figure:
    link, way = key
    last = samples[-1]
    return Figure(
        way=way,
        link=link,
        seconds=statistics.median(sample.seconds for sample in samples),
        rounds=tuple(sample.seconds for sample in samples),
        traffic=last.traffic,
        turns=last.rollout.turns,
        steps=last.steps,
        calls=last.rollout.calls,
    )
