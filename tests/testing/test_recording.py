"""The recording out and the ask: as a server would have them."""

from __future__ import annotations

import pytest
import trio

from agentwire.protocol.content import OutputText, ReasoningText, Refusal, SummaryText
from agentwire.protocol.errors import LocalProtocolError, RequestError
from agentwire.protocol.items import CustomToolCall, FunctionCall, McpCall, Message, OpaqueItem, Reasoning
from agentwire.protocol.tools import FunctionTool
from agentwire.testing.recording import RecordingOut, ask_for


async def test_items_open_and_close_by_themselves() -> None:
    out = RecordingOut(server_tools=["mine"])
    await out.summary("s")
    await out.reasoning("r")
    await out.text("he")
    await out.text("llo")
    await out.refusal("no")
    await out.call("grep", {"q": "x"}, call_id="call_1")
    await out.call("mine", "{}")
    await out.open_call("patch", custom=True)
    await out.arguments("*** ")
    await out.arguments("Begin")
    await out.close_call()
    await out.item({"type": "web_search_call", "id": "ws_1"})
    await out.text("bye")
    thought, message, grep, mine, patch, search, last = out.close()
    assert isinstance(thought, Reasoning)
    assert (thought.summary, thought.content) == ((SummaryText("s"),), (ReasoningText("r"),))
    assert isinstance(message, Message)
    assert message.content == (OutputText("hello"), Refusal("no"))
    assert isinstance(grep, FunctionCall)
    assert (grep.call_id, grep.arguments) == ("call_1", '{"q":"x"}')
    assert isinstance(mine, McpCall)
    assert isinstance(patch, CustomToolCall)
    assert patch.input == "*** Begin"
    assert isinstance(search, OpaqueItem)
    assert search.id == "ws_1"
    assert isinstance(last, Message)
    assert last.text == "bye"
    assert out.calls == (grep, mine, patch)
    assert (out.text_written, out.summary_written) == ("hellobye", "s")
    assert len({item.id for item in out.items}) == 7


async def test_what_a_turn_refuses_is_refused() -> None:
    out = RecordingOut()
    with pytest.raises(LocalProtocolError, match="open_call"):
        await out.arguments("{}")
    with pytest.raises(LocalProtocolError, match="open_call"):
        await out.close_call()
    with pytest.raises(LocalProtocolError, match="type"):
        await out.item({"id": "x"})
    with pytest.raises(TypeError, match="bytes"):
        await out.text(b"x")  # type: ignore[arg-type]
    await out.open_call("grep")
    with pytest.raises(LocalProtocolError, match="close_call"):
        await out.text("x")
    await out.close_call()
    out.close()
    with pytest.raises(LocalProtocolError, match="has ended"):
        await out.text("x")


async def test_every_method_is_a_checkpoint() -> None:
    out = RecordingOut()
    with trio.CancelScope() as scope:
        scope.cancel(reason="a test")
        await out.text("never")
    assert scope.cancelled_caught
    assert out.events == []
    assert out.close() == []


def test_an_ask_is_what_a_server_would_make_of_the_request() -> None:
    own = FunctionTool("mine")
    history = (Message("user", "before"),)
    tool = {"type": "function", "name": "grep"}
    ask = ask_for("hello", history=history, tools=[tool], server_tools=[own], step=2, instructions="i")
    assert [item.text for item in ask.items if isinstance(item, Message)] == ["before", "hello"]
    assert [each.name for each in ask.tools] == ["grep", "mine"]
    assert (ask.step, ask.instructions, ask.model) == (2, "i", "test")
    assert ask.request.previous_response_id == "resp_history"
    assert ask_for({"input": "x", "model": "m"}).model == "m"
    with pytest.raises(RequestError):
        ask_for("x", temperature=9)


def test_asks_of_one_seed_are_the_same() -> None:
    assert ask_for("x").response_id == ask_for("x").response_id
