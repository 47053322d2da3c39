"""Cases about warm-ups."""

from __future__ import annotations

from typing import Any

from agentwire.testing.conformance.cases.frames import LONG_TASK
from agentwire.testing.conformance.cases.order import legal
from agentwire.testing.conformance.cases.tools import WEATHER
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.turns import Turn, check

__all__ = [
    "a_warm_up_can_be_continued",
    "a_warm_up_does_not_wait_for_the_model",
    "a_warm_up_needs_no_input",
    "a_warm_up_runs_no_model",
    "prewarm_makes_a_warm_up",
]


def warm(turn: Turn) -> Turn:
    """A warm-up, if that is what it was."""
    legal(turn.completed())
    check(turn.output == [], f"a warm-up has the output {turn.output}")
    tokens = turn.response["usage"]["output_tokens"]
    check(tokens == 0, f"a warm-up has {tokens} output tokens")
    return turn


@case(112, "AW-W-001", "AW-W-002")
async def a_warm_up_runs_no_model(peer: Peer) -> None:
    """Warm up with instructions, tools and input."""
    async with peer.socket() as socket:
        turn = warm(await socket.ask(generate=False, instructions="Be brief.", tools=[WEATHER]))
        events = ["response.created", "response.in_progress", "response.completed"]
        check(turn.types == events, f"the events of a warm-up are {turn.types}", "AW-W-002")
        check(turn.response["usage"]["input_tokens"] > 0, "a warm-up reads nothing")


@case(114, "AW-W-003", "AW-W-006")
async def a_warm_up_can_be_continued(peer: Peer) -> None:
    """Continue warm-ups with input, with an empty list and with none."""
    async with peer.socket() as socket:
        turn = warm(await socket.ask(generate=False))
        contents: list[Any] = ["Go on.", [], ...]
        for content in contents:
            answer = (await socket.ask(content, previous_response_id=turn.id)).completed()
            check(answer.output, f"after a warm-up, input {content!r} gives no output")
            turn = warm(await socket.ask(generate=False))


@case(115, "AW-W-004")
async def prewarm_makes_a_warm_up(peer: Peer) -> None:
    """Ask to prewarm and to generate."""
    async with peer.socket() as socket:
        warm(await socket.ask(prompt_cache_options={"prewarm": True}))
        warm(await socket.ask(prompt_cache_options={"prewarm": True}, generate=True))
        check((await socket.ask(prompt_cache_options={"prewarm": False})).completed().output, "there is no output")


@case(116, "AW-W-005", "AW-W-003")
async def a_warm_up_needs_no_input(peer: Peer) -> None:
    """Warm up without input and without tools, and bring both with the first turn."""
    async with peer.socket() as socket:
        turn = warm(await socket.ask(..., generate=False))
        late = {"type": "additional_tools", "role": "developer", "tools": [WEATHER]}
        content = [late, {"role": "user", "content": "Say hello."}]
        answer = (await socket.ask(content, previous_response_id=turn.id, tool_choice="none")).completed()
        check(answer.output, "there is no output")


@case(113, "AW-W-001", needs=["slow"])
async def a_warm_up_does_not_wait_for_the_model(peer: Peer) -> None:
    """Warm a slow model up: a long task has no output either."""
    async with peer.socket() as socket:
        warm(await socket.ask(LONG_TASK, model=peer.slow_model, generate=False))
