"""The moves of agentwire's own clients: turns of a conversation, runs of the agent, and what ends them."""

from __future__ import annotations

from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from agentwire.testing.lifecycle.base import PAUSES, LifecycleBase, tasks
from agentwire.testing.lifecycle.own import Deed, Holder
from agentwire.testing.lifecycle.world import HOLDERS

__all__ = ["HolderMoves"]


class HolderMoves(LifecycleBase):
    """What is done with agentwire's clients."""

    def _holder(self, name: str) -> Holder:
        holder = self.world.holder(self.holders[HOLDERS.index(name) % len(self.holders)])
        if holder.client is not None and holder.client.ended is not None:
            holder.leave()
            self.settle()
        if holder.client is None and not holder.busy:
            holder.error = None
            self._start(holder.live)
        return holder

    @precondition(lambda self: self.holders)
    @rule(client=st.sampled_from(HOLDERS), say=tasks(), then=PAUSES)
    def turn(self, client: str, say: str, then: float | None) -> None:
        """A turn of a conversation, asked by agentwire's client."""
        holder = self._holder(client)
        if not any(deed.kind == "turn" and not deed.done for deed in holder.deeds):
            self._do(holder, "turn", say)
        self._after(then)

    @precondition(lambda self: self.holders)
    @rule(client=st.sampled_from(HOLDERS), say=tasks(), then=PAUSES)
    def run(self, client: str, say: str, then: float | None) -> None:
        """A run of the agent."""
        self._do(self._holder(client), "run", say)
        self._after(then)

    def _do(self, holder: Holder, kind: Any, say: str) -> None:
        if holder.client is None or holder.leaving:
            return
        deed = Deed(
            self.world.next_number(),
            kind,
            say,
            disturbed=self.world.draining or holder.client.ended is not None or holder.is_hurt,
        )
        self._note(f"{holder.name} begins {kind} {deed.number}: {say!r}")
        holder.deeds.append(deed)
        self.spawn(holder.do, deed, self.agent)

    @precondition(lambda self: any(holder.busy for holder in self.world.holders.values()))
    @rule(then=PAUSES)
    def abandon(self, then: float | None) -> None:
        """What was begun first with a client is left."""
        holder = next(holder for holder in self.world.holders.values() if holder.busy)
        deed = next(deed for deed in holder.deeds if not deed.done)
        self._note(f"{holder.name} leaves {deed.kind} {deed.number}")
        deed.scope.cancel(reason="the machine leaves it")
        self._after(then)

    @precondition(lambda self: any(holder.turn is not None for holder in self.world.holders.values()))
    @rule(how=st.sampled_from(["steer", "cancel"]), then=PAUSES)
    def interject(self, how: Literal["steer", "cancel"], then: float | None) -> None:
        """A turn of agentwire's client is told something, or cancelled, while it runs."""
        holder = next(holder for holder in self.world.holders.values() if holder.turn is not None)
        self._note(f"{holder.name}: {how} its turn")
        self.spawn(holder.interject, how)
        self._after(then)

    @precondition(lambda self: any(holder.client is not None for holder in self.world.holders.values()))
    @rule(then=PAUSES)
    def close(self, then: float | None) -> None:
        """A client is closed, whatever is done with it."""
        holder = next(holder for holder in self.world.holders.values() if holder.client is not None)
        self._note(f"{holder.name} is closed")
        holder.leave()
        self._after(then)
