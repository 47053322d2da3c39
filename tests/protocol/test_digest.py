"""The summary that needs no model: bounded, in order, and honest about what it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentwire.protocol.codec import decode_item
from agentwire.protocol.digest import NOTICE, digest
from agentwire.protocol.items import (
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    McpCall,
    Message,
    Reasoning,
    Summary,
)
from agentwire.testing.strategies.values import UNIONS


def user(text: str) -> Message:
    return Message("user", text)


def test_what_it_tells() -> None:
    told = digest(
        [
            Summary("user", f"{NOTICE}\n\n# The user said\n- hello"),
            user("The code word\nis slate."),
            Reasoning(),
            FunctionCall("a", "read", '{"path": "x.py"}'),
            FunctionCallOutput("a", "print(1)\nprint(2)"),
            CustomToolCall("b", "patch", "*** Begin"),
            CustomToolCallOutput("b", "applied"),
            McpCall("s", "search", '{"q": 1}', error="no index"),
            decode_item({"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}}),
            Message("assistant", "first"),
            Message("assistant", "It prints\ntwice."),
        ],
        4000,
    )
    assert told == (
        f"{NOTICE}\n\n"
        "# Before that\n# The user said\n- hello\n\n"
        "# The user said\n- The code word is slate.\n\n"
        "# Tools that were called, and what they returned\n"
        '- read({"path": "x.py"}): print(1) print(2)\n'
        "- patch(*** Begin): applied\n"
        '- search({"q": 1}): no index\n'
        '- shell({"commands":["ls"]}): (no output yet)\n\n'
        "# The assistant said last\nIt prints\ntwice."
    )


def test_of_many_messages_the_first_and_the_last_are_told() -> None:
    told = digest([user(f"message {number}") for number in range(1000)], 2000)
    assert "- message 0\n" in told
    assert told.endswith("- message 999")
    assert "more are left out here)" in told
    assert len(told) <= 2000


def test_nothing_to_say() -> None:
    assert digest([], 1000) == digest([Reasoning()], 1000) == ""


@given(st.lists(UNIONS[Item], max_size=8), st.integers(100, 2000))
def test_it_is_bounded_and_always_the_same(items: list[Item], most: int) -> None:
    told = digest(items, most)
    assert len(told) <= most
    assert digest(items, most) == told


@given(st.lists(st.text(min_size=1, max_size=300).map(user), min_size=1, max_size=60), st.integers(300, 3000))
def test_however_long_it_is_bounded(items: list[Item], most: int) -> None:
    assert len(digest(items, most)) <= most
