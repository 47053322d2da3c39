from __future__ import annotations

from typing import Any

import pytest

from agentwire.engines.chat.forced import Demand
from agentwire.engines.offering import Offers
from agentwire.protocol.errors import RemoteProtocolError
from agentwire.testing.recording import ask_for
from tests.engines.chat.kit import Json, sum_tool


def demand(*tools: Json) -> Demand:
    ask = ask_for("x", tools=list(tools), tool_choice="required")
    return Demand(Offers.of(ask.tools, ask.tool_choice))


def schema_of(found: Demand) -> Any:
    sent = {"model": "m", "tools": [], "tool_choice": "x", "parallel_tool_calls": True, "response_format": {}}
    settings = found.settings(sent)
    assert settings.keys() == {"model", "response_format"}
    return settings["response_format"]["json_schema"]["schema"]


def test_one_tool_is_asked_for_its_arguments() -> None:
    one = demand(sum_tool())
    assert schema_of(one) == sum_tool()["parameters"]
    assert '"description":"Add."' in one.instructions()
    assert one.read('{"a": 1}') == ("add", '{"a": 1}')


def test_of_several_tools_one_is_to_be_chosen() -> None:
    two = demand(sum_tool(), sum_tool("sub"))
    first, second = schema_of(two)["anyOf"]
    assert first["properties"]["name"] == {"const": "add"}
    assert second["properties"]["arguments"] == sum_tool()["parameters"]
    assert two.instructions().count("\n") == 2
    assert two.read('{"name": "sub", "arguments": {"a": 1}}') == ("sub", '{"a": 1}')


@pytest.mark.parametrize("text", ["", "Sure!", "[]", '{"a":'])
def test_what_is_no_call_either_is_an_error(text: str) -> None:
    for found in (demand(sum_tool()), demand(sum_tool(), sum_tool("sub"))):
        with pytest.raises(RemoteProtocolError, match="did not call any"):
            found.read(text)


@pytest.mark.parametrize("text", ['{"name":"x","arguments":{}}', '{"name":1,"arguments":{}}', '{"name":"add"}', "{}"])
def test_a_choice_of_nothing_is_an_error(text: str) -> None:
    with pytest.raises(RemoteProtocolError, match="did not call any"):
        demand(sum_tool(), sum_tool("sub")).read(text)


def test_what_the_server_does_not_enforce_is_not_sent() -> None:
    ask = ask_for("x", tools=[sum_tool()], tool_choice="required")
    offers = Offers.of(ask.tools, ask.tool_choice)
    kept: Json = {"model": "m", "temperature": 0}
    sent = {**kept, "stop": ["}"], "logprobs": True, "response_format": {}}
    assert Demand(offers, "json_object").settings(sent) == {**kept, "response_format": {"type": "json_object"}}
    assert Demand(offers, "none").settings(sent) == kept
