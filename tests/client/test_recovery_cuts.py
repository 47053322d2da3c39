"""A rollout with a server that has no sessions, cut wherever it can be cut: it is done, and no tool runs twice.

With HYPOTHESIS_PROFILE=campaign at every byte instead of every frame.
"""

from __future__ import annotations

import os
from itertools import islice

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from agentwire.client import RunLost
from agentwire.link import RequestLost
from agentwire.testing import Fault, cut_points, run
from agentwire.testing.faults import SIDES
from tests.client.rollout import Rollout, play

CAMPAIGN = os.environ.get("HYPOTHESIS_PROFILE") == "campaign"


def test_cut_at_any_frame_it_is_done_all_the_same() -> None:
    again = 0
    for number, fault in enumerate(cut_points(Rollout().play, per_byte=CAMPAIGN)):
        fault = attrs.evolve(fault, kind="reset" if number % 3 == 2 else "cut")  # noqa: PLW2901
        rollout = run(play, Rollout(), [fault])
        rollout.check(fault)
        if rollout.error is not None:  # there was no client yet
            assert rollout.run is None, fault
            continue
        assert rollout.run is not None
        again += rollout.run.summary().repeated
    assert again > 10


def test_what_may_not_be_repeated_is_told() -> None:
    seen: set[str] = set()
    for fault in islice(cut_points(Rollout().play), 0, None, 1 if CAMPAIGN else 3):
        rollout = run(play, Rollout(repeat="never"), [fault])
        rollout.check(fault)
        if rollout.run is None:
            continue
        summary = rollout.run.summary()
        assert summary.repeated == 0, fault
        seen.add(f"done, {summary.lost} lost" if rollout.error is None else str(getattr(rollout.error, "fate", "")))
        if rollout.error is not None:
            assert isinstance(rollout.error, RunLost), fault
            assert len(rollout.error.summary.results) == len(rollout.started), fault
    assert {"done, 0 lost", "done, 1 lost", "started", "sent, and its fate is unknown"} == seen


faults = st.builds(
    Fault,
    st.sampled_from(["cut", "reset", "half_close", "stall"]),
    st.sampled_from(SIDES),
    at_frame=st.integers(0, 40),
    middle=st.booleans(),
)


@settings(max_examples=1000 if CAMPAIGN else 40)
@given(st.lists(faults, min_size=2, max_size=3))
def test_cut_three_times_it_is_done_or_told(plan: list[Fault]) -> None:
    placed = [
        Fault(fault.kind, fault.side, at_frame=fault.at_frame, middle=fault.middle, connection=number)
        for number, fault in enumerate(plan)
    ]
    rollout = run(play, Rollout(), placed)
    rollout.check(placed)
    if rollout.run is not None:
        assert not isinstance(rollout.error, RequestLost), placed
