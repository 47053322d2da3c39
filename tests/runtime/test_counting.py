from __future__ import annotations

from agentwire.protocol.items import Message
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.tools import FunctionTool
from agentwire.protocol.transcript import Node
from agentwire.runtime.contracts import Ask, Out
from agentwire.runtime.counting import count_input
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
    assert await count_input(plain, empty, None) == 1
    for request in (asked, told, offered):
        assert 100 <= await count_input(plain, request, None) < 150
    assert await count_input(with_tool, empty, None) > 1
    parent = Node.root("resp_1", asked.input, asked.input)
    assert 300 <= await count_input(plain, asked, parent) < 350
