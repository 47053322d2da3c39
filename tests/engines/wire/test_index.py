"""Histories that are recognized, and those that are not: what a client may change of an item, and what it may not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentwire.engines.wire.canonical import canonical_item, canonical_settings, sealed_part
from agentwire.engines.wire.index import ChainIndex, Transcript, settings_key

Json = dict[str, Any]


def said(text: str, **more: Any) -> Json:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [part], **more}


def call(arguments: str, **more: Any) -> Json:
    return {"type": "function_call", "call_id": "call_1", "name": "read", "arguments": arguments, **more}


def output(text: Any, **more: Any) -> Json:
    return {"type": "function_call_output", "call_id": "call_1", "output": text, **more}


THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}

SAME: list[tuple[Json, Json]] = [
    (said("Hi."), {"role": "assistant", "content": "Hi."}),
    (said("Hi."), said("Hi.", id="msg_2", status=None, phase="final_answer")),
    (said("Hi."), {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]}),
    ({"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "input_text", "text": "a"}]}),
    (call('{"a": 1, "b": [2.50]}', id="fc_1", status="completed"), call('{"b":[2.50],"a":1}')),
    (call("no json"), call("no json", namespace=None)),
    (output("done"), output([{"type": "input_text", "text": "done"}], id="fco_1", status="completed")),
    (THOUGHT, {**THOUGHT, "id": "other", "content": None, "status": "completed"}),
    ({**THOUGHT, "content": []}, THOUGHT),
    (
        {"role": "user", "content": [{"type": "input_image", "image_url": "x", "detail": "auto"}]},
        {"role": "user", "content": [{"type": "input_image", "image_url": "x", "file_id": None}]},
    ),
]

OTHER: list[tuple[Json, Json]] = [
    (said("Hi."), said("Hi")),
    (said("Hi."), said("Hi.", role="user")),
    (said("ab"), {"role": "assistant", "content": [{"type": "output_text", "text": t} for t in "ab"]}),
    (said("I will not."), {"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not."}]}),
    (call('{"a": 1}'), call('{"a": 1.0}')),
    (call('{"a": 1.0}'), call('{"a": 1.00000000000000000001}')),
    (call('{"a": 1}'), call('{"a": "1"}')),
    (call('{"a": 1}'), call('{"a": true}')),
    (call('{"a": {}}'), call('{"a": []}')),
    (call("{}"), call("{}", call_id="call_2")),
    (call("{}"), call("{}", name="write")),
    (call("{}"), call("{}", namespace="files")),
    (call("{}"), {"type": "custom_tool_call", "call_id": "call_1", "name": "read", "input": "{}"}),
    (output("done"), output("done", call_id="call_2")),
    (output("done"), output("Done")),
    (output("done"), output([{"type": "input_image", "image_url": "done"}])),
    (output("{}"), output("{ }")),
    (THOUGHT, {**THOUGHT, "summary": []}),
    ({"type": "compaction", "encrypted_content": "a"}, {"type": "compaction", "encrypted_content": "b"}),
    (
        {"type": "mcp_approval_request", "id": "a", "name": "n"},
        {"type": "mcp_approval_request", "id": "b", "name": "n"},
    ),
    ({"type": "unheard_of", "x": [1, None]}, {"type": "unheard_of", "x": [1]}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same(one: Json, other: Json) -> None:
    assert canonical_item(one) == canonical_item(other)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_not_the_same(one: Json, other: Json) -> None:
    assert canonical_item(one) != canonical_item(other)


def test_what_is_sealed_is_not_content() -> None:
    sealed = {**THOUGHT, "encrypted_content": "abc"}
    assert canonical_item(sealed) == canonical_item(THOUGHT)
    assert (sealed_part(sealed), sealed_part(THOUGHT), sealed_part(said("x", encrypted_content="y"))) == (
        b"abc",
        b"",
        b"",
    )


def test_settings() -> None:
    same = {"instructions": "Be brief.", "tools": [{"type": "function", "name": "a"}]}
    assert canonical_settings("m", same) == canonical_settings("m", {**same, "metadata": {"a": "b"}, "user": "me"})
    for other in ({**same, "instructions": "x"}, {**same, "tools": []}, {**same, "temperature": 0}, {}):
        assert canonical_settings("m", same) != canonical_settings("m", other)
    assert canonical_settings("m", same) != canonical_settings("n", same)
    assert settings_key("alice", "m", same) != settings_key("bob", "m", same)


def marks(items: list[Json]) -> list[Any]:
    return [state.mark for state in Transcript().marks(items)]


def test_the_longest_known_beginning_is_found() -> None:
    index, items = ChainIndex(10), [{"role": "user", "content": text} for text in "abcdef"]
    index.put(b"s", marks(items)[1], "resp_1")
    index.put(b"s", marks(items)[3], "resp_2")
    assert index.find(b"s", marks(items)) == ("resp_2", 4)
    assert index.find(b"s", marks(items), lambda response_id: response_id == "resp_1") == ("resp_1", 2)
    assert index.find(b"other", marks(items)) is None
    assert index.find(b"s", marks(items[1:])) is None
    index.drop("resp_2")
    index.drop("resp_2")
    assert index.find(b"s", marks(items)) == ("resp_1", 2)


def test_a_continued_transcript_is_that_of_the_whole() -> None:
    items = [{"role": "user", "content": text} for text in "abc"]
    begun = Transcript().extend(items[:1])
    assert begun.extend(items[1:]).mark == Transcript().extend(items).mark
    assert begun.extend([]) is begun


@pytest.mark.parametrize(
    ("seals", "found"), [((None, None), True), (("a", "b"), True), (("a", None), False), (("b", "a"), False)]
)
def test_sealed_content_is_left_out_whole_or_is_the_same(seals: tuple[str | None, ...], found: bool) -> None:
    def thoughts(seals: tuple[str | None, ...]) -> list[Json]:
        return [{**THOUGHT, "encrypted_content": seal} for seal in seals]

    index = ChainIndex(10)
    index.put(b"s", marks(thoughts(("a", "b")))[-1], "resp_1")
    assert (index.find(b"s", marks(thoughts(seals))) is not None) is found


def test_the_least_recently_used_make_room() -> None:
    index = ChainIndex(2)
    one, two, three = ([{"role": "user", "content": text}] for text in "abc")
    index.put(b"s", marks(one)[0], "resp_1")
    index.put(b"s", marks(two)[0], "resp_2")
    assert index.find(b"s", marks(one)) == ("resp_1", 1)
    index.put(b"s", marks(three)[0], "resp_3")
    assert index.find(b"s", marks(two)) is None
    assert index.find(b"s", marks(one)) == ("resp_1", 1)
    index.put(b"s", marks(one)[0], "resp_4")  # the same conversation, from another response
    assert index.find(b"s", marks(one)) == ("resp_4", 1)
    assert len(index) == 2
    index.drop("resp_1")
    assert len(index) == 2


words = st.text('ab \u00e9"\\{}', max_size=4)
items_of = st.one_of(
    words.map(said),
    words.map(lambda text: {"role": "user", "content": text}),
    st.dictionaries(words, st.integers(0, 2) | words, max_size=2).map(lambda value: call(repr(value))),
    words.map(output),
    words.map(lambda text: {**THOUGHT, "summary": [{"type": "summary_text", "text": text}]}),
)


@settings(max_examples=50)
@given(history=st.lists(items_of, min_size=1, max_size=4), other=st.lists(items_of, min_size=1, max_size=4))
def test_two_histories_are_one_only_if_their_items_are(history: list[Json], other: list[Json]) -> None:
    same = list(map(canonical_item, history)) == list(map(canonical_item, other))
    assert (marks(history)[-1] == marks(other)[-1]) is same


@settings(max_examples=50)
@given(history=st.lists(items_of, min_size=1, max_size=4), place=st.integers(0, 3), letter=st.sampled_from("abc"))
def test_a_letter_more_anywhere_is_another_history(history: list[Json], place: int, letter: str) -> None:
    other = copy.deepcopy(history)
    item = other[place % len(other)]
    match item.get("type"):
        case "function_call":
            item["arguments"] += letter
        case "function_call_output":
            item["output"] += letter
        case "reasoning":
            item["summary"][0]["text"] += letter
        case "message":
            item["content"][0]["text"] += letter
        case _:
            item["content"] += letter
    assert marks(history)[-1].said != marks(other)[-1].said
