"""Two of our wires, and Hypothesis: anything may be said, at any time, by both, and the link may do anything."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import hypothesis
import pytest
import trio
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.limits import Limits
from agentwire.testing import Fault, Network, network
from agentwire.testing.faults import SIDES, Side
from agentwire.testing.machine import TrioMachine
from tests.transport.wires import Ours, client_wire, server_wire

LIMITS = Limits(close_grace=5, write_progress=10, handshake=10)
LONGEST = LIMITS.close_grace + LIMITS.write_progress
SLOWEST = 250  # bytes a second of the slowest link: 50 at a time, which take 0.1 s to arrive and leave room
SETTINGS = hypothesis.settings(max_examples=60, stateful_step_count=25, deadline=None)

sides = st.sampled_from(SIDES)
moments = st.sampled_from([0.0, 0.01, 1.0, 7.0])


class Wires(TrioMachine):
    """A client and a server that send each other numbered messages."""

    def __init__(self) -> None:
        super().__init__()
        self.net: Network | None = None
        self.ours: dict[Side, Ours] = {}
        self.sent: dict[Side, list[bytes]] = {"client": [], "server": []}
        self.heard: dict[Side, list[bytes]] = {"client": [], "server": []}
        self.over: dict[Side, trio.Event] = {}
        self.closing = False
        self.broken = False
        self.polite = True

    @initialize(latency=st.sampled_from([0.0, 0.1]), capacity=st.sampled_from([50, 5000, 65536]))
    def open(self, latency: float, capacity: int) -> None:
        self.net = network(latency=latency, capacity=capacity)
        self.polite = not latency
        client, server = self.net.pair()
        self.over = {side: self.run_async(_event) for side in SIDES}
        self.spawn(self._live, "server", server_wire(server, LIMITS))
        self.spawn(self._live, "client", client_wire(client, LIMITS))
        self.advance(1)
        assert set(self.ours) == set(SIDES)

    async def _live(self, side: Side, opening: AbstractAsyncContextManager[Ours]) -> None:
        async with opening as ours:
            self.ours[side] = ours
            try:
                while True:
                    self.heard[side].append(await ours.wire.receive())
            except ConnectionEnded as end:
                if end.received is not None and end.sent is None:
                    await ours.wire.close(end.received.code)
        self.over[side].set()

    @rule(side=sides, sizes=st.lists(st.sampled_from([0, 10, 200, 70_000]), min_size=1, max_size=4))
    def post(self, side: Side, sizes: list[int]) -> None:
        messages = [b"%d:" % (len(self.sent[side]) + number) + bytes(size) for number, size in enumerate(sizes)]
        self.sent[side] += messages
        self.ours[side].post(*messages)

    @rule(side=sides)
    def ping(self, side: Side) -> None:
        self.ours[side].wire.ping()

    @rule(seconds=moments)
    def wait(self, seconds: float) -> None:
        self.advance(seconds)

    @precondition(lambda self: not self.broken)
    @rule(kind=st.sampled_from(["cut", "reset", "half_close", "stall"]), side=sides)
    def break_it(self, kind: str, side: Side) -> None:
        assert self.net is not None
        self.broken, self.polite = True, False
        self.net.arm(Fault(kind, side))  # type: ignore[arg-type]

    @rule(side=sides, seconds=st.sampled_from([1.0, 6.0]))
    def stall(self, side: Side, seconds: float) -> None:
        assert self.net is not None
        self.polite = False
        self.net.arm(Fault("stall", side, seconds=seconds))

    @rule(side=sides, code=st.sampled_from([1000, 1012]))
    def close(self, side: Side, code: int) -> None:
        self.closing = True
        self.spawn(self.ours[side].wire.close, code, "enough")

    @rule(side=sides)
    def abort(self, side: Side) -> None:
        self.closing, self.polite = True, False
        self.run_async(self.ours[side].wire.abort, "enough of this")

    @invariant()
    def nothing_is_lost_doubled_or_mixed_up(self) -> None:
        for side, sender in zip(SIDES, reversed(SIDES), strict=True):
            heard = self.heard[side]
            assert heard == self.sent[sender][: len(heard)]

    def teardown(self) -> None:
        try:
            if self.ours and (self.broken or self.closing):
                self._end()
            elif self.ours:
                self.advance(100 + sum(map(len, self.sent["client"] + self.sent["server"])) / SLOWEST)
                for side, sender in zip(SIDES, reversed(SIDES), strict=True):
                    assert self.heard[side] == self.sent[sender], "without an end, everything arrives"
        finally:
            super().teardown()

    def _end(self) -> None:
        """Both sides come to their end, in time; nobody's close frame is lost on a link that works."""
        if self.broken:
            for side in SIDES:
                self.spawn(self.ours[side].wire.close, 1000)
        self.advance(2 * LONGEST)
        for side in SIDES:
            assert self.over[side].is_set(), f"the {side} has not ended"
            end = self.ours[side].wire.ended
            assert end is not None
            assert end.received is not None or not self.polite, str(end)


async def _event() -> trio.Event:
    return trio.Event()


def test_two_wires_keep_their_promises() -> None:
    run_state_machine_as_test(Wires, settings=SETTINGS)


@pytest.mark.parametrize("_attempt", range(8))  # the order of tasks is left to chance
def test_both_say_goodbye_at_once_and_hear_each_other(_attempt: int) -> None:
    wires = Wires()
    wires.open(latency=0.0, capacity=50)
    wires.close(side="client", code=1000)
    wires.ping(side="client")
    wires.close(side="server", code=1000)
    wires.teardown()
