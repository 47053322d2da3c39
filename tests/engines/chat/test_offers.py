"""The members of a chat request that concern tools."""

from __future__ import annotations

from typing import Any

import pytest

from agentwire.engines.chat.offers import tool_settings
from agentwire.engines.offering import Offers
from agentwire.testing.recording import ask_for
from tests.engines.chat.kit import CRM, PATCH, Json, sum_tool


def settings(*tools: Json, choice: Any = "auto", parallel: bool = True) -> Json:
    ask = ask_for("x", tools=list(tools), tool_choice=choice)
    return tool_settings(Offers.of(ask.tools, ask.tool_choice), parallel=parallel)


def test_a_function_goes_up_as_it_is() -> None:
    found = settings(sum_tool(strict=True), parallel=False)
    parameters = sum_tool()["parameters"]
    function = {"name": "add", "description": "Add.", "parameters": parameters, "strict": True}
    assert found == {
        "tools": [{"type": "function", "function": function}],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
    }


@pytest.mark.parametrize("strict", [False, None])
def test_what_a_tool_does_not_say_is_left_out(strict: bool | None) -> None:
    (bare,) = settings({"type": "function", "name": "now", "strict": strict})["tools"]
    assert bare["function"] == {"name": "now", "parameters": {"type": "object", "properties": {}}}


def test_nothing_is_said_where_nothing_can_be_called() -> None:
    assert settings() == {}
    assert settings({"type": "web_search"}) == {}
    assert settings(sum_tool(), choice="none") == {}


def test_one_tool_that_must_be_called_is_named() -> None:
    both = (sum_tool(), sum_tool("sub"))
    assert settings(*both, choice="required")["tool_choice"] == "required"
    one = settings(*both, choice={"type": "function", "name": "sub"})
    assert one["tool_choice"] == {"type": "function", "function": {"name": "sub"}}
    inner = settings(*both, CRM, choice={"type": "function", "name": "find"})
    assert inner["tool_choice"]["function"] == {"name": "crm__find"}
    shell = settings(*both, {"type": "shell"}, choice={"type": "shell"})
    assert shell["tool_choice"]["function"] == {"name": "shell"}
    assert shell["tools"][0]["function"]["parameters"]["required"] == ["commands"]


def test_a_free_text_tool_takes_one_string() -> None:
    (tool,) = settings(PATCH)["tools"]
    assert tool["function"]["parameters"]["required"] == ["input"]
    assert "lark grammar" in tool["function"]["description"]
