"""One answer is one response, however its bytes arrive."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.engines.chat.answer import Answer
from agentwire.engines.chat.calls import Calls
from agentwire.engines.offering import Catalogue, Offers
from agentwire.runtime.contracts import Finish
from agentwire.testing.recording import RecordingOut, ask_for
from agentwire.transport.sse import SseParser
from tests.engines.chat.recordings import RECORDINGS, Recording

TOOL: dict[str, Any] = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}


async def replay(recording: Recording, cuts: list[int]) -> tuple[RecordingOut, Finish]:
    """The stream, in pieces."""
    ask, out = ask_for("x", tools=[TOOL]), RecordingOut()
    offers = Offers.choose(Catalogue.of(ask.tools), ask.tool_choice, step=0)
    calls = Calls(out, offers, known=lambda _: False, new_id=ask.sources.new_id, most=10_000)
    answer = Answer(out, calls, must_call=False, most=10_000)
    parser = SseParser(100_000)
    for start, end in pairwise([0, *sorted(cuts), len(recording.stream)]):
        payloads = parser.feed(recording.stream[start:end])
        await answer.take([payload for payload in payloads if payload != b"[DONE]"])
    finish = await answer.end()
    out.close()
    return out, finish


def joined(events: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Pieces of one kind in a row as one; a seal without what is in it."""
    found: list[tuple[str, ...]] = []
    for kind, *rest in events:
        if found and found[-1][0] == kind in ("text", "reasoning"):
            found[-1] = (kind, found[-1][1] + rest[0])
        else:
            found.append((kind,) if kind == "seal" else (kind, *rest))
    return found


def check(recording: Recording, out: RecordingOut, finish: Finish) -> None:
    assert joined(out.events) == recording.events
    assert (finish.usage, finish.incomplete, finish.members) == (
        recording.usage, recording.incomplete, recording.members,
    )  # fmt: skip


@pytest.mark.parametrize("name", RECORDINGS)
async def test_each_server_is_understood(name: str) -> None:
    check(RECORDINGS[name], *await replay(RECORDINGS[name], []))


@pytest.mark.parametrize("name", RECORDINGS)
async def test_byte_by_byte(name: str) -> None:
    recording = RECORDINGS[name]
    check(recording, *await replay(recording, [*range(len(recording.stream))]))


@given(st.data())
async def test_however_it_is_cut(data: st.DataObject) -> None:
    recording = RECORDINGS[data.draw(st.sampled_from(sorted(RECORDINGS)))]
    cuts = data.draw(st.lists(st.integers(0, len(recording.stream)), max_size=12))
    check(recording, *await replay(recording, cuts))
