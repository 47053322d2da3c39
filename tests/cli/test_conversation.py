"""What a conversation sends, and what it keeps when an answer is cut off."""

from __future__ import annotations

from agentwire.cli.conversation import Conversation
from agentwire.client import ToolFinished, TurnFinished
from agentwire.protocol.content import OutputText
from agentwire.protocol.items import (
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    Message,
    Reasoning,
)
from agentwire.protocol.response import Response
from agentwire.runtime.tools import ToolResult

CALL = FunctionCall("call_1", "add", "{}")
CUSTOM = CustomToolCall("call_2", "shell", "ls")


def turn(number: int, *items: Item) -> TurnFinished:
    return TurnFinished(Response(id=f"resp_{number}", status="completed", output=items))


def said(text: str) -> Message:
    return Message("assistant", (OutputText(text),))


def test_only_what_is_new_while_the_connection_lasts() -> None:
    talk = Conversation()
    assert talk.say("one") == (Message("user", "one"),)
    talk.take(turn(1, said("1")))
    talk.settle(connected=True)
    assert talk.previous == "resp_1"
    assert talk.say("two") == (Message("user", "two"),)


def test_everything_after_a_hang_up() -> None:
    talk = Conversation()
    talk.say("one")
    talk.take(turn(1, Reasoning(), Reasoning(encrypted_content="x"), said("1")))
    talk.settle(connected=False)
    assert talk.previous is None
    assert talk.say("two") == (
        Message("user", "one"),
        Reasoning(encrypted_content="x"),
        said("1"),
        Message("user", "two"),
    )


def test_a_call_is_never_kept_without_its_output() -> None:
    talk = Conversation()
    talk.say("one")
    talk.take(turn(1, CALL, CUSTOM))
    talk.take(ToolFinished(CALL, ToolResult("3"), 0.1))
    talk.settle(connected=False)
    assert talk.say("two") == (Message("user", "one"), Message("user", "two"))


def test_calls_are_kept_with_their_outputs_in_order() -> None:
    talk = Conversation()
    talk.say("one")
    talk.take(turn(1, CALL, CUSTOM))
    talk.take(ToolFinished(CUSTOM, ToolResult("files"), 0.1))
    talk.take(ToolFinished(CALL, ToolResult("3"), 0.1))
    talk.take(turn(2, said("done")))
    talk.settle(connected=True)
    assert talk.previous == "resp_2"
    assert talk.items == [
        Message("user", "one"),
        CALL,
        CUSTOM,
        FunctionCallOutput("call_1", "3"),
        CustomToolCallOutput("call_2", "files"),
        said("done"),
    ]
