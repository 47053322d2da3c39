"""What is in a compaction's blob, who can read it, and what becomes of one that was changed."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.protocol.codec import decode_create, decode_item, encode_item
from agentwire.protocol.compaction import _checksum, open_compaction, open_compactions, read_compactions, seal
from agentwire.protocol.errors import RequestError
from agentwire.protocol.items import Compaction, FunctionCall, Item, Message, OpenedCompaction, Summary
from agentwire.protocol.limits import Limits
from agentwire.testing.strategies.values import UNIONS


def forged(told: Any) -> Compaction:
    """A blob with a right checksum round anything."""
    body = urlsafe_b64encode(json.dumps(told).encode())
    return Compaction(f"agentwire1.{_checksum(body)}.{body.decode()}")


def refusal(item: Compaction, **how: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        open_compaction(item, "input[3]", **how)
    assert (caught.value.status, caught.value.code) == (400, "invalid_encrypted_content")
    assert caught.value.param == "input[3].encrypted_content"
    return caught.value


@given(st.text(), st.lists(UNIONS[Item], max_size=4), st.booleans())
def test_what_is_sealed_comes_back(summary: str, kept: list[Item], apart: bool) -> None:
    wire = [encode_item(item) for item in kept if item.type not in ("item_reference", "compaction_trigger")]
    kept = [decode_item(each) for each in json.loads(json.dumps(wire))]
    sealed = seal("cmp_1", summary, kept, after_messages=apart)
    on_the_wire = json.loads(json.dumps(encode_item(sealed)))
    assert set(on_the_wire) == {"type", "id", "encrypted_content"}
    (opened,) = open_compactions((decode_item(on_the_wire),))
    assert isinstance(opened, OpenedCompaction)
    assert [encode_item(item) for item in opened.kept] == [encode_item(item) for item in kept]
    assert (opened.after_messages, opened.encrypted_content) == (apart, sealed.encrypted_content)
    assert encode_item(opened) == on_the_wire


def test_what_an_engine_sees_of_it() -> None:
    said, call = Message("user", "go on"), FunctionCall("call_1", "read", "{}")
    summary, *rest = seal("cmp_1", "it began well", (said, call)).shown
    assert isinstance(summary, Summary)
    assert (summary.role, summary.text, summary.id) == ("user", "it began well", "cmp_1")
    assert rest == [said, call]
    assert seal("cmp_1", "", (said,)).shown == (said,)


@given(st.data())
def test_one_that_was_changed_is_refused(data: st.DataObject) -> None:
    blob = seal("cmp_1", "a summary", (Message("user", "hi"),)).encrypted_content
    at = data.draw(st.integers(len("agentwire1."), len(blob) - 1))
    other = data.draw(st.sampled_from("AZaz09_-.=é").filter(lambda letter: letter != blob[at]))
    assert "not as it was" in refusal(Compaction(blob[:at] + other + blob[at + 1 :])).message
    cut = blob[:at]
    assert "not as it was" in refusal(Compaction(cut)).message


def test_another_version_is_refused_and_another_make_is_carried() -> None:
    blob = seal("cmp_1", "a summary", ()).encrypted_content
    assert "version 2" in refusal(Compaction(blob.replace("agentwire1.", "agentwire2."))).message
    for foreign in ("", "gAAAAABk", "agentwire", "Agentwire1.x.y"):
        item = Compaction(foreign)
        assert open_compaction(item) is item


def test_one_that_is_too_large_is_refused() -> None:
    sealed = seal("cmp_1", "x" * 1000, ())
    assert (
        "more than 999 bytes"
        in refusal(Compaction(sealed.encrypted_content), limits=Limits(compaction_bytes=999)).message
    )
    assert "cannot be read" in refusal(forged([]), limits=Limits(json_values=1)).message
    many = seal("cmp_1", "", [Message("user", "x")] * 3)
    closed = Compaction(many.encrypted_content)
    assert "cannot be read" in refusal(closed, limits=Limits(input_items=2)).message


@pytest.mark.parametrize(
    "told",
    [
        [],
        {},
        {"summary": 1, "items": [], "after_messages": False},
        {"summary": "", "items": {}, "after_messages": False},
        {"summary": "", "items": [], "after_messages": 0},
        {"summary": "", "items": [5], "after_messages": False},
        {"summary": "", "items": [{"type": "function_call"}], "after_messages": False},
        {"summary": "", "items": [{"type": "item_reference", "id": "msg_1"}], "after_messages": False},
        {"summary": "", "items": [{"type": "compaction_trigger"}], "after_messages": False},
    ],
)
def test_whoever_can_compute_a_checksum_cannot_put_nonsense_there(told: Any) -> None:
    assert "cannot be read" in refusal(forged(told)).message


def test_a_blob_that_is_no_json_or_no_base64() -> None:
    for body in (b"bm90IGpzb24=", b"A"):
        assert "cannot be read" in refusal(Compaction(f"agentwire1.{_checksum(body)}.{body.decode()}")).message


def test_a_request_names_the_item_that_is_wrong() -> None:
    blob = seal("cmp_1", "a summary", ()).encrypted_content
    body: Any = {
        "model": "m",
        "input": [{"type": "compaction", "encrypted_content": blob, "id": "cmp_1", "created_by": "x"}],
    }
    request = decode_create(json.dumps(body).encode(), Limits(), transport="http")
    (opened,) = request.input
    assert isinstance(opened, OpenedCompaction)
    assert encode_item(opened) == body["input"][0]
    body["input"].insert(0, {"type": "compaction", "encrypted_content": blob[:-4]})
    with pytest.raises(RequestError) as caught:
        decode_create(json.dumps(body).encode(), Limits(), transport="http")
    assert caught.value.param == "input[0].encrypted_content"


def test_items_at_rest_that_cannot_be_opened_stay_closed() -> None:
    changed = Compaction("agentwire1.x.y", id="cmp_1")
    items = (Message("user", "hi"), changed, seal("cmp_2", "s", ()))
    assert open_compactions(items) == items
    assert open_compactions(items[:1]) == items[:1]


def test_a_large_one_is_opened_in_steps() -> None:
    blob = seal("cmp_1", "", [Message("user", "x")] * 1000).encrypted_content
    steps = read_compactions([Compaction(blob), Message("user", "x"), Compaction(blob)], Limits())
    taken, opened = 0, None
    while opened is None:
        try:
            next(steps)
            taken += 1
        except StopIteration as stop:
            opened = stop.value
    assert taken == 2 * (2 + 3)
    assert [type(item).__name__ for item in opened] == ["OpenedCompaction", "Message", "OpenedCompaction"]
