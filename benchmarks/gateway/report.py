"""What is printed: medians, and beside each bar the median of every round's ratio."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

Figures = dict[str, list[float]]

PEER, SLOW_PEER = "agentic-api", "litellm managed"
BARS = (
    # measure, beside whom, at most
    ("burst", PEER, 1.5),
    ("paced", PEER, 1.5),
    ("paced, in step", PEER, 1.5),
    ("burst", SLOW_PEER, 0.2),
    ("paced", SLOW_PEER, 0.2),
    ("paced, in step", SLOW_PEER, 0.2),
    ("turn, not stored, p50", PEER, 1.2),
    ("turn, not stored, p90", PEER, 1.2),
    ("turn, stored, p50", PEER, 1.2),
    ("turn, stored, p90", PEER, 1.2),
)
CHAIN_BAR = 1.5
FLOOR = "bare Trio relay"
FLOORS = ("paced", "paced, in step", "turn, not stored, p50")


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Median of the ratios of each round."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def bars(figures: dict[str, Figures]) -> Iterator[tuple[str, str, float, float]]:
    """Gateway, what is compared, the ratio, the bar."""
    for name in figures:
        if not name.startswith("agentwire"):
            continue
        for measure, peer, most in BARS:
            if peer in figures:
                yield name, f"{measure} / {peer}'s", ratio(figures[name][measure], figures[peer][measure]), most
        for kind in ("not stored", "stored"):
            first, last = (figures[name][f"chain, {kind}, {at}"] for at in ("first", "last"))
            yield name, f"turn 200 / turn 1 of a chain, {kind}", ratio(last, first), CHAIN_BAR


def floors(figures: dict[str, Figures]) -> Iterator[tuple[str, str, float, float]]:
    """The bars, measured by what a relay that does nothing but pass events on needs on the same machine."""
    for measure, peer, most in BARS:
        if measure in FLOORS and FLOOR in figures and peer in figures:
            yield FLOOR, f"{measure} / {peer}'s", ratio(figures[FLOOR][measure], figures[peer][measure]), most


def show(figures: dict[str, Figures]) -> None:
    """Print it."""
    width = max(map(len, figures))
    for measure in next(iter(figures.values())):
        print(f"\n{measure}: {'MB' if measure == 'memory' else 'us'}")
        for name, values in figures.items():
            got = values[measure]
            print(f"  {name:{width}} {statistics.median(got):10.1f}   ({min(got):.1f} to {max(got):.1f})")
    print("\nbars")
    for name, what, times, most in (*bars(figures), *floors(figures)):
        print(f"  {name:{width}} {what:45} {times:6.2f}   at most {most}   {'met' if times <= most else 'MISSED'}")
