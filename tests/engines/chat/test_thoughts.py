from __future__ import annotations

from typing import Any

import pytest

from agentwire.engines.chat.thoughts import Style, Thought, merge_details, seal, thought_of
from agentwire.protocol.codec import decode_item
from agentwire.protocol.items import Reasoning

DETAIL = {"type": "reasoning.encrypted", "data": "xyz", "index": 0}


def item(**members: Any) -> Reasoning:
    found = decode_item({"type": "reasoning", "summary": [], **members})
    assert isinstance(found, Reasoning)
    return found


def text_part(text: str) -> dict[str, str]:
    return {"type": "reasoning_text", "text": text}


def test_a_sealed_thought_comes_back_as_it_was() -> None:
    thought = Thought("because\ud7ff", (DETAIL,))
    assert thought_of(item(encrypted_content=seal(thought))) == thought


def test_a_thought_is_its_text_or_at_least_its_summary() -> None:
    summary = {"type": "summary_text", "text": "in short"}
    assert thought_of(item(content=[text_part("a"), text_part("b")], summary=[summary])) == Thought("a\nb")
    assert thought_of(item(summary=[summary])) == Thought("in short")
    assert thought_of(item(content=[text_part("a")], encrypted_content=seal(Thought("", (DETAIL,))))) == Thought(
        "a", (DETAIL,)
    )
    assert thought_of(item()) is None


@pytest.mark.parametrize(
    "blob", ["gAAAAA", "agentwire-reasoning1.", "agentwire-reasoning1.e30", "agentwire-reasoning1.!"]
)
def test_a_blob_that_says_nothing_is_left_out(blob: str) -> None:
    assert thought_of(item(encrypted_content=blob)) is None
    assert thought_of(item(content=[text_part("a")], encrypted_content=blob)) == Thought("a")


def test_where_it_goes() -> None:
    thought = Thought("hm", (DETAIL,))
    assert Style().members(thought, calls=True) == {}
    assert Style("reasoning").members(None, calls=True) == {}
    assert Style("reasoning").members(thought, calls=False) == {}
    assert Style("reasoning").members(Thought("", (DETAIL,)), calls=True) == {}
    assert Style("reasoning", "all").members(thought, calls=False) == {"reasoning": "hm"}
    assert Style("reasoning", "every").members(thought, calls=False) == {"reasoning": "hm"}
    assert Style("reasoning", "every").members(None, calls=False) == {"reasoning": ""}
    assert Style("thinking", "every").members(None, calls=True) == {}
    assert Style("reasoning_details").members(thought, calls=True) == {"reasoning_details": (DETAIL,)}
    told = [{"type": "reasoning.text", "text": "hm"}]
    assert Style("reasoning_details").members(Thought("hm"), calls=True) == {"reasoning_details": told}


def test_the_member_is_the_servers_own_or_the_operators() -> None:
    assert Style.of("none", "reasoning", where="all") == Style()
    assert Style.of("same", None, where="calls") == Style("reasoning_content")
    assert Style.of("same", "reasoning", where="all") == Style("reasoning", "all")
    assert Style.of("reasoning_content", "reasoning", where="calls") == Style("reasoning_content")


def test_details_in_pieces_are_made_whole() -> None:
    pieces = [
        {"type": "reasoning.text", "index": 0, "text": "a", "signature": None},
        {"type": "reasoning.text", "index": 0, "text": "b", "signature": "s"},
        {"type": "reasoning.text", "index": 1, "text": "c"},
        DETAIL,
    ]
    assert merge_details(pieces) == (
        {"type": "reasoning.text", "index": 0, "text": "ab", "signature": "s"},
        {"type": "reasoning.text", "index": 1, "text": "c"},
        DETAIL,
    )
    assert pieces[0]["text"] == "a"


class _Once(str):
    """Text that may be copied once for all that follows it, and not for each piece of that."""

    __slots__ = ()

    def __add__(self, _: str) -> str:
        raise AssertionError("copied")


def test_pieces_are_joined_once_and_begin_again_after_what_is_no_text() -> None:
    first: list[dict[str, Any]] = [{"text": _Once("a")}, {"text": "b"}, {"text": "c", "data": "d"}]
    assert merge_details(first) == ({"text": "abc", "data": "d"},)
    again: list[dict[str, Any]] = [{"text": "a"}, {"text": "b"}, {"text": 1}, {"text": "c"}, {"text": "d"}]
    assert merge_details(again) == ({"text": "cd"},)
