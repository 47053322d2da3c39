from __future__ import annotations

from typing import Any

import pytest

from agentwire.protocol.codec import decode_item
from agentwire.protocol.errors import RequestError
from agentwire.protocol.items import Item, Message
from agentwire.protocol.listing import list_page
from agentwire.protocol.transcript import Node

CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "read", "arguments": "{}"}
ANSWER = {"type": "function_call_output", "call_id": "call_1", "output": "done"}


def items(*raws: dict[str, Any]) -> tuple[Item, ...]:
    return tuple(decode_item(raw) for raw in raws)


def conversation() -> Node:
    """A question, a call, its answer and an opaque item, and a text that is nobody's input yet."""
    first = Node.root("resp_1", (Message("user", "hi"),), items(CALL))
    odd = {"type": "computer_call_output", "call_id": "x", "output": {}}
    return first.extend("resp_2", items(ANSWER, odd), (Message("assistant", "bye", id="msg_9"),))


def ids(page: dict[str, Any]) -> list[str]:
    return [item["id"] for item in page["data"]]


def test_the_whole_input_is_listed_with_ids_and_status() -> None:
    page = list_page(conversation(), newest_first=False, limit=20)
    assert [item["type"] for item in page["data"]] == [
        "message", "function_call", "function_call_output", "computer_call_output",
    ]  # fmt: skip
    message, call, answer, odd = page["data"]
    assert message["content"] == [{"type": "input_text", "text": "hi"}]
    assert [item.get("status") for item in page["data"]] == ["completed", "completed", "completed", None]
    assert (call["id"], call["arguments"]) == ("fc_1", "{}")
    assert message["id"].startswith("msg_")
    assert answer["id"].startswith("fco_")
    assert odd["id"].startswith("item_")
    assert (page["object"], page["first_id"], page["last_id"]) == ("list", message["id"], odd["id"])
    assert page["has_more"] is False


def test_ids_are_the_same_in_every_listing_and_in_that_of_a_continuation() -> None:
    node = conversation()
    first = ids(list_page(node, newest_first=False, limit=20))
    assert ids(list_page(node, newest_first=True, limit=20)) == first[::-1]
    later = node.extend("resp_3", (Message("user", "more"),), ())
    assert ids(list_page(later, newest_first=False, limit=20))[:5] == [*first, "msg_9"]
    assert len(set(first)) == 4


def test_an_assistants_text_is_shown_as_what_it_wrote() -> None:
    node = Node.root("resp_1", (Message("assistant", "yes"),), ())
    (shown,) = list_page(node, newest_first=False, limit=1)["data"]
    assert shown["content"] == [{"type": "output_text", "text": "yes", "annotations": [], "logprobs": []}]


@pytest.mark.parametrize("newest_first", [False, True])
def test_pages_follow_each_other_in_both_directions(newest_first: bool) -> None:
    node = Node.root("resp_1", tuple(Message("user", str(number), id=f"msg_{number}") for number in range(7)), ())
    whole = [f"msg_{number}" for number in range(7)]
    whole = whole[::-1] if newest_first else whole
    seen: list[str] = []
    after = None
    while True:
        page = list_page(node, newest_first=newest_first, limit=3, after=after)
        seen += ids(page)
        after = page["last_id"]
        assert page["has_more"] is (len(seen) < 7)
        if not page["has_more"]:
            break
    assert seen == whole
    back = list_page(node, newest_first=newest_first, limit=2, before=whole[3])
    assert (ids(back), back["has_more"]) == (whole[1:3], True)
    between = list_page(node, newest_first=newest_first, limit=9, after=whole[1], before=whole[4])
    assert (ids(between), between["has_more"]) == (whole[2:4], False)


def test_a_page_of_nothing() -> None:
    page = list_page(Node.root("resp_1", (), ()), newest_first=True, limit=20)
    assert page == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize("param", ["after", "before"])
def test_a_cursor_that_is_no_item(param: str) -> None:
    cursor: dict[str, Any] = {param: "msg_x"}
    with pytest.raises(RequestError) as caught:
        list_page(conversation(), newest_first=True, limit=20, **cursor)
    assert (caught.value.status, caught.value.param) == (400, param)
