from __future__ import annotations

import json

import pytest

from agentwire.engines.chat.chunks import CallDelta, Delta, FunctionDelta, decode_chunk
from agentwire.protocol.errors import RemoteProtocolError
from agentwire.protocol.response import Usage
from tests.engines.chat.kit import Json, delta


def read(**members: object) -> Delta:
    choices = decode_chunk(json.dumps(delta(**members)).encode()).choices
    assert choices is not None
    found = choices[0].delta
    assert found is not None
    return found


def usage(**members: object) -> Usage:
    found = decode_chunk(json.dumps({"choices": [], "usage": members}).encode()).usage
    assert found is not None
    return found.usage()


def test_nulls_and_what_is_unknown_do_not_matter() -> None:
    assert read(content=None, tool_calls=None, refusal=None, function_call=None, role="assistant", audio={}).calls == []
    assert decode_chunk(b'{"choices":null,"usage":null,"error":null,"timings":{},"object":"x"}').choices is None
    assert decode_chunk(b"{}").usage is None


def test_calls_in_the_old_form_and_the_new() -> None:
    old, new = {"name": "add", "arguments": "{}"}, {"index": 0, "id": "c", "function": {"name": "add"}}
    assert [call.name for call in read(function_call=old).calls] == ["add"]
    both = read(function_call=old, tool_calls=[new]).calls
    assert [(call.id, call.arguments) for call in both] == [("c", "")]


def test_arguments_may_come_as_an_object() -> None:
    assert CallDelta(function=FunctionDelta("add", {"a": [1]})).arguments == '{"a":[1]}'
    assert (CallDelta().arguments, CallDelta().name) == ("", "")


def test_usage_in_all_its_forms() -> None:
    assert usage(prompt_tokens=3, completion_tokens=2) == Usage(3, 2)
    details: Json = {
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert usage(prompt_tokens=3, completion_tokens=2, **details) == Usage(3, 2, 1, 2)
    assert usage(prompt_tokens=3, completion_tokens=2, prompt_cache_hit_tokens=1) == Usage(3, 2, 1)
    assert usage(prompt_tokens=3, cached_tokens=2, reasoning_tokens=1) == Usage(3, 0, 2, 1)
    assert usage(prompt_tokens=3, cache_read_input_tokens=2, cache_creation_input_tokens=1) == Usage(3, 0, 2, 0, 1)
    assert usage(prompt_tokens=None, prompt_tokens_details=None, completion_tokens_details={}) == Usage()


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"null", b"{", b'{"choices":{}}', b'{"choices":[{"delta":"x"}]}', b"\xff"]
)
def test_rubbish_is_named(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="no chunk of a chat completion"):
        decode_chunk(payload)
