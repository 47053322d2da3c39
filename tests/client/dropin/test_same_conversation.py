"""Whatever a caller does with its histories, the server sees each conversation as the caller wrote it.

Histories go on, fork, are shortened and are rewritten, under changing settings and keys, several at a time, and the
connection is lost in between: a delta must never bring another conversation to the model than the whole would have.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from agentwire.client.dropin.asking import Events
from agentwire.engines.wire.canonical import canonical_item
from agentwire.link import RequestLost
from agentwire.protocol.codec import encode_item
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Finish, Out
from agentwire.testing import Fault, virtual_clock
from tests.client.dropin.kit import PATIENT, TOOL, Json, Rig, asked, place, read, texts, wired


@attrs.frozen
class Move:
    """One request.

    Attributes:
        base: which of the histories so far it goes on with.
        kept: how many of its items are left out at the end.
        changed: which of its items is rewritten; none if there are not so many.
        store: what the request says.
        brief: whether it has other instructions.
        key: whose it is.
        stream: how it is answered.
        cut: whether the connection is lost first.
        together: whether it runs beside the next one.
    """

    base: int
    left_out: int
    changed: int
    store: bool
    brief: bool
    key: str
    stream: bool
    cut: bool
    together: bool


MOVES = st.lists(
    st.builds(
        Move,
        base=st.integers(0, 8),
        left_out=st.sampled_from([0, 0, 0, 1, 2]),
        changed=st.sampled_from([99, 99, 99, 0, 1, 3]),
        store=st.booleans(),
        brief=st.sampled_from([False, False, True]),
        key=st.sampled_from(["a", "a", "a", "b"]),
        stream=st.booleans(),
        cut=st.sampled_from([False, False, False, True]),
        together=st.booleans(),
    ),
    max_size=14,
)


def fingerprint(items: Iterable[Mapping[str, Any]], instructions: str) -> str:
    digest = hashlib.sha256(instructions.encode())
    for item in items:
        digest.update(canonical_item(item))
    return digest.hexdigest()


async def seen(ask: Ask, out: Out) -> Finish:
    """Says what conversation it sees, and calls a tool."""
    await trio.sleep(0.1)
    await out.text(fingerprint(map(encode_item, ask.items), ask.request.instructions or ""))
    await out.call("look", {"at": len(ask.items)})
    return Finish()


def history_of(move: Move, histories: list[list[Json]], number: int) -> list[Json]:
    """What the caller hands over."""
    history = copy.deepcopy(histories[move.base % len(histories)])
    history = history[: len(history) - move.left_out]
    while history and history[-1]["type"] == "function_call":  # a call goes with its output
        history.pop()
    if move.changed < len(history) and history[move.changed]["type"] == "message":
        history[move.changed]["content"] = f"rewritten in {number}"
    return [*history, {"type": "message", "role": "user", "content": f"question {number}"}]


async def ask(rig: Rig, move: Move, history: list[Json], histories: list[list[Json]]) -> None:
    members = {"instructions": "Be brief." if move.brief else "Be kind.", "store": move.store, "tools": [TOOL]}
    async with rig.wires.ask(asked(history, stream=move.stream, **members), place(move.key), PATIENT) as answer:
        if isinstance(answer, Events):
            (last,) = [line for line in (await read(answer)).splitlines() if b'"type":"response.completed"' in line]
            response = json.loads(last.removeprefix(b"data: "))["response"]
        else:
            assert answer.status == 200, answer.body
            response = json.loads(answer.body)
    assert texts(response) == fingerprint(history, str(members["instructions"]))
    call = response["output"][-1]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "x"}
    histories.append([*history, *response["output"], output])


async def ask_again(rig: Rig, move: Move, history: list[Json], histories: list[list[Json]]) -> None:
    """The same, as a caller does it whose stream broke off where nothing is resumed."""
    while True:
        try:
            return await ask(rig, move, history, histories)
        except RequestLost:
            assert move.stream


async def play(moves: list[Move], *, sessions: bool) -> None:
    server: Json = {} if sessions else {"extensions": ()}
    asking = ask if sessions else ask_again
    async with wired(seen, server=server, repeat="always", limits=Limits(upstream_attempts=20)) as rig:
        histories: list[list[Json]] = [[]]
        async with trio.open_nursery() as nursery:
            for number, move in enumerate(moves):
                if move.cut:
                    for link in rig.net.links:
                        link.arm(Fault("cut", connection=None))
                history = history_of(move, histories, number)
                if move.together:
                    nursery.start_soon(asking, rig, move, history, histories)
                else:
                    await asking(rig, move, history, histories)


@settings(max_examples=25)
@given(MOVES, st.booleans())
def test_the_model_sees_what_the_caller_wrote(moves: list[Move], sessions: bool) -> None:
    async def main() -> None:
        with trio.fail_after(600):
            await play(moves, sessions=sessions)

    trio.run(main, clock=virtual_clock())
