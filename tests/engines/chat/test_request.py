from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from agentwire.engines.chat.dialect import ChatDialect
from agentwire.engines.chat.request import body_of, format_words, settings_of
from agentwire.engines.offering import Offers
from agentwire.testing.recording import ask_for
from tests.engines.chat.kit import Json, sum_tool

STREAMING: Json = {"stream": True, "stream_options": {"include_usage": True}}


def settings(model: str | None = None, dialect: ChatDialect | None = None, **fields: Any) -> Json:
    ask = ask_for("x", **fields)
    return settings_of(ask, Offers.of(ask.tools, ask.tool_choice), dialect or ChatDialect(), model=model)


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


def test_probabilities_are_asked_for_only_if_the_client_wants_them() -> None:
    wanted = settings(include=["message.output_text.logprobs"])
    assert (wanted["logprobs"], "top_logprobs" in wanted) == (True, False)
    assert settings(top_logprobs=3)["top_logprobs"] == 3
    assert "logprobs" not in settings(top_logprobs=0)


def test_what_is_left_of_the_bound_goes_up() -> None:
    ask = attrs.evolve(ask_for("x", max_output_tokens=99), used_tokens=90)
    assert settings_of(ask, Offers(), ChatDialect(), model=None)["max_tokens"] == 9
    assert settings_of(attrs.evolve(ask, used_tokens=99), Offers(), ChatDialect(), model=None)["max_tokens"] == 1


# As the operator says


def test_members_that_chat_servers_know_go_up_as_the_client_set_them() -> None:
    given: Json = {"seed": 7, "stop": ["x"], "top_k": 40, "min_p": None, "n": 2, "messages": [], "unknown": 1}
    assert settings(**given) == {"model": "test", **STREAMING, "seed": 7, "stop": ["x"], "top_k": 40}
    assert "seed" not in settings(dialect=ChatDialect(passing=()), **given)


def test_members_that_a_server_knows_go_up_if_its_operator_says_so() -> None:
    names = (
        "verbosity",
        "service_tier",
        "prompt_cache_key",
        "safety_identifier",
        "user",
        "metadata",
        "prompt_cache_retention",
    )
    given: Json = {name: "x" for name in names if name not in ("verbosity", "metadata")}
    sent = settings(
        dialect=ChatDialect(passing=names), text={"verbosity": "low"}, metadata={"a": "b"}, unknown=1, **given
    )
    assert sent == {"model": "test", **STREAMING, **given, "verbosity": "low", "metadata": {"a": "b"}}
    assert settings(dialect=ChatDialect(passing=names)) == {"model": "test", **STREAMING}


def test_members_that_a_server_refuses_stay_here() -> None:
    dialect = ChatDialect(
        tokens_name="max_completion_tokens", omit=["stream_options", "parallel_tool_calls"], named_choice=False
    )
    choice = {"type": "function", "name": "add"}
    sent = settings(dialect=dialect, tools=[sum_tool()], tool_choice=choice, max_output_tokens=99)
    assert sent.keys() == {"model", "stream", "max_completion_tokens", "tools", "tool_choice"}
    assert (sent["max_completion_tokens"], sent["tool_choice"]) == (99, "required")
    assert isinstance(settings(tools=[sum_tool()], tool_choice=choice)["tool_choice"], dict)


def test_functions_are_not_strict_where_a_server_does_not_know_that() -> None:
    sent = settings(dialect=ChatDialect(omit=["strict"]), tools=[sum_tool(strict=True)])
    assert "strict" not in sent["tools"][0]["function"]


def test_the_operators_own_members_have_the_last_word() -> None:
    dialect = ChatDialect(extra_body={"chat_template_kwargs": {"thinking": True}, "temperature": 0})
    sent = settings(dialect=dialect, temperature=1)
    assert (sent["chat_template_kwargs"], sent["temperature"]) == ({"thinking": True}, 0)
    for name in ("messages", "stream", "n"):
        with pytest.raises(ValueError, match=f"may not have {name}"):
            ChatDialect(extra_body={name: 1})
    for name, value in (
        ("tokens_name", "tokens"),
        ("reasoning_field", ""),
        ("reasoning_in", "none"),
        ("schemas", None),
        ("order", "first"),
        ("call_ids", 9),
        ("no_text", None),
    ):
        with pytest.raises(ValueError, match=f"{name} must be one of"):
            ChatDialect(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a list of names"):
        ChatDialect(omit="stream_options")


def test_a_form_that_a_server_does_not_enforce_is_asked_for_in_words() -> None:
    schema = {"type": "json_schema", "name": "n", "description": "the sum", "schema": {"type": "integer"}}

    def told(dialect: ChatDialect, form: Json) -> tuple[Any, str | None]:
        request = ask_for("x", text={"format": form}).request
        return settings(dialect=dialect, text={"format": form}).get("response_format"), format_words(request, dialect)

    plain, objects, nothing = {"type": "text"}, ChatDialect(schemas="json_object"), ChatDialect(schemas="none")
    assert all(told(dialect, plain) == (None, None) for dialect in (ChatDialect(), objects, nothing))
    assert told(ChatDialect(), schema)[1] is None
    assert told(ChatDialect(), {"type": "json_object"})[1] is None
    sent, words = told(objects, schema)
    assert sent == {"type": "json_object"}
    assert words is not None
    assert words.endswith('the sum\n{"type":"integer"}')
    assert told(objects, {"type": "json_object"}) == ({"type": "json_object"}, None)
    assert told(nothing, schema) == (None, words)
    assert told(nothing, {"type": "json_object"}) == (None, "Answer with a JSON object and nothing else.")
