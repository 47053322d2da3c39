"""Reading a conversation: the request, the exchanges since, and a memo that makes a continuation cheap."""

from __future__ import annotations

from typing import Any

import pytest

from agentwire.engines.builtin.reading import Exchange, read
from agentwire.engines.builtin.toolbox import offers
from agentwire.protocol.codec import decode_item
from agentwire.protocol.items import Item
from agentwire.protocol.transcript import Memo
from agentwire.runtime.counting import items_tokens


def items(*raw: dict[str, Any]) -> tuple[Item, ...]:
    return tuple(map(decode_item, raw))


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def call(call_id: str, name: str = "grep", arguments: str = '{"q": "x"}') -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def output(call_id: str, text: Any, **more: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text, **more}


def test_the_latest_message_of_the_user_is_the_request() -> None:
    reading = read(
        items(user("one"), {"role": "assistant", "content": "no"}, user("two"), {"role": "system", "content": "x"})
    )
    assert (reading.request, reading.since, reading.before) == ("two", [], [])


def test_exchanges_since_the_request_and_before_it() -> None:
    history = items(
        user("one"), call("a"), output("a", "A"), user("two"), call("b"), call("c"), output("c", "C"), output("b", "B")
    )
    reading = read(history)
    assert [each.output for each in reading.since] == ["B", "C"]
    assert [each.output for each in reading.before] == ["A"]


def test_an_answer_to_a_call_that_was_left_behind_is_passed_over() -> None:
    reading = read(items(call("a"), user("two"), output("a", "late")))
    assert reading.since == []
    assert [each.output for each in reading.before] == [""]


def test_calls_of_all_kinds() -> None:
    reading = read(
        items(
            user("go"),
            {"type": "custom_tool_call", "call_id": "p", "name": "patch", "input": "*** Begin"},
            {"type": "custom_tool_call_output", "call_id": "p", "output": "done"},
            {"type": "mcp_approval_request", "id": "r", "server_label": "s", "name": "grep", "arguments": "{}"},
            {"type": "mcp_approval_response", "approval_request_id": "r", "approve": True},
            {"type": "mcp_call", "server_label": "s", "name": "grep", "arguments": "{}", "output": "hit"},
            {"type": "mcp_call", "server_label": "s", "name": "grep", "arguments": "{}", "error": {"code": 3}},
            {"type": "shell_call", "call_id": "s", "action": {"commands": ["ls"]}},
            {
                "type": "shell_call_output",
                "call_id": "s",
                "output": [{"stdout": "a\n", "stderr": "!"}, {"stdout": "b"}],
            },
            {"type": "apply_patch_call", "call_id": "d", "operation": {"type": "delete_file", "path": "x"}},
            {"type": "apply_patch_call_output", "call_id": "d", "status": "failed", "output": None},
        )
    )
    assert [(each.name, each.arguments, each.output, each.error) for each in reading.since] == [
        ("patch", "*** Begin", "done", False),
        ("grep", "{}", "hit", False),
        ("grep", "{}", '{"code":3}', True),
        ("shell", '{"commands":["ls"]}', "a\n!\nb", False),
        ("apply_patch", '{"diff":"","type":"delete_file","path":"x"}', "failed", True),
    ]


def test_what_another_agent_says_is_the_request() -> None:
    content = [{"type": "encrypted_content", "encrypted_content": "Find the file."}]
    told = {"type": "agent_message", "author": "/root", "recipient": "/root/finder", "content": content}
    assert read(items(user("go"), told)).request == "Find the file."


def test_what_is_not_text_is_named() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA"}
    text = {"type": "input_text", "text": "look"}
    parts = [text, image, image, {"type": "input_file", "file_id": "f", "filename": "r.pdf"},
             {"type": "input_audio", "data": ""}]  # fmt: skip
    assert read(items(user(parts))).attached == "2 images and r.pdf and a part of type input_audio"
    (exchange,) = read(items(user("x"), call("a"), output("a", [image]))).since
    assert (exchange.output, exchange.attached) == ("", "1 image")


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("Error: no such file", True), ("[Errno 2] No such file", False), ("Traceback (most recent call last)", True),
        ('{"error": "bad"}', True), ('{"error": null}', False), ("all is well, no errors", False), ("", False),
    ],
)  # fmt: skip
def test_failures_are_told_from_the_output(text: str, failed: bool) -> None:
    assert Exchange("a", "{}", text).failed is failed
    assert Exchange("a", "{}", text, error=True).failed


def test_tools_that_come_as_items() -> None:
    tools = [{"type": "function", "name": "late", "parameters": {}}, {"type": "web_search"}, {"name": "?"}, 7]
    reading = read(
        items({"type": "additional_tools", "role": "developer", "tools": tools}, {"type": "additional_tools"})
    )
    assert [offer.name for offer in offers(reading.late)] == ["late"]


def test_a_memo_is_taken_up_where_it_ends() -> None:
    memo = Memo()
    first = items(user("my name is Ada"), call("a"))
    one = read(first, memo)
    assert memo.value[0] == 2
    longer = (*first, *items(output("a", "A")))
    two = read(longer, memo)
    assert [each.output for each in two.since] == ["A"]
    assert [each.output for each in one.since] == [""], "the earlier reading stays as it was"
    assert two.facts["name"] == "Ada"
    assert two.tokens == items_tokens(longer) == read(longer).tokens


def test_a_fork_does_not_take_up_the_other_branch() -> None:
    memo = Memo()
    base = items(user("go"), call("a"))
    read((*base, *items(output("a", "left"))), memo)
    right = (*base, *items(output("a", "right"), user("next")))
    assert [each.output for each in read(right, memo).before] == ["right"]
    assert read(base, memo).since[0].output == "", "a shorter conversation is read anew"


def test_an_empty_conversation_leaves_the_memo_alone() -> None:
    memo = Memo()
    assert read((), memo).request == ""
    assert memo.value is None


def test_a_long_message_is_cut_and_counted_in_full() -> None:
    reading = read(items(user("x" * 100_000)))
    assert len(reading.request) == 32_768
    assert reading.tokens > 25_000
