"""The comparison in words and in a table: what was measured, what follows from it, and where it does not hold.

What was reckoned is called so; every other figure was measured in this run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from agentwire.cli.demo.compare import BASELINES, THINK, WAYS, Comparison, Figure, LinkModel
from agentwire.cli.demo.view import View

__all__ = ["conclusion", "model_of_the_link", "show_comparison"]

COLUMNS: Final = (
    ("", False),
    ("time", True),
    ("saved", True),
    ("saved*", True),
    ("up", True),
    ("down", True),
    ("conn.", True),
    ("trips", True),
)
SLOW_MODEL: Final = 1.0
"""Seconds a step of the slower model that savings are reckoned for."""


LINKS: Final = """
Links: a TCP relay on this machine delays each byte by half the round trip, paces to the bandwidth and charges a connect
one round trip. No TLS (which costs each connect one more round trip or two), no slow start, no loss. The same tools and
the same engine everywhere; each step of the engine waits {think} in place of a model.
"""
LEGEND: Final = """
saved: time, against {first}; saved*: against {kept}. conn.: connections. trips: round trips waited for. The first two
send the full history each turn, the next two previous_response_id and what is new, the last one a single request. Each
way: {turns} model turns, {calls} tool calls, median of {rounds}, {answer}.
"""
CONCLUSION: Final = """
With a round trip of {rtt} the WebSocket took {wire_new} than a new connection with the full history each turn: it waits
for {wire_trips} round trips instead of {new_trips}, and sends {wire_up} instead of {new_up}. Against keep-alive with
previous_response_id it took {wire_ids}: the transport alone saves no round trip there ({ids_trips} before, and the
upgrade costs one more). Tools that the server runs save the round trips themselves: {tools_trips} are left, and it took
{tools_ids}; that holds for tools that can run there. All of it shrinks as the model gets slower: with {slow} a step
instead of {think}, the three are reckoned at {slow_wire_new}, {slow_wire_ids} and {slow_tools_ids}.
"""


def _told(template: str, **facts: object) -> str:
    return " ".join(template.format(**facts).split())


def model_of_the_link() -> str:
    """What the links are, and what they leave out."""
    return _told(LINKS, think=_milliseconds(THINK))


def show_comparison(comparison: Comparison, view: View) -> None:
    """The table, and what it says."""
    for link in comparison.links:
        view.line(f"\n{link}", style="bold")
        view.table(COLUMNS, _rows(comparison, link))
    first_way, kept_way = BASELINES
    first, kept = WAYS[first_way].name, WAYS[kept_way].name
    one = comparison.figures[comparison.links[0], kept_way]
    answer = "the same report, word for word" if comparison.same_answer else "different reports"
    legend = _told(LEGEND, first=first, kept=kept, turns=one.turns, calls=one.calls, rounds=_rounds(one), answer=answer)
    view.line(f"\n{legend}", style="dim")
    view.line(f"\n{conclusion(comparison)}")


def _rows(comparison: Comparison, link: LinkModel) -> Iterator[Sequence[str]]:
    first, kept = BASELINES
    for way, about in WAYS.items():
        figure = comparison.figures[link, way]
        yield (
            about.name,
            f"{figure.seconds:.2f} s",
            "" if way == first else _percent(comparison.saved(link, way, first)),
            "" if way in BASELINES else _percent(comparison.saved(link, way, kept)),
            _size(figure.traffic.bytes_up),
            _size(figure.traffic.bytes_down),
            str(figure.traffic.connections),
            str(figure.traffic.round_trips),
        )


def conclusion(comparison: Comparison) -> str:
    """When the gain holds, and when it does not; told of the last link."""
    link = comparison.links[-1]
    first, kept = BASELINES
    new, ids, wire, tools = (comparison.figures[link, way] for way in (first, kept, "websocket", "websocket_tools"))

    def less(figure: Figure, baseline: Figure, think: float = THINK) -> str:
        return _less(comparison.saved(link, figure.way, baseline.way, think=think))

    return _told(
        CONCLUSION,
        rtt=_milliseconds(link.rtt),
        think=_milliseconds(THINK),
        slow=f"{SLOW_MODEL:g} s",
        new_trips=new.traffic.round_trips,
        ids_trips=ids.traffic.round_trips,
        wire_trips=wire.traffic.round_trips,
        tools_trips=tools.traffic.round_trips,
        new_up=_size(new.traffic.bytes_up),
        wire_up=_size(wire.traffic.bytes_up),
        wire_new=less(wire, new),
        wire_ids=less(wire, ids),
        tools_ids=less(tools, ids),
        slow_wire_new=less(wire, new, SLOW_MODEL),
        slow_wire_ids=less(wire, ids, SLOW_MODEL),
        slow_tools_ids=less(tools, ids, SLOW_MODEL),
    )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:g} ms"


def _rounds(figure: Figure) -> str:
    return "1 round" if len(figure.rounds) == 1 else f"{len(figure.rounds)} rounds"


def _less(part: float) -> str:
    percent = round(part * 100)
    return f"{percent} % less time" if percent >= 0 else f"{-percent} % more time"


def _percent(part: float) -> str:
    return f"{round(part * 100)} %"


def _size(size: int) -> str:
    return f"{size / 1000:.0f} kB" if size < 1_000_000 else f"{size / 1_000_000:.2f} MB"
