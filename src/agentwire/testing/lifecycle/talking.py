"""The moves of clients on the plain wire: they ask, fork, steer, cancel, warm up, vanish, and come back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Literal, get_args

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from agentwire.testing.faults import Fault
from agentwire.testing.lifecycle.base import PAUSES, LifecycleBase, tasks
from agentwire.testing.lifecycle.talker import ABOUT, About, Talker
from agentwire.testing.lifecycle.world import TALKERS

__all__ = ["TalkerMoves"]

CLIENTS: Final = st.sampled_from(TALKERS)
LANES: Final = st.sampled_from([None, "a", "b"])

Meanwhile = Literal["nothing", "steer", "steer twice", "cancel", "ask ahead", "ask and fork", "vanish"]
MEANWHILE: Final[tuple[Meanwhile, ...]] = get_args(Meanwhile)
"""What may happen while a response runs."""


class TalkerMoves(LifecycleBase):
    """What clients on the plain wire do."""

    def _talker(self, name: str) -> Talker:
        """A client on the plain wire, connected, unless its session waits for it to come back."""
        talker = self.world.talker(self.talkers[TALKERS.index(name) % len(self.talkers)])
        if talker.raw.closed is not None and (talker.raw.progress is None or talker.raw.progress.token is None):
            self._connect(talker)
        return talker

    def _connect(self, talker: Talker) -> None:
        self._start(partial(self.world.connect, talker), self.limits.handshake)

    @precondition(lambda self: self.talkers)
    @rule(client=CLIENTS, lane=LANES, about=st.sampled_from(ABOUT), say=tasks(), store=st.booleans(),
          rude=st.sampled_from([False, False, False, True]), then=PAUSES)  # fmt: skip
    def ask(
        self, *, client: str, lane: str | None, about: About, say: str, store: bool, rude: bool, then: float | None
    ) -> None:
        """A request on the plain wire, perhaps one that continues nothing, or leaves calls without an answer."""
        self._ask(self._talker(client), lane, about, say, rude=rude, store=store)
        self._after(then)

    @precondition(lambda self: self.talkers)
    @rule(client=CLIENTS, lane=LANES, say=tasks(), meanwhile=st.sampled_from(MEANWHILE),
          at=st.sampled_from([0.0, 0.3, 1.0, 2.5]), then=PAUSES)  # fmt: skip
    def converse(
        self, *, client: str, lane: str | None, say: str, meanwhile: Meanwhile, at: float, then: float | None
    ) -> None:
        """What a client does most: it continues its conversation, and something comes in between."""
        talker = self._talker(client)
        lane = _talked_on(talker, lane)
        self._ask(talker, lane, "latest", say)
        self._after(at)
        if talker.raw.closed is None:
            self._meanwhile(talker, lane, meanwhile)
        self._after(then)

    def _meanwhile(self, talker: Talker, lane: str | None, what: Meanwhile) -> None:
        match what:
            case "steer":
                self._steer(talker, lane)
            case "steer twice":
                self._steer(talker, lane)
                self._steer(talker, lane)
            case "cancel":
                self._cancel(talker, lane)
            case "ask ahead":
                self._ask(talker, lane, "ahead", "say 1")
            case "ask and fork":
                self._ask(talker, lane, "nothing", "say 1")
                self._ask(talker, "a" if lane is None else None, "fork", "say 1")
            case "vanish":
                self._note(f"{talker.name} vanishes")
                talker.raw.vanish()
            case _:
                pass

    @precondition(lambda self: self.talkers)
    @rule(client=CLIENTS, lane=LANES, rude=st.booleans(), then=PAUSES)
    def insist(self, client: str, lane: str | None, rude: bool, then: float | None) -> None:
        """A continuation fails, or is refused, and the client asks again as if nothing had been."""
        talker = self._talker(client)
        lane = _talked_on(talker, lane)
        if talker.lane(lane).remembered is None:
            self._ask(talker, lane, "nothing", "call look at=1" if rude else "say 1")
            self._after(1.0)
        parent = talker.lane(lane).remembered
        self._ask(talker, lane, "latest", "fail", rude=rude)
        self._after(1.0)
        self._ask(talker, lane, "latest", "say 1", again=parent)
        self._after(then)

    @precondition(lambda self: self.talkers)
    @rule(client=CLIENTS, lane=LANES, about=st.sampled_from(ABOUT[:3]), then=PAUSES)
    def warm_up(self, client: str, lane: str | None, about: About, then: float | None) -> None:
        """A request that runs no model."""
        self._ask(self._talker(client), lane, about, "say 1", generate=False)
        self._after(then)

    def _ask(
        self, talker: Talker, name: str | None, about: About, say: str, again: str | None = None, **how: bool
    ) -> None:
        if talker.raw.closed is not None and not talker.extended:
            return
        lane = talker.lane(name)
        parent = again or self.world.find(talker, lane, about)
        number = self.world.next_number()
        self._note(f"{talker.name} asks {number} on lane {name}: {say!r}, continuing {about} ({parent}) {_told(how)}")
        talker.ask(lane, parent, say, number=number, **how)

    @precondition(lambda self: self._someone(_has_response))
    @rule(client=CLIENTS, lane=LANES, then=PAUSES)
    def steer(self, client: str, lane: str | None, then: float | None) -> None:
        """Tell a lane's latest response something."""
        talker, name = self._pick(client, lane)
        self._steer(talker, name)
        self._after(then)

    def _steer(self, talker: Talker, lane: str | None) -> None:
        latest, text = talker.lane(lane).latest, f"say 1; wait 1; say 1; {self.world.next_number()}"
        if latest is not None:
            self._note(f"{talker.name} steers {latest}: {text!r}")
            talker.steer(latest, text)

    @precondition(lambda self: self._someone(_has_response))
    @rule(client=CLIENTS, lane=LANES, then=PAUSES)
    def cancel(self, client: str, lane: str | None, then: float | None) -> None:
        """Cancel a lane's latest response."""
        talker, name = self._pick(client, lane)
        self._cancel(talker, name)
        self._after(then)

    def _cancel(self, talker: Talker, lane: str | None) -> None:
        latest = talker.lane(lane).latest
        if latest is not None:
            self._note(f"{talker.name} cancels {latest}")
            talker.cancel(latest)

    def _pick(self, name: str, lane: str | None) -> tuple[Talker, str | None]:
        """A lane that has a response, of a client that is connected: the one that is named, or the next best."""
        talkers = [one for one in self.world.talkers.values() if one.raw.closed is None and _has_response(one)]
        talker = next((one for one in talkers if one.name == name), talkers[0])
        lanes = [one for one in talker.lanes.values() if one.latest is not None]
        return talker, next((one for one in lanes if one.name == lane), lanes[0]).name

    def _someone(self, able: Callable[[Talker], bool]) -> bool:
        return any(talker.raw.closed is None and able(talker) for talker in self.world.talkers.values())

    @precondition(lambda self: self._someone(bool))
    @rule(client=CLIENTS, how=st.sampled_from(["goodbye", "away", "gone"]), then=PAUSES)
    def drop(self, client: str, how: str, then: float | None) -> None:
        """A client on the plain wire leaves: for good, to come back perhaps, or without a word."""
        talker = self._connected(client)
        self._note(f"{talker.name} leaves ({how})")
        if how == "gone":
            talker.raw.vanish()
        else:
            talker.raw.leave(1000 if how == "goodbye" else 1001)
        self._after(then)

    def _connected(self, name: str) -> Talker:
        talkers = [talker for talker in self.world.talkers.values() if talker.raw.closed is None]
        return next((one for one in talkers if one.name == name), talkers[0])

    @precondition(lambda self: any(talker.raw.closed is not None for talker in self.world.talkers.values()))
    @rule(then=PAUSES)
    def come_back(self, then: float | None) -> None:
        """Who has lost its connection connects again; with a session, it goes on where it was."""
        for talker in list(self.world.talkers.values()):
            if talker.raw.closed is not None:
                self._note(f"{talker.name} comes back")
                self._connect(talker)
        self._after(then)

    @precondition(lambda self: self._someone(bool))
    @rule(client=CLIENTS, seconds=st.sampled_from([1.0, 10.0, 100.0]))
    def stop_reading(self, client: str, seconds: float) -> None:
        """It reads nothing for a while."""
        talker = self._connected(client)
        self._note(f"{talker.name} reads nothing for {seconds:g} s")
        self.world.net.arm(Fault("stall", "server", seconds=seconds, connection=talker.raw.links[-1]))


def _talked_on(talker: Talker, name: str | None) -> str | None:
    """This lane, unless only another one has something to be continued."""
    lanes = [lane.name for lane in talker.lanes.values() if lane.remembered is not None]
    return name if name in lanes or not lanes else lanes[0]


def _has_response(talker: Talker) -> bool:
    return any(lane.latest is not None for lane in talker.lanes.values())


def _told(how: dict[str, bool]) -> str:
    return " ".join(name for name, value in how.items() if value)
