"""The end of a run of a machine: everything comes to its end, and is held against the rules."""

from __future__ import annotations

import sys
from typing import Final

from agentwire.testing.lifecycle.base import LifecycleBase
from agentwire.testing.lifecycle.oracle import Unexpected
from agentwire.testing.lifecycle.own import Deed, Holder
from agentwire.testing.lifecycle.replay import timeline

__all__ = ["Ending"]

_HEALS: Final = 30.0
_ROUNDS: Final = 60


class Ending(LifecycleBase):
    """Whatever holds of each run."""

    def teardown(self) -> None:
        """Let everything come to its end, hold it against the rules, and leave nothing behind."""
        failing = _in_flight()
        try:
            if failing is None and self.world.moves:
                self._finish()
        except AssertionError as error:
            failing = error
            raise
        finally:
            if isinstance(failing, Exception):
                failing.add_note(timeline(self.world))
            self._end(failing)

    def _end(self, failing: BaseException | None) -> None:
        try:
            super().teardown()
        except Exception:
            if failing is None:
                raise

    def _finish(self) -> None:
        self._note("the machine waits for everything to end")
        for _ in range(_ROUNDS):
            if not self._is_busy():
                break
            self._after(_HEALS)
        self._check_clients()
        self._note("all clients leave")
        for talker in self.world.talkers.values():
            if talker.raw.closed is None:
                talker.raw.leave()
        for holder in self.world.holders.values():
            holder.leave()
            for deed in holder.deeds:
                deed.scope.cancel(reason="the machine is done")
        for _ in range(_ROUNDS):
            self._after(_HEALS)
            if self._is_gone():
                break
        self._check_end()
        self.world.leave()
        self._after(0.0)

    def _is_gone(self) -> bool:
        shown = self.world.rig.server.statistics()
        return not (shown.connections or shown.sessions or shown.listening.open)

    def _is_busy(self) -> bool:
        talking = any(talker.raw.closed is None and talker.busy for talker in self.world.talkers.values())
        deeds = [deed for holder in self.world.holders.values() for deed in holder.deeds]
        return talking or self.world.draining or any(not deed.done and self.ends(deed.task) for deed in deeds)

    def _check_clients(self) -> None:
        for talker in self.world.talkers.values():
            left = talker.unanswered() if talker.raw.closed is None else []
            assert not left, f"nothing came of request {left[0].number} of {talker.name}, and its connection is there"
            for steer in self.world.oracle.steers:
                if steer.client == talker.name and steer.waits and talker.raw.closed is None:
                    kept = any(lane.remembered == steer.response_id for lane in talker.lanes.values())
                    assert kept, f"steer {steer.text!r} was taken, and nobody was told it"
        for holder in self.world.holders.values():
            for deed in holder.deeds:
                self._check_deed(holder, deed)

    def _check_deed(self, holder: Holder, deed: Deed) -> None:
        what = f"{deed.kind} {deed.number} of {holder.name}"
        if isinstance(deed.error, AssertionError):
            raise deed.error
        assert deed.done or not self.ends(deed.task), f"{what} never ended"
        if deed.error is not None:
            fine = isinstance(deed.error, self.errors) and (deed.disturbed or self.may_fail(deed.task))
            if not fine:
                raise Unexpected(f"{what} raised {deed.error!r}") from deed.error

    def _check_end(self) -> None:
        left = sorted(number for number, count in self.world.oracle.running.items() if count)
        assert not left, f"the model still works for requests {left}, and all clients are gone"
        shown = self.world.rig.server.statistics()
        assert not shown.connections + shown.sessions, f"the server still has connections or sessions: {shown}"
        self.world.rig.check()


def _in_flight() -> BaseException | None:
    """What a rule or an invariant has raised, if that is why the machine is torn down."""
    return sys.exc_info()[1]
