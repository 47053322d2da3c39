"""Figures in words: less, more, reckoned; from figures that are made up here."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from agentwire.cli.demo.compare import THINK, WAYS, Comparison, Figure, LinkModel
from agentwire.cli.demo.view import View
from agentwire.cli.demo.words import conclusion, show_comparison
from agentwire.testing.relay import RelayStatistics

FAR = LinkModel(rtt=0.04, bits=20e6)
SECONDS = {"http_new": 2.0, "http_kept": 1.5, "http_kept_id": 1.0, "websocket": 1.1, "websocket_tools": 0.5}
STEPS = 10


def comparison(seconds: dict[str, float]) -> Comparison:
    traffic = RelayStatistics(connections=1, open=0, bytes_up=1_500_000, bytes_down=900, exchanges=11)
    figures = {
        (FAR, way): Figure(
            way=way,
            link=FAR,
            seconds=seconds[way],
            rounds=(seconds[way],),
            traffic=traffic,
            turns=STEPS,
            steps=STEPS,
            calls=23,
        )
        for way in WAYS
    }
    return Comparison(links=(FAR,), figures=figures, same_answer=True)


def test_savings() -> None:
    found = comparison(SECONDS)
    assert found.saved(FAR, "websocket", "http_new") == pytest.approx(0.45)
    assert found.saved(FAR, "websocket", "http_kept_id") == pytest.approx(-0.1)
    slower = found.saved(FAR, "websocket_tools", "http_kept_id", think=THINK + 1)
    assert slower == pytest.approx(1 - 10.5 / 11)


def test_the_sentence_says_less_and_more_as_it_was() -> None:
    said = conclusion(comparison(SECONDS))
    assert "took 45 % less time than a new connection" in said
    assert "Against keep-alive with previous_response_id it took 10 % more time" in said
    assert "it took 50 % less time" in said
    assert "8 % less time, 1 % more time and 5 % less time" in said
    assert "-" not in said.replace("keep-alive", "")


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_fits_a_terminal(width: int) -> None:
    screen = StringIO()
    show_comparison(comparison(SECONDS), View(Console(file=screen, width=width, color_system=None)))
    lines = screen.getvalue().splitlines()
    start = lines.index("round trip 40 ms, 20 Mbit/s")
    table = [line.rstrip() for line in lines[start + 1 : start + 7]]
    for line, way in zip(table[1:], WAYS.values(), strict=True):
        assert line.startswith(way.name)
    assert table[4].split()[1:] == ["1.10", "s", "45", "%", "-10", "%", "1.50", "MB", "1", "kB", "1", "12"]
    assert max(map(len, table)) <= 80
