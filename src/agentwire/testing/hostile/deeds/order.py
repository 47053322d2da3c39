"""Deeds that break the order of events: late, doubled, numbered wrongly, of another lane, or of no known kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from agentwire.testing.hostile.deeds.editing import Change, each_event, evolved, is_terminal, on_steps
from agentwire.testing.hostile.deeds.model import Deed
from agentwire.testing.hostile.scene import Scene
from agentwire.testing.hostile.steps import Plan, Step, Tell

__all__ = ["DEEDS"]

_OFF_BY_ONE: Final = (
    "stippi/code-assistant#200",
    "bolna-ai/bolna#1012",
    "digitallyinduced/haskell-agent#134",
    "NVIDIA-AI-Blueprints/aiq#114",
)


def _repeats(last: int | None) -> Change:
    """The last so many events of the turn before, or all of them, come once more, before those of this one."""

    def change(plan: Plan, scene: Scene) -> Plan:
        told = [step for step in scene.before if isinstance(step, Tell)]
        return [*(told if last is None else told[-last:]), *plan] if isinstance(plan, list) else plan

    return change


@on_steps
def _terminal_twice(steps: list[Step]) -> list[Step]:
    return [*steps, *filter(is_terminal, steps)]


def _numbered(number: Callable[[int], int | None]) -> Change:
    """Another number for each event that has one."""

    def change(step: Tell) -> list[Step]:
        given = step.event.get("sequence_number")
        return [step if given is None else evolved(step, sequence_number=number(given))]

    return each_event(change)


@on_steps
def _foreign_lane(steps: list[Step]) -> list[Step]:
    """A whole response of a lane that was never used, between the events of this one."""
    message = [step for step in steps if isinstance(step, Tell)]
    foreign = [attrs.evolve(step, lane="nobody-asked") for step in message]
    return [*steps[:2], *foreign, *steps[2:]]


@on_steps
def _empty_output(steps: list[Step]) -> list[Step]:
    def emptied(step: Step) -> Step:
        if not isinstance(step, Tell) or not is_terminal(step):
            return step
        return evolved(step, response={**step.event["response"], "output": []})

    return [emptied(step) for step in steps]


@on_steps
def _same_call_ids(steps: list[Step]) -> list[Step]:
    """All calls of a response have the id of its first one."""
    first = next((event["item"]["call_id"] for event in _done_calls(steps)), None)

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: first if name == "call_id" else renamed(member) for name, member in value.items()}
        return [renamed(member) for member in value] if isinstance(value, list) else value

    return [attrs.evolve(step, event=renamed(step.event)) if isinstance(step, Tell) else step for step in steps]


def _done_calls(steps: list[Step]) -> list[Any]:
    done = [
        step.event for step in steps if isinstance(step, Tell) and step.event.get("type") == "response.output_item.done"
    ]
    return [event for event in done if event["item"].get("type") == "function_call"]


_STRANGERS: Final = (
    {"type": "keepalive"},
    {"type": "codex.rate_limits", "rate_limits": {"primary": {"used_percent": 3.5}}},
    {"type": "response.telepathy.delta", "item_id": "tp_1", "output_index": 7, "delta": "hm"},
    {"type": "acme:note", "n": [1, {"a": None}]},
)


def _with_strangers(step: Tell) -> list[Step]:
    first = step.event.get("type") == "response.created"  # nothing comes before it
    return [*(Tell(event) for event in _STRANGERS if not first), evolved(step, x_new_member={"deep": [1, 2]})]


DEEDS: Final[Sequence[Deed]] = (
    Deed(
        name="stale-events",
        title="The last events of the turn before come again, before those of the next response",
        reports=_OFF_BY_ONE,
        turn=_repeats(4),
    ),
    Deed(
        name="stale-response",
        title="The whole response of the turn before comes again, before the next one",
        reports=_OFF_BY_ONE,
        turn=_repeats(None),
    ),
    Deed(
        name="terminal-twice",
        title="The terminal event of a response comes twice",
        reports=_OFF_BY_ONE[:1],
        first=1,
        turn=_terminal_twice,
    ),
    Deed(
        name="events-twice",
        title="Every event of a response comes twice, with the same number",
        reports=("cloudflare/agents#1951", "NousResearch/hermes-agent#83147", "OpenHands#17619"),
        first=1,
        times=99,
        turn=each_event(lambda step: [step, step]),
    ),
    Deed(
        name="numbers-gapped",
        title="The sequence numbers of a response have gaps",
        first=1,
        times=99,
        turn=_numbered(lambda number: 3 * number + 5),
    ),
    Deed(
        name="numbers-missing",
        title="No event has a sequence number",
        first=1,
        times=99,
        turn=_numbered(lambda _: None),
    ),
    Deed(name="numbers-same", title="Every event has the number 0", first=1, times=99, turn=_numbered(lambda _: 0)),
    Deed(
        name="foreign-lane",
        title="Events of a lane that was never used come between those of a response",
        reports=("Soju06/codex-lb#2100", "Soju06/codex-lb#2115", "lidge-jun/opencodex#4864"),
        first=1,
        times=99,
        turn=_foreign_lane,
    ),
    Deed(
        name="output-empty",
        title="The terminal event's output is empty, although items came",
        reports=("denoland/clawpatrol#729",),
        first=1,
        times=99,
        turn=_empty_output,
    ),
    Deed(
        name="call-ids-same",
        title="Two calls of one response have the same id",
        reports=("Wei-Shaw/sub2api#2139", "router-for-me/CLIProxyAPI#2513", "openclaw/openclaw#4204"),
        first=1,
        times=99,
        turn=_same_call_ids,
    ),
    Deed(
        name="strangers",
        title="Events of unknown types, and members that nobody knows, come between the others",
        first=1,
        times=99,
        turn=each_event(_with_strangers),
    ),
)
