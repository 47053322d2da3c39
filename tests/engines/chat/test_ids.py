from __future__ import annotations

import json

from agentwire.engines.chat.dialect import ChatDialect
from agentwire.engines.chat.ids import call_id_of
from agentwire.engines.chat.messages import render
from agentwire.protocol.transcript import Memo
from tests.engines.chat.test_messages import function_call, items, output, says, server_call


def test_short_ids_are_kept_and_others_made_of_them() -> None:
    assert call_id_of("any id_1", "any") == "any id_1"
    assert call_id_of("Ab3dE6gH9", "short") == "Ab3dE6gH9"
    made = {call_id_of(call_id, "short") for call_id in ("call_1", "call_2", "mcp-45678", "ä23456789", "\ud800")}
    assert len(made) == 5
    assert all(len(each) == 9 and each.isascii() and each.isalnum() for each in made)
    assert call_id_of("call_1", "short") in made


def test_a_call_and_its_answer_have_the_same_id() -> None:
    raw = (says("user", "one"), function_call("call_1"), output("call_1"), server_call(id="mcp_1"))
    prompt = render(items(*raw), Memo(), dialect=ChatDialect(call_ids="short"))
    _, first, one, second, two = json.loads(b"[%b]" % prompt.messages())
    ids = [first["tool_calls"][0]["id"], second["tool_calls"][0]["id"]]
    assert ids == [call_id_of("call_1", "short"), call_id_of("mcp_1", "short")]
    assert [one["tool_call_id"], two["tool_call_id"]] == ids
