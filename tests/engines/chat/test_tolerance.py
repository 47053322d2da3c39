from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.engines.chat.chunks import Choice, Chunk, Delta, decode_chunk
from agentwire.engines.chat.counts import ChatUsage
from agentwire.engines.chat.tolerance import put_right
from agentwire.protocol.errors import RemoteProtocolError
from tests.engines.chat.kit import delta

CALL: dict[str, Any] = {"index": 0, "id": "c1", "function": {"name": "add", "arguments": "{}"}}


def chunk(told: Any) -> Chunk:
    return decode_chunk(json.dumps(told).encode())


def choice(**members: Any) -> Choice:
    choices = chunk({"choices": [{"delta": {"content": "x"}, **members}]}).choices
    assert choices is not None
    return choices[0]


def read(**members: Any) -> Delta:
    choices = chunk(delta(**members)).choices
    assert choices is not None
    found = choices[0].delta
    assert found is not None
    return found


@pytest.mark.parametrize(
    "calls", [CALL, [CALL, None], [{**CALL, "index": "0"}], [{**CALL, "index": 0.0}], [{**CALL, "type": 1, "id": 7}]]
)
def test_calls(calls: Any) -> None:
    (call,) = read(tool_calls=calls, annotations=3).calls
    assert (call.index, call.id in ("c1", "7"), call.name, call.arguments) == (0, True, "add", "{}")


@pytest.mark.parametrize("form", ["tool_calls", "function_call"])
def test_no_arguments_as_a_list(form: str) -> None:
    function = {"name": "add", "arguments": []}
    (call,) = read(**{form: function if form == "function_call" else [{"function": function}]}).calls
    assert call.arguments == "{}"


@pytest.mark.parametrize("content", [{"type": "text", "text": "x"}, ["x"], [None, {"type": "text", "text": "x"}]])
def test_content(content: Any) -> None:
    assert read(content=content).content == [{"type": "text", "text": "x"}]


@pytest.mark.parametrize("rest", [{"annotations": {"a": 1}}, {"reasoning_details": "x"}, {"reasoning": [1]}])
def test_what_can_be_missed(rest: Any) -> None:
    assert read(content="x", **rest).content == "x"


def test_details_alone() -> None:
    assert read(reasoning_details={"text": "Hm."}).reasoning_details == [{"text": "Hm."}]


@pytest.mark.parametrize(("reason", "read_as"), [({"type": "length"}, "length"), (0, None), ({"type": 1}, None)])
def test_reasons(reason: Any, read_as: str | None) -> None:
    assert choice(finish_reason=reason).finish_reason == read_as


def test_an_object_without_members_as_a_list() -> None:
    assert choice(delta=[]).delta is None


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ([], None),
        ("3", None),
        ({"prompt_tokens": "3", "cost": {"a": 1}}, ChatUsage(3)),
        ({"prompt_tokens": 3, "prompt_tokens_details": []}, ChatUsage(3)),
        ({"prompt_tokens": 1e300, "completion_tokens": 2.5}, ChatUsage(None, 2)),
    ],
)
def test_usage(usage: Any, counted: ChatUsage | None) -> None:
    assert chunk({"choices": [], "usage": usage}).usage == counted
    assert choice(usage=usage).usage == counted


@pytest.mark.parametrize(
    "told",
    [
        delta(content=5),
        delta(content=[5]),
        delta(tool_calls="x"),
        delta(tool_calls=[{"function": {"name": 1}}]),
        delta(tool_calls=[{"function": {"name": "add", "arguments": 5}}]),
        {"choices": [{"delta": "x"}]},
        {"choices": [3]},
        {"choices": {}},
        [{"error": None}],
    ],
)
def test_what_the_model_may_have_said_is_not_left_out(told: Any) -> None:
    with pytest.raises(RemoteProtocolError, match="no chunk of a chat completion"):
        chunk(told)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=8,
)
MEMBERS = st.dictionaries(
    st.sampled_from(["content", "tool_calls", "function_call", "usage", "index", "id", "finish_reason", "arguments"]),
    JSON,
)


@given(JSON, MEMBERS, MEMBERS, MEMBERS)
def test_nothing_at_all_breaks_it(usage: Any, choice_: Any, delta_: Any, call: Any) -> None:
    told = {**delta_, "tool_calls": [{**call, "function": call}]}
    put_right({"usage": usage, "choices": [{**choice_, "delta": told}, {**choice_, "message": delta_}]})
