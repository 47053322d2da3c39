from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.engines.chat.dialect import ChatDialect, Order
from agentwire.engines.chat.messages import render
from agentwire.engines.chat.order import BRIDGE
from agentwire.protocol.items import Item
from agentwire.protocol.transcript import Memo
from tests.engines.chat.kit import Json, chat, step, text
from tests.engines.chat.test_messages import answered, called, function_call, items, output, says, turns

USER, LATE = says("user", "one"), says("developer", "late")
IMAGE = {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}
PICTURE = {"type": "image_url", "image_url": {"url": "data:x"}}
ALTERNATING = ChatDialect(order="alternating")


def user(content: Any) -> Json:
    return {"role": "user", "content": content}


def shown(*raw: Json, order: Order = "alternating", memo: Memo | None = None) -> list[Json]:
    told = render(items(*raw), memo or Memo(), dialect=ChatDialect(order=order)).messages()
    messages: list[Json] = json.loads(b"[%b]" % told)
    return messages


def test_what_the_system_says_later_is_told_as_the_users() -> None:
    begun = ({"role": "system", "content": "late"}, user("one"))
    assert shown(LATE, USER, LATE, order="system_first") == [*begun, user("late")]
    assert shown(LATE, USER, LATE, order="any") == [*begun, {"role": "system", "content": "late"}]


def test_what_the_user_says_in_a_row_is_one_message() -> None:
    assert shown(USER, LATE, says("user", "two"), says("assistant", "x"), USER) == [
        user("one\n\nlate\n\ntwo"),
        {"role": "assistant", "content": "x"},
        user("one"),
    ]
    assert shown(USER, IMAGE, USER) == [
        user([{"type": "text", "text": "one"}, PICTURE, {"type": "text", "text": "one"}])
    ]
    assert shown(IMAGE, IMAGE) == [user([PICTURE, PICTURE])]
    assert shown(says("user", ""), IMAGE) == [user([PICTURE])]


def test_the_assistant_speaks_between_a_tool_and_the_user() -> None:
    made = called(("c1", "add", '{"a":1}'))
    assert shown(USER, function_call("c1"), output("c1"), USER) == [
        user("one"),
        made,
        answered("c1"),
        BRIDGE,
        user("one"),
    ]
    picture = [{"type": "input_image", "image_url": "data:x"}]
    assert shown(function_call("c1"), output("c1", picture), USER)[2:] == [
        BRIDGE,
        user([PICTURE, {"type": "text", "text": "one"}]),
    ]
    assert shown(USER, function_call("c1"), output("c1"), function_call("c2"), output("c2"))[-2]["role"] == "assistant"


def test_a_turn_that_said_nothing_is_bridged() -> None:
    memo = Memo()
    assert shown(USER, memo=memo) == [user("one")]
    assert shown(USER, USER, memo=memo) == [user("one"), BRIDGE, user("one")]


@given(turns(), st.data())
def test_roles_alternate_however_a_conversation_is_cut(pieces: list[tuple[Item, ...]], data: st.DataObject) -> None:
    memo, settled = Memo(), b""
    for end in range(1, len(pieces) + 1, 2):
        if data.draw(st.booleans()):
            known = tuple(item for piece in pieces[:end] for item in piece)
            prompt = render(known, memo, dialect=ALTERNATING)
            told = prompt.messages()
            assert told.startswith(settled)
            settled = told.removesuffix(b"," + prompt.tail) if prompt.tail and prompt.rendered.json else settled
            messages = json.loads(b"[%b,%b]" % (told, prompt.followed_by("sum up")) if told else b"[]")
            roles = [message["role"] for message in messages]
            assert "system" not in roles[1:]
            assert not {("user", "user"), ("tool", "user"), ("user", "tool")} & {*pairwise(roles)}


@pytest.mark.socket
async def test_the_engine_asks_in_its_dialects_order() -> None:
    asked = [USER, LATE, {"role": "user", "content": "two"}]
    async with chat(text("x"), dialect=ALTERNATING) as (engine, server):
        done = await step(engine, asked)
        await engine.compact(done.ask)  # type: ignore[attr-defined]
        one, two = (body["messages"] for body in server.bodies)
        assert one == [user("one\n\nlate\n\ntwo")]
        assert [message["role"] for message in two] == ["user", "assistant", "user"]
