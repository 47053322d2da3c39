"""A fault says what, where and how, and refuses what makes no sense."""

from __future__ import annotations

from typing import Any

import pytest

from agentwire.testing.faults import Fault


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (Fault("cut"), "cut server at once (connection 0)"),
        (Fault("cut", "client", at_byte=7), "cut client at byte 7 (connection 0)"),
        (Fault("reset", at_frame=3), "reset server before frame 3 (connection 0)"),
        (Fault("reset", at_frame=3, middle=True, connection=2), "reset server in frame 3 (connection 2)"),
        (Fault("half_close", "client", at_time=1.5), "half_close client at 1.5 s (connection 0)"),
        (Fault("stall", at_byte=0), "stall server at byte 0 (connection 0)"),
        (Fault("stall", seconds=2), "stall 2 s server at once (connection 0)"),
        (Fault("slow", rate=1000, connection=None), "slow 1000 B/s server at once (every connection)"),
        (Fault("split", size=1), "split 1 B server at once (connection 0)"),
        (Fault("merge", size=9, seconds=0.5), "merge 9 B 0.5 s server at once (connection 0)"),
        (Fault("duplicate"), "duplicate client before frame 0 (connection 0)"),
        (Fault("duplicate", at_byte=9, seconds=5), "duplicate 5 s server at byte 9 (connection 0)"),
    ],
)
def test_a_fault_is_one_line(fault: Fault, line: str) -> None:
    assert str(fault) == line
    assert eval(repr(fault), {"Fault": Fault, "inf": float("inf")}) == fault


def test_a_fault_has_one_position() -> None:
    with pytest.raises(ValueError, match="one position"):
        Fault("cut", at_byte=1, at_time=2)
    with pytest.raises(ValueError, match="goes with at_frame"):
        Fault("cut", middle=True, at_byte=1)


def make(*args: Any, **fields: Any) -> Fault:
    return Fault(*args, **fields)


@pytest.mark.parametrize("name", ["at_byte", "at_frame", "at_time"])
def test_positions_are_not_negative(name: str) -> None:
    with pytest.raises(ValueError, match=f"Fault.{name} must be at least 0, not -1"):
        make("cut", **{name: -1})


@pytest.mark.parametrize("name", ["seconds", "size", "rate"])
def test_measures_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"Fault.{name} must be greater than 0"):
        make("stall", **{name: 0})


def test_kinds_and_sides_are_known() -> None:
    with pytest.raises(ValueError, match="kind"):
        Fault("explode")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="side"):
        Fault("cut", "proxy")  # type: ignore[arg-type]
