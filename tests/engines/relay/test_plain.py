"""A message that comes as it should takes a shorter way; wherever it strays from that, the client sees the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from agentwire.engines.relay import hearing
from agentwire.engines.relay.plain import PlainMessage
from tests.engines.relay.kit import Json, call_events, message_events, stream, told
from tests.runtime.kit import Event

Mischief = Callable[[list[Json], int], None]


def member(name: str, value: Any, *inside: str) -> Mischief:
    """Another value of a member; None takes it away."""

    def change(events: list[Json], at: int) -> None:
        where = events[at]
        for step in inside:
            where = where.get(step) or {}
        if value is None:
            where.pop(name, None)
        else:
            where[name] = value

    return change


def again(events: list[Json], at: int) -> None:
    events.insert(at, copy.deepcopy(events[at]))


def lost(events: list[Json], at: int) -> None:
    del events[at]


def swapped(events: list[Json], at: int) -> None:
    events[at - 1], events[at] = events[at], events[at - 1]


def in_content(name: str, value: Any) -> Mischief:
    def change(events: list[Json], at: int) -> None:
        for part in events[at].get("item", {}).get("content", ()):
            part[name] = value

    return change


def brought(event: Json) -> Mischief:
    return lambda events, at: events.insert(at, dict(event))


TEXT = "response.output_text"
PLACE: Json = {"item_id": "msg_theirs", "output_index": 0, "content_index": 0}
NOTE: Json = {"type": "url_citation", "url": "http://a", "title": "A", "start_index": 0, "end_index": 1}
MISCHIEF: dict[str, Mischief] = {
    "new member": member("new", 7),
    "new member of the item": member("new", {"a": 1}, "item"),
    "new member of the part": member("new", [1], "part"),
    "another id": member("item_id", "msg_other"),
    "another id of the item": member("id", "msg_other", "item"),
    "no id": member("item_id", None),
    "no index": member("output_index", None),
    "another index": member("output_index", 5),
    "another part": member("content_index", 1),
    "no status": member("status", None, "item"),
    "cut": member("status", "incomplete", "item"),
    "a phase": member("phase", "final_answer", "item"),
    "other text": member("text", "something else"),
    "more text": member("text", "Hello, wörld. And more"),
    "no text": member("text", None),
    "other text of the part": member("text", "Hello, wörld. And more", "part"),
    "more text of the item": in_content("text", "Hello, wörld. And more"),
    "noted": in_content("annotations", [NOTE]),
    "noted part": member("annotations", [NOTE], "part"),
    "no lists": member("annotations", None, "part"),
    "probable": member("logprobs", [{"token": "He", "logprob": -0.5, "bytes": [72, 101], "top_logprobs": []}]),
    "padded": member("obfuscation", "xxxx"),
    "again": again,
    "lost": lost,
    "swapped": swapped,
    "aside": brought({"type": "codex.rate_limits", "rate_limits": {}}),
    "a note": brought({**PLACE, "type": f"{TEXT}.annotation.added", "annotation_index": 0, "annotation": NOTE}),
    "a refusal": brought({**PLACE, "content_index": 1, "type": "response.refusal.delta", "delta": "No."}),
    "an error": brought({"type": "error", "error": {"code": "server_error", "message": "Oh."}}),
    "an item beside it": brought(call_events("read", "{}", index=7)[0]),
}  # fmt: skip


def whole() -> list[Json]:
    return stream(
        message_events("Hello, wörld.", pieces=3),
        call_events("read", '{"q":1}', index=1),
        message_events("Bye.", index=2, id_="msg_2"),
    )


def seen_of(events: list[Event]) -> list[Any]:
    """What of it may not differ: all but ids that are made up, and where the text of a cut message begins and ends."""
    final = events[-1].get("response", {})
    around = (f"{TEXT}.done", "response.content_part.added", "response.content_part.done")
    unseen = around if final.get("status") == "failed" else ()
    shown = [(e["type"], e.get("output_index"), e.get("delta")) for e in events if e["type"] not in unseen]
    output = [{**item, "id": ""} for item in final.get("output", ())]
    for item in output if unseen else ():
        item["content"] = [part for part in item.get("content", ()) if part.get("text") != ""]
    return [shown, output, final.get("status"), final.get("error")]


async def both_ways(events: list[Json], monkeypatch: pytest.MonkeyPatch) -> tuple[list[Event], list[Event]]:
    tools = [{"type": "function", "name": "read"}]
    short = await told(copy.deepcopy(events), tools=tools)
    with monkeypatch.context() as patched:
        patched.setattr(hearing, "read_plain", lambda _: None)
        return short, await told(events, tools=tools)


async def test_that_a_text_begins_is_told_with_its_first_piece_or_before_whatever_else_comes(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for events in (message_events(""), [*message_events("Hello.")[:2], {"type": "codex.rate_limits"}]):
        short, long = await both_ways(stream(events), monkeypatch)
        assert seen_of(short) == seen_of(long)


async def test_a_plain_stream_needs_no_healing(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def heal(*_: object) -> None:
        raise AssertionError("there is nothing to heal")

    monkeypatch.setattr(PlainMessage, "heal", heal)
    theirs = whole()
    seen = await told(theirs, tools=[{"type": "function", "name": "read"}])
    assert seen[2:-1] == theirs[2:-1]
    assert seen[-1]["response"]["output"] == theirs[-1]["response"]["output"]


@pytest.mark.parametrize("how", MISCHIEF)
async def test_wherever_it_strays_the_client_sees_the_same(
    how: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in range(2, len(whole()) - 1):
        events = whole()
        MISCHIEF[how](events, at)
        short, long = await both_ways(events, monkeypatch)
        assert seen_of(short) == seen_of(long), f"at {at}"


@given(st.lists(st.tuples(st.sampled_from(sorted(MISCHIEF)), st.integers(2, 9)), min_size=2, max_size=4))
def test_however_often_it_strays(ways: list[tuple[str, int]]) -> None:
    events = whole()
    for how, at in ways:
        MISCHIEF[how](events, at)
    with pytest.MonkeyPatch.context() as monkeypatch:
        short, long = trio.run(both_ways, events, monkeypatch, clock=MockClock(autojump_threshold=0))
    assert seen_of(short) == seen_of(long)
