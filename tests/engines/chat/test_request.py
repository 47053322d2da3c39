from __future__ import annotations

import json
from typing import Any

from agentwire.engines.chat.offers import Offers
from agentwire.engines.chat.request import body_of, settings_of
from agentwire.testing.recording import ask_for
from tests.engines.chat.kit import Json, sum_tool

STREAMING: Json = {"stream": True, "stream_options": {"include_usage": True}}


def settings(model: str | None = None, tokens_name: str = "max_tokens", **fields: Any) -> Json:
    ask = ask_for("x", **fields)
    return settings_of(ask, Offers.of(ask.tools, ask.tool_choice), model=model, tokens_name=tokens_name)


def test_a_bare_request_says_little() -> None:
    assert settings() == {"model": "test", **STREAMING}
    assert settings("other")["model"] == "other"


def test_what_the_client_set_goes_up() -> None:
    numbers: Json = {"temperature": 0.5, "top_p": 0.9, "presence_penalty": -1.0, "frequency_penalty": 1.5}
    sent = settings(**numbers, max_output_tokens=99, reasoning={"effort": "low"}, tools=[sum_tool()])
    assert {name: sent[name] for name in numbers} == numbers
    assert sent["max_tokens"] == 99
    assert sent["reasoning_effort"] == "low"
    assert sent["parallel_tool_calls"] is True
    assert settings(tokens_name="max_completion_tokens", max_output_tokens=99)["max_completion_tokens"] == 99
    assert settings(temperature=0)["temperature"] == 0


def test_what_strict_servers_refuse_stays_here() -> None:
    sent = settings(
        metadata={"a": "b"},
        prompt_cache_key="k",
        text={"verbosity": "low"},
        service_tier="flex",
        reasoning={"summary": "auto"},
        user="u",
        client_metadata={"x": "y"},
        unknown=1,
    )
    assert sent == {"model": "test", **STREAMING}


def test_formats() -> None:
    schema = {"type": "object", "properties": {}}
    wanted = {"type": "json_schema", "name": "n", "schema": schema, "strict": True, "description": "d"}
    told = {"name": "n", "description": "d", "schema": schema, "strict": True}
    assert settings(text={"format": wanted})["response_format"] == {"type": "json_schema", "json_schema": told}
    bare = {"type": "json_schema", "name": "n", "schema": schema}
    assert settings(text={"format": bare})["response_format"]["json_schema"] == {"name": "n", "schema": schema}
    assert settings(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    assert "response_format" not in settings(text={"format": {"type": "text"}})


def test_the_body_of_a_longer_conversation_begins_as_that_of_the_shorter_one() -> None:
    one, two = body_of({"model": "m"}, b'{"a":1}'), body_of({"model": "m"}, b'{"a":1},{"b":2}')
    assert json.loads(two) == {"model": "m", "messages": [{"a": 1}, {"b": 2}]}
    assert two.startswith(one.removesuffix(b"]}"))
