"""What happens to everybody: the network breaks, time passes, servers drain and die."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from agentwire.testing.faults import SIDES, Fault, Kind, Side
from agentwire.testing.lifecycle.base import PAUSES, LifecycleBase
from agentwire.testing.lifecycle.world import HOLDERS, TALKERS

__all__ = ["FateMoves"]

_KINDS: Final[tuple[Kind, ...]] = ("cut", "reset", "half_close", "stall", "slow", "split", "merge")


class FateMoves(LifecycleBase):
    """What nobody asks for."""

    @precondition(lambda self: self.world.net.links)
    @rule(client=st.sampled_from([*TALKERS, *HOLDERS]), kind=st.sampled_from(_KINDS), side=st.sampled_from(SIDES),
          frames=st.sampled_from([None, 0, 1, 3]), middle=st.booleans(), seconds=st.sampled_from([1.0, 20.0, 100.0]),
          then=PAUSES)  # fmt: skip
    def hurt(
        self,
        *,
        client: str,
        kind: Kind,
        side: Side,
        frames: int | None,
        middle: bool,
        seconds: float,
        then: float | None,
    ) -> None:
        """Something goes wrong on a client's latest connection, now or so many frames later."""
        links = self._links(client)
        at = None if frames is None else self.world.net.trace.frames(side, links[-1]) + frames
        fault = Fault(kind, side, at_frame=at, middle=middle and at is not None, connection=links[-1],
                      seconds=seconds, size=100, rate=5000.0)  # fmt: skip
        self._note(f"the network: {fault}")
        self.world.net.arm(fault)
        self._after(then)

    def _links(self, name: str) -> list[int]:
        """The connections of a client, of the one that is named if it has any."""
        links = {one.name: one.raw.links for one in self.world.talkers.values()}
        links |= {one.name: one.links for one in self.world.holders.values()}
        found = {key: value for key, value in links.items() if value}
        client = name if name in found else next(iter(found))
        if client in self.world.holders:
            self.world.holders[client].disturb()
            self.world.holders[client].hurt.add(found[client][-1])
        return found[client]

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 25.0, 70.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self._after(seconds)

    @precondition(lambda self: not self.world.draining)
    @rule(gap=st.sampled_from([0.0, 5.0, 40.0]), then=PAUSES)
    def drain(self, gap: float, then: float | None) -> None:
        """The server shuts down in good order, and the next one starts so long after it."""
        self._note(f"the server drains; another one starts {gap:g} s after it")
        self.world.draining = True
        self.spawn(self.world.drain, gap)
        self._after(then)

    @precondition(lambda self: not self.world.draining)
    @rule(gap=st.sampled_from([0.0, 5.0]), then=PAUSES)
    def kill(self, gap: float, then: float | None) -> None:
        """The server dies, and another one starts."""
        self._note(f"the server dies; another one starts {gap:g} s later")
        self.world.draining = True
        self.spawn(self.world.kill, gap)
        self._after(then)
