"""What is folded, kept and dropped of a context, on examples and over anything that pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.protocol.codec import decode_item
from agentwire.protocol.content import InputImage, InputText, OutputText
from agentwire.protocol.items import (
    Compaction,
    FunctionCall,
    FunctionCallOutput,
    Item,
    McpCall,
    Message,
    OpaqueItem,
    Reasoning,
    Summary,
    answered_call,
    client_call,
)
from agentwire.protocol.shortening import clip, drop_oldest, fold
from agentwire.protocol.transcript import check_pairing


def user(text: str) -> Message:
    return Message("user", text)


def says(text: str) -> Message:
    return Message("assistant", (OutputText(text),))


def call(name: str) -> FunctionCall:
    return FunctionCall(name, "read", "{}")


def answer(name: str, text: str = "done") -> FunctionCallOutput:
    return FunctionCallOutput(name, text)


def cost(item: Item) -> int:
    """A token a character, and one an item."""
    return 1 + len(getattr(item, "text", ""))


SYSTEM = Message("developer", "be brief")


def test_the_latest_message_and_the_newest_exchanges_are_kept() -> None:
    items = (
        SYSTEM,
        user("old question"),
        says("old answer"),
        user("go"),
        call("a"),
        answer("a"),
        call("b"),
        answer("b"),
    )
    folding = fold(items, 12, cost)
    assert folding.kept == (SYSTEM, user("go"), call("a"), answer("a"), call("b"), answer("b"))
    assert folding.folded == (user("old question"), says("old answer"))
    folding = fold(items, 6, cost)
    assert folding.kept == (SYSTEM, user("go"), call("b"), answer("b"))
    assert folding.folded == items[1:3] + items[4:6]


def test_without_room_only_what_is_in_force_stays_and_the_latest_message() -> None:
    tools = OpaqueItem({"type": "additional_tools", "role": "developer", "tools": []})
    setting = OpaqueItem({"type": "configuration_update", "reasoning": {"effort": "low"}})
    foreign = Compaction("gAAA")
    items = (tools, setting, foreign, SYSTEM, user("a"), Reasoning(), says("b"), user("c"))
    assert fold(items, 0, cost).kept == (tools, setting, foreign, SYSTEM, user("c"))


def test_what_agents_tell_each_other_is_kept_like_messages() -> None:
    told = OpaqueItem({"type": "agent_message", "content": [{"type": "input_text", "text": "x" * 9}]})
    items = (user("old question"), says("old answer"), told, user("go"))
    assert fold(items, 20, cost).kept[-2:] == (told, user("go"))


def test_a_call_that_waits_is_never_folded() -> None:
    items = (user("x" * 50), call("a"), call("b"), answer("a"), user("y" * 50), user("z"))
    folding = fold(items, 0, cost)
    assert folding.kept == (call("b"), user("z"))
    assert call("a") in folding.folded
    assert answer("a") in folding.folded


def test_an_output_is_cut_where_it_is_too_long_and_folded_too() -> None:
    items = (user("go"), call("a"), answer("a", "x" * 10_000))
    folding = fold(items, 500, cost)
    cut = folding.kept[-1]
    assert isinstance(cut, FunctionCallOutput)
    assert (len(cut.text), cut.text[-1], cut.call_id) == (400, "…", "a")
    assert folding.kept[:2] == items[:2]
    assert folding.folded == (items[2],)


def test_of_the_servers_own_tools_only_the_output_is_cut() -> None:
    made = McpCall("s", "f", '{"path": "x"}', "x" * 5000)
    kept = fold((made, user("go")), 500, lambda item: len(getattr(item, "output", None) or "")).kept
    assert kept == (McpCall("s", "f", '{"path": "x"}', "x" * 399 + "…"), user("go"))


def test_a_message_is_kept_whole_or_folded() -> None:
    items = (says("a"), says("x" * 5000), says("b"), user("go"))
    assert fold(items, 1000, cost).kept == (says("b"), user("go"))


def test_a_latest_message_that_is_too_large_loses_what_is_no_text() -> None:
    image = InputImage(image_url="data:image/png;base64," + "x" * 10_000)
    asked = Message("user", (InputText("x" * 5000), image), id="msg_1")
    assert fold((user("before"), asked), 100, lambda _: 101).kept == (asked,)
    folding = fold((user("before"), asked), 100, lambda _: 101, most_bytes=8000)
    (kept,) = folding.kept
    assert isinstance(kept, Message)
    assert kept.text == "x" * 999 + "… [input_image left out]"
    assert kept.id == "msg_1"
    assert len(folding.folded) == 2


def test_what_is_kept_is_bounded_in_bytes_too() -> None:
    image = Message("user", (InputImage(image_url="data:image/png;base64," + "x" * 10_000),))
    items = (image, image, image, user("go"))
    assert fold(items, 100, lambda _: 1).kept == items
    assert fold(items, 100, lambda _: 1, most_bytes=15_000).kept == items[-2:]


def test_messages_that_stand_apart_are_neither_folded_nor_kept() -> None:
    items = (user("a"), says("b"), Summary("user", "s"), user("c"), call("d"))
    folding = fold(items, 0, cost, messages_apart=True)
    assert folding.kept == (call("d"),)
    assert folding.folded == (says("b"), items[2])


def test_an_earlier_summary_is_folded_again() -> None:
    items = (Summary("user", "s" * 10), user("a"), says("b" * 20))
    assert fold(items, 5, cost).folded == (items[0], items[2])


def test_the_oldest_are_dropped_first() -> None:
    items = (SYSTEM, user("one"), says("two"), user("three"))
    assert drop_oldest(items, 100, cost) == items
    assert drop_oldest(items, 22, cost) == items[:1] + items[2:]
    assert drop_oldest(items, 15, cost) == items[:1] + items[3:]
    assert drop_oldest(items, 14, cost) is None


def test_a_call_is_dropped_with_its_output() -> None:
    items = (call("a"), call("b"), answer("a", "1"), answer("b", "2"), user("go"))
    assert drop_oldest(items, 6, cost) == (call("b"), answer("b", "2"), user("go"))
    assert drop_oldest(items, 5, cost) == (user("go"),)
    waits = (call("w"), user("long ago"), user("go"))
    assert drop_oldest(waits, 4, cost) == (call("w"), user("go"))


def test_a_summary_is_not_dropped() -> None:
    items = (Summary("user", "s"), user("long ago"), user("go"))
    assert drop_oldest(items, 5, cost) == (items[0], items[2])


@pytest.mark.parametrize(
    ("text", "most", "cut"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("a cd", 3, "a…"), ("ab", 0, "…")]
)
def test_clip(text: str, most: int, cut: str) -> None:
    assert clip(text, most) == cut


# Over anything that pairs

NAMES = st.sampled_from("abc")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.sampled_from(["user", "assistant", "system"])),
        st.tuples(st.just("call"), NAMES),
        st.tuples(st.just("answer"), NAMES),
    ),
    max_size=12,
)


def conversation(steps: Sequence[tuple[str, str]]) -> tuple[Item, ...]:
    """Steps as a conversation whose outputs all have their calls."""
    waiting: set[str] = set()
    made: list[Item] = []
    for kind, name in steps:
        if kind == "say":
            made.append(Message(name, f"{name} {len(made)}"))
        elif kind == "call" and name not in waiting:
            waiting.add(name)
            made.append(call(name))
        elif kind == "answer" and name in waiting:
            waiting.discard(name)
            made.append(answer(name))
    return tuple(made)


def waiting_in(items: Sequence[Item]) -> set[str | None]:
    waiting: set[str | None] = set()
    for item in items:
        waiting.discard(answered_call(item))
        if client_call(item) is not None:
            waiting.add(client_call(item))
    return waiting


@given(STEPS, st.integers(0, 60))
def test_whatever_is_kept_still_pairs_and_nothing_is_lost(steps: Any, room: int) -> None:
    items = conversation(steps)
    folding = fold(items, room, cost)
    check_pairing(None, folding.kept, generate=False)
    assert waiting_in(folding.kept) == waiting_in(items)
    assert len(folding.kept) + len(folding.folded) >= len(items)
    left = drop_oldest(items, room, cost)
    if left is not None:
        check_pairing(None, left, generate=False)
        assert waiting_in(left) == waiting_in(items)
        assert sum(map(cost, left)) <= room or not items
        rest = iter(items)
        assert all(any(each is item for each in rest) for item in left), "they keep their order"


def test_shells_and_patches_pair_as_functions_do() -> None:
    shell = decode_item({"type": "shell_call", "call_id": "s", "action": {"commands": ["ls"]}})
    output = decode_item({"type": "shell_call_output", "call_id": "s", "output": []})
    assert fold((shell, output, user("go")), 0, cost).kept == (user("go"),)
    assert fold((shell, user("go")), 0, cost).kept == (shell, user("go"))
