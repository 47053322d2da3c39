"""Whatever is continued, over whichever connection: the model sees exactly what was said before on that branch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from typing import Literal

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from agentwire.client import Client, connect
from agentwire.engines import Text, Turn, scripted
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import Message
from agentwire.runtime.contracts import Ask
from agentwire.server import serve
from agentwire.testing import Network, network, no_leaks, run
from tests.link.peer import LIMITS

CAMPAIGN = os.environ.get("HYPOTHESIS_PROFILE") == "campaign"


def digest(texts: Sequence[str]) -> str:
    return sha256("\n".join(texts).encode()).hexdigest()[:12]


def tell(ask: Ask) -> Turn:
    """Say what is seen."""
    return Turn(Text(digest([item.text for item in ask.items if isinstance(item, Message)])))


@attrs.frozen
class Step:
    """One turn of a plan.

    Attributes:
        after: which earlier turn it continues, counted from the latest; beyond the first, it continues none.
        store: whether the server keeps it.
        lane: where it runs.
        warm: whether it is a warm-up.
        moves: whether the connection is lost before.
    """

    after: int
    store: bool
    lane: str | None
    warm: bool
    moves: bool


steps = st.builds(
    Step,
    after=st.sampled_from([0, 0, 0, 0, 1, 2, 9]),
    store=st.sampled_from([False, False, True]),
    lane=st.sampled_from([None, "x", "y"]),
    warm=st.sampled_from([False, False, False, True]),
    moves=st.sampled_from([False, False, True]),
)


@pytest.mark.parametrize("transport", ["websocket", "http"])
@settings(max_examples=1000 if CAMPAIGN else 25)
@given(plan=st.lists(steps, min_size=6, max_size=10), generous=st.booleans())
def test_the_model_sees_what_was_said(
    transport: Literal["websocket", "http"], plan: list[Step], generous: bool
) -> None:
    run(play, transport, plan, generous)


async def play(transport: Literal["websocket", "http"], plan: list[Step], generous: bool) -> None:
    net = network()
    async with no_leaks(), trio.open_nursery() as nursery:
        await nursery.start(serve_at, net, generous)
        async with connect(
            "ws://test/v1",
            limits=LIMITS,
            sources=Sources.seeded(1),
            connector=net.connect,
            transport=transport,
        ) as wire:
            await converse(wire, plan, warms=transport == "websocket")
        nursery.cancel_scope.cancel(reason="the test is over")


async def serve_at(net: Network, generous: bool, *, task_status: trio.TaskStatus[object]) -> None:
    await serve(
        scripted(tell),
        host=None,
        listeners=[net.listener()],
        limits=LIMITS,
        sources=Sources.seeded(2),
        allowed_hosts=["test"],
        extensions=(),
        generous=generous,
        task_status=task_status,
    )


async def converse(wire: Client, plan: list[Step], *, warms: bool) -> None:
    said: list[tuple[str, list[str]]] = []
    for number, step in enumerate(plan):
        if step.moves:
            await wire.line.current.close()
        after, before = said[-1 - step.after] if step.after < len(said) else (None, [])
        texts, warm = [*before, f"turn {number}"], step.warm and warms
        response = await wire.respond(
            texts[-1], previous_response_id=after, store=step.store, stream_id=step.lane, generate=not warm
        )
        if not warm:
            assert response.output_text == digest(texts), (number, plan)
            texts = [*texts, response.output_text]
        said.append((response.id, texts))
