from __future__ import annotations

from typing import Any

import pytest

from agentwire.protocol.codec import decode_item
from agentwire.protocol.compaction import seal
from agentwire.protocol.items import Item, Message
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.tools import FunctionTool
from agentwire.protocol.transcript import History, Node
from agentwire.runtime import counting
from agentwire.runtime.contracts import Ask, Out
from agentwire.runtime.counting import count_input, item_tokens, items_tokens, node_tokens, text_tokens
from tests.runtime.kit import service


async def silent(ask: Ask, out: Out) -> None:
    """Nothing to say."""


async def add(a: int, b: int) -> int:
    return a + b


async def test_everything_that_is_rendered_counts() -> None:
    plain, with_tool = service(silent), service(silent, add)
    empty = CreateRequest(model="test")
    asked = CreateRequest(model="test", input=(Message("user", "x" * 400),))
    told = CreateRequest(model="test", instructions="y" * 400)
    offered = CreateRequest(model="test", tools=(FunctionTool(name="read", description="z" * 400),))
    assert await count_input(plain, empty, None, principal="me") == 1
    for request in (asked, told, offered):
        assert 100 <= await count_input(plain, request, None, principal="me") < 150
    assert await count_input(with_tool, empty, None, principal="me") > 1
    parent = Node.root("resp_1", asked.input, asked.input)
    assert 300 <= await count_input(plain, asked, parent, principal="me") < 350


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("語" * 4, 3), ("\ud83d", 1)]
)
def test_a_text_is_counted_in_bytes(text: str, tokens: int) -> None:
    assert text_tokens(text) == tokens


@pytest.mark.parametrize(
    ("raw", "tokens"),
    [
        ({"type": "message", "role": "user", "content": "abcd"}, 4),
        (
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "abcd"}, {"type": "input_image", "file_id": "f"}],
            },
            804,
        ),
        ({"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]}, 1003),
        ({"role": "user", "content": [{"type": "input_file", "file_data": "x" * 160}]}, 33),
        ({"role": "user", "content": [{"type": "input_audio", "data": "y" * 400}]}, 111),
        ({"type": "function_call", "call_id": "c", "name": "read", "arguments": "{}{}"}, 5),
        ({"type": "function_call_output", "call_id": "c", "output": "abcdabcd"}, 5),
        ({"type": "custom_tool_call", "call_id": "p", "name": "patch", "input": "*** Begin"}, 8),
        ({"type": "custom_tool_call_output", "call_id": "p", "output": "abcd"}, 4),
        ({"type": "reasoning", "summary": [{"type": "summary_text", "text": "abcd" * 5}]}, 8),
        ({"type": "reasoning", "summary": [], "encrypted_content": "x" * 40}, 13),
        ({"type": "mcp_call", "server_label": "s", "name": "f", "arguments": "{}", "output": "abcd"}, 6),
        ({"type": "compaction", "encrypted_content": "x" * 40}, 13),
        ({"type": "item_reference", "id": "x"}, 3),
        ({"type": "shell_call", "x": "y" * 400}, 110),
    ],
)
def test_every_item_weighs_something(raw: dict[str, Any], tokens: int) -> None:
    assert item_tokens(decode_item(raw)) == tokens


def test_a_compaction_of_ours_is_as_heavy_as_what_an_engine_sees_of_it() -> None:
    opened = seal("cmp_1", "x" * 40, (Message("user", "abcd"),))
    assert item_tokens(opened) == 13 + 4


def test_a_continuation_counts_only_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Item] = []

    def watched(item: Item) -> int:
        seen.append(item)
        return item_tokens(item)

    monkeypatch.setattr(counting, "item_tokens", watched)
    node = Node.root("resp_0", [Message("user", "abcd")], [Message("assistant", "abcd")])
    assert node_tokens(node) == 8
    for turn in range(1, 1000):
        node = node.extend(f"resp_{turn}", [Message("user", "abcd")], [Message("assistant", "abcd")])
        seen.clear()
        assert items_tokens(History(node, [Message("user", "abcd")])) == (turn + 1) * 8 + 4
        assert len(seen) == 3
    fork = node.extend("resp_fork", [], [])
    seen.clear()
    assert node_tokens(fork) == node_tokens(node)
    assert not seen


async def test_an_engine_may_count_itself() -> None:
    class Counts:
        async def __call__(self, ask: Ask, out: Out) -> None:
            """Nothing to say."""

        def count_tokens(self, ask: Ask) -> int:
            return 100 * len(ask.items)

    class CountsSlowly(Counts):
        async def count_tokens(self, ask: Ask) -> int:  # type: ignore[override]
            return 1000 * len(ask.items)

    asked = CreateRequest(model="test", input=(Message("user", "hi"), Message("user", "there")))
    assert await count_input(service(Counts()), asked, None, principal="me") == 200
    assert await count_input(service(CountsSlowly()), asked, None, principal="me") == 2000
