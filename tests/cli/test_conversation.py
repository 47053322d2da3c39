"""What a conversation sends, and what it keeps when an answer is cut off."""

from __future__ import annotations

from agentwire.cli.conversation import Conversation
from agentwire.protocol.content import OutputText
from agentwire.protocol.items import (
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    Message,
)
from agentwire.protocol.response import Response
from agentwire.runtime.tools import ToolResult

CALL = FunctionCall("call_1", "add", "{}")
CUSTOM = CustomToolCall("call_2", "shell", "ls")
RESULTS = {"call_1": ToolResult("3"), "call_2": ToolResult("files")}
OUTPUTS = [FunctionCallOutput("call_1", "3"), CustomToolCallOutput("call_2", "files")]


def response(number: int, *items: Item) -> Response:
    return Response(id=f"resp_{number}", status="completed", output=items)


def said(text: str) -> Message:
    return Message("assistant", (OutputText(text),))


def test_only_what_is_new_is_sent() -> None:
    talk = Conversation()
    assert talk.say("one") == (Message("user", "one"),)
    talk.settle([response(1, said("1"))], {})
    assert talk.previous == "resp_1"
    assert talk.say("two") == (Message("user", "two"),)


def test_what_was_not_answered_is_sent_again() -> None:
    talk = Conversation()
    talk.say("one")
    talk.settle([], {})
    assert talk.previous is None
    assert talk.say("two") == (Message("user", "one"), Message("user", "two"))


def test_a_call_is_never_kept_without_its_output() -> None:
    talk = Conversation()
    talk.say("one")
    talk.settle([response(1, CALL, CUSTOM)], {"call_1": ToolResult("3")})
    assert talk.previous is None
    assert talk.say("two") == (Message("user", "one"), Message("user", "two"))


def test_the_outputs_of_the_last_calls_go_with_the_next_message() -> None:
    talk = Conversation()
    talk.say("one")
    talk.settle([response(1, CALL, CUSTOM)], RESULTS)
    assert talk.previous == "resp_1"
    assert talk.say("two") == (*OUTPUTS, Message("user", "two"))
    talk.settle([response(2, said("done"))], {})
    assert (talk.previous, talk.unanswered) == ("resp_2", [])
