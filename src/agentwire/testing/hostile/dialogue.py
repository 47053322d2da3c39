"""What one connection's requests lead to: a turn of the script, changed by the deeds that are due, or a refusal.

A connection remembers the latest response of each lane; a request that fails makes its lane forget what it continued.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import attrs
import trio

from agentwire.testing.hostile.deeds.model import Cue
from agentwire.testing.hostile.memory import Memory, Remembered, judge_history
from agentwire.testing.hostile.scene import Scene
from agentwire.testing.hostile.script import Answer, Refuse, Script, next_reply
from agentwire.testing.hostile.seen import Seen, SeenConnection, SeenTurn
from agentwire.testing.hostile.steps import Plan, Step
from agentwire.testing.hostile.telling import Minter, answer_steps, output_of

__all__ = ["Dialogue", "Planned"]

_CLIENT_FAULTS: Final = frozenset(("tool_call_not_found", "tool_output_missing", "duplicate_tool_output"))


@attrs.frozen
class Planned:
    """What will be said.

    Attributes:
        asked: the request.
        plan: what is done.
        remembered: what can be continued once its terminal event is out; None after a refusal.
    """

    asked: SeenTurn
    plan: Plan
    remembered: Remembered | None


@attrs.define(eq=False)
class Dialogue:
    """The conversations of one connection.

    Attributes:
        seen: takes down what is asked.
        connection: whose they are.
        deafen: reads nothing of it any more.
    """

    seen: Seen
    connection: SeenConnection
    memory: Memory
    minter: Minter
    script: Callable[[], Script]
    cues: Callable[[], list[Cue]]
    deafen: Callable[[], None] = lambda: None
    _latest: dict[str | None, Remembered] = attrs.field(factory=dict)
    _before: list[Step] = attrs.field(factory=list)

    def ask(self, body: Mapping[str, Any], over: Literal["websocket", "http"], lane: str | None = None) -> Planned:
        """A request for a response."""
        warm_up = body.get("generate") is False
        number = len(self.seen.turns) + (not warm_up)
        asked = SeenTurn(number, self.connection.number, over, lane, body, trio.current_time())
        if not warm_up:
            self.seen.turns.append(asked)
        history = self._history(asked)
        if isinstance(history, Refuse):
            return self._refused(asked, history)
        scene = Scene(asked, history, self.minter.new("resp"), tuple(self._before), self._forget, self.deafen)
        plan = self._plan(scene, Answer() if warm_up else None)
        honest = plan if isinstance(plan, list) else []
        if not warm_up:
            plan = self._misdo(plan, scene)
        if isinstance(plan, Refuse):
            return self._refused(asked, plan)
        self._before = honest
        output = output_of(plan, scene.response_id) or output_of(honest, scene.response_id)
        return Planned(asked, plan, Remembered(scene.response_id, (*history, *output)))

    def told(self, planned: Planned) -> None:
        """The terminal event of this one is out."""
        if planned.remembered is not None:
            self._latest[planned.asked.lane] = planned.remembered
            if planned.asked.body.get("store") is not False:
                self.memory.store(planned.remembered)

    def _history(self, asked: SeenTurn) -> tuple[Mapping[str, Any], ...] | Refuse:
        parent = asked.body.get("previous_response_id")
        before: tuple[Mapping[str, Any], ...] = ()
        if parent is not None:
            found = self.memory.find(parent, self._latest.values())
            if isinstance(found, Refuse):
                return found
            before = found.items
        history = (*before, *asked.items)
        wrong = judge_history(history)
        return history if wrong is None else wrong

    def _plan(self, scene: Scene, warm_up: Answer | None) -> Plan:
        reply = warm_up if warm_up is not None else next_reply(self.script(), scene)
        if isinstance(reply, Refuse):
            return reply
        return answer_steps(
            reply,
            response_id=scene.response_id,
            asked=scene.asked.body,
            context=len(scene.history),
            minter=self.minter,
        )

    def _misdo(self, plan: Plan, scene: Scene) -> Plan:
        for due in self.cues():
            if due.deed.turn is not None and due.due(scene.turn):
                changed = due.deed.turn(plan, scene)
                if changed is not plan:
                    self.seen.deeds.append(due.deed.name)
                    self.seen.note(self.connection, "*", due.deed.name)
                plan = changed
        return plan

    def _refused(self, asked: SeenTurn, refusal: Refuse) -> Planned:
        if refusal.code in _CLIENT_FAULTS:
            self.seen.complain(self.connection, f"the history is not valid: {refusal.message}")
        mine, parent = self._latest.get(asked.lane), asked.body.get("previous_response_id")
        if mine is not None and mine.response_id == parent:
            del self._latest[asked.lane]
        return Planned(asked, refusal, None)

    def _forget(self) -> None:
        self._latest.clear()
        self.memory.forget()
