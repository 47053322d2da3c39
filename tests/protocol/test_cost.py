"""The cost of hostile messages: counted exactly, whatever the slices, and refused before anything is decoded."""

from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.protocol import cost
from agentwire.protocol.codec import decode_create, decode_create_steps, decode_envelope, decode_object
from agentwire.protocol.cost import check_cost, cost_steps
from agentwire.protocol.errors import RequestError
from agentwire.protocol.limits import Limits
from agentwire.testing.strategies import values as strategies

LIMITS = Limits()
MIB = 1024 * 1024
HEAD = b'{"type":"response.create","model":"m","input":'


def naive(text: str) -> tuple[int, int]:
    """Values (without the first of each container) and depth, character by character."""
    values = depth = deepest = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in "[{":
            values += 1
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
        elif character == ",":
            values += 1
    return values, deepest


TRICKY = st.text(st.sampled_from('\\",[]{}x\n'), max_size=12)
NESTED = st.recursive(
    TRICKY | st.integers(), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRICKY, inner, max_size=3)
)


def passes(message: bytes, limits: Limits) -> bool:
    try:
        check_cost(message, limits)
    except RequestError as error:
        if (error.status, error.code) != (400, "request_too_complex"):
            raise
        return False
    return True


@given(NESTED | strategies.JSON, st.integers(1, 6))
def test_the_count_is_exact_whatever_the_slices(value: object, size: int) -> None:
    text = json.dumps(value)
    values, depth = naive(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "SLICE", size)
        for limits in (Limits(json_values=max(values, 1)), Limits(json_depth=max(depth, 1))):
            assert passes(text.encode(), limits)
        if values > 1:
            assert not passes(text.encode(), Limits(json_values=values - 1, json_depth=10**6))
        if depth > 1:
            assert not passes(text.encode(), Limits(json_depth=depth - 1))


def test_the_limit_is_named() -> None:
    with pytest.raises(RequestError, match="more than 3 objects"):
        check_cost(b"[1,2,3,4]", Limits(json_values=3))
    with pytest.raises(RequestError, match="more than 3 levels"):
        check_cost(b"[[[[]]]]", Limits(json_depth=3))


HOSTILE = {
    "empty objects": HEAD + b"[" + b"{}," * (MIB // 3) + b"{}]}",
    "empty arrays": HEAD + b"[" + b"[]," * (MIB // 3) + b"[]]}",
    "small strings": HEAD + b"[" + b'"",' * (MIB // 3) + b'""]}',
    "numbers": HEAD + b"[" + b"1," * (MIB // 2) + b"1]}",
    "deep, and never closed": HEAD + b"[" * MIB,
    "deep": HEAD + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "deep objects": HEAD + b'{"a":' * 129 + b"1" + b"}" * 130,
    "members": HEAD + b"{" + b'"":1,' * (MIB // 4) + b'"":1}}',
    "closing only": HEAD + b"]" * MIB + b"[" * 300,
}


@pytest.mark.parametrize("frame", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_frame_is_refused_before_it_is_decoded(frame: bytes) -> None:
    steps = decode_create_steps(frame, LIMITS, transport="websocket")
    with pytest.raises(RequestError) as caught:
        for _ in steps:
            pass
    assert caught.value.code in ("request_too_complex", "invalid_json")
    with pytest.raises(RequestError):
        decode_object(frame, LIMITS)


def test_a_depth_that_is_allowed_is_read() -> None:
    frame = HEAD + b'[{"type":"x","raw":' + b"[" * 125 + b"]" * 125 + b"}]}"
    assert len(decode_create(frame, LIMITS, transport="websocket").input) == 1


def test_text_that_looks_hostile_is_only_text() -> None:
    text = '{[,"\\' * 200_000
    frame = json.dumps({"type": "response.create", "model": "m", "input": text}).encode()
    assert decode_create(frame, LIMITS, transport="websocket").input[0].text == text  # type: ignore[union-attr]


def test_an_envelope_of_a_frame_that_is_too_complex_can_still_be_read() -> None:
    assert decode_envelope(HOSTILE["empty objects"], LIMITS).type == "response.create"


def test_a_small_message_is_not_scanned() -> None:
    assert list(cost_steps(b"[1,2,3]", LIMITS)) == []


def test_a_step_is_a_slice() -> None:
    frame = b'"' + b"x" * (4 * cost.SLICE) + b'"'
    assert sum(1 for _ in cost_steps(frame, attrs.evolve(LIMITS, json_values=10))) == 5
