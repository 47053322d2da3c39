from __future__ import annotations

from typing import Any

import pytest

from agentwire.engines.chat.offers import Offer, Offers
from agentwire.protocol.errors import EngineError
from agentwire.protocol.tools import OpaqueTool
from agentwire.testing.recording import ask_for
from tests.engines.chat.kit import CRM, PATCH, Json, sum_tool


def offers(*tools: Json, choice: Any = "auto", step: int = 0) -> Offers:
    ask = ask_for("x", tools=list(tools), tool_choice=choice)
    return Offers.of(ask.tools, ask.tool_choice, step=step)


def names(found: Offers) -> list[str]:
    return list(found.by_name)


def test_a_function_goes_up_as_it_is() -> None:
    settings = offers(sum_tool(strict=True)).settings(parallel=False)
    parameters = sum_tool()["parameters"]
    function = {"name": "add", "description": "Add.", "parameters": parameters, "strict": True}
    assert settings == {
        "tools": [{"type": "function", "function": function}],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
    }


@pytest.mark.parametrize("strict", [False, None])
def test_what_a_tool_does_not_say_is_left_out(strict: bool | None) -> None:
    (bare,) = offers({"type": "function", "name": "now", "strict": strict}).settings(parallel=True)["tools"]
    assert bare["function"] == {"name": "now", "parameters": {"type": "object", "properties": {}}}


def test_a_custom_tool_is_a_function_of_one_string_whose_grammar_stands_in_its_description() -> None:
    offer = offers(PATCH).by_name["apply_patch"]
    assert offer.custom
    function = offer.wire()["function"]
    assert function["parameters"]["required"] == ["input"]
    assert function["description"].startswith("Change files.\n\n")
    assert "lark grammar:\nstart: /.+/" in function["description"]
    (plain, ruled) = offers(
        {"type": "custom", "name": "exec"}, {"type": "custom", "name": "rule", "format": PATCH["format"]}
    ).by_name.values()
    assert plain.description == ""
    assert ruled.description.startswith("The input must follow")


def test_tools_in_a_namespace_are_flat_and_found_again() -> None:
    found = offers(CRM)
    assert names(found) == ["crm__find", "crm__note"]
    assert found.find("crm__find") == Offer(
        "find", "crm", parameters={"type": "object"}, description="Find.", strict=True
    )
    assert found.find("crm__note").custom


def test_tools_that_no_chat_server_can_call_are_not_offered() -> None:
    inner = {"type": "namespace", "name": "n", "tools": [CRM, "x", {"type": "function"}, {"type": "web_search"}]}
    assert names(offers({"type": "web_search"}, {"type": "tool_search"}, inner, sum_tool())) == ["add"]
    assert offers({"type": "web_search"}) == Offers()
    assert Offers().settings(parallel=True) == {}


def test_tools_that_an_item_offered_are_as_others() -> None:
    late = OpaqueTool({"type": "additional_tools", "role": "developer", "tools": [sum_tool("late"), CRM]})
    ask = ask_for("x")
    assert names(Offers.of((late,), ask.tool_choice)) == ["late", "crm__find", "crm__note"]


def test_the_first_of_a_name_counts() -> None:
    assert offers(sum_tool(), sum_tool(description="Other.")).by_name["add"].description == "Add."


def test_none_offers_nothing() -> None:
    assert offers(sum_tool(), choice="none").settings(parallel=True) == {}


def test_required_and_named_choices() -> None:
    both = (sum_tool(), sum_tool("sub"))
    assert offers(*both, choice="required").settings(parallel=True)["tool_choice"] == "required"
    one = offers(*both, choice={"type": "function", "name": "sub"})
    assert names(one) == ["sub"]
    assert one.settings(parallel=True)["tool_choice"] == {"type": "function", "function": {"name": "sub"}}
    custom = offers(*both, PATCH, choice={"type": "custom", "name": "apply_patch"})
    assert names(custom) == ["apply_patch"]
    inner = offers(*both, CRM, choice={"type": "function", "name": "find"})
    assert inner.settings(parallel=True)["tool_choice"]["function"] == {"name": "crm__find"}


def test_allowed_tools_leave_the_others_out() -> None:
    allowed: Json = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "add"}]}
    some = offers(sum_tool(), sum_tool("sub"), choice=allowed)
    assert (names(some), some.settings(parallel=True)["tool_choice"]) == (["add"], "auto")
    space = {**allowed, "mode": "required", "tools": [{"type": "namespace", "name": "crm"}]}
    every = offers(sum_tool(), CRM, choice=space)
    assert (names(every), every.mode) == (["crm__find", "crm__note"], "required")


def test_a_call_that_no_chat_server_can_make_is_refused_if_it_is_demanded() -> None:
    for choice in ("required", {"type": "web_search"}):
        with pytest.raises(EngineError, match=r"cannot call .*(web_search|offered)") as caught:
            offers({"type": "web_search"}, choice=choice)
        assert (caught.value.status, caught.value.code, caught.value.param) == (400, "unsupported_tool", "tool_choice")
    optional = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]}
    assert offers({"type": "web_search"}, sum_tool(), choice=optional).mode == "none"


def test_a_demand_is_met_in_the_first_step() -> None:
    later = offers(sum_tool(), choice="required", step=1)
    assert later.settings(parallel=True)["tool_choice"] == "auto"
    assert offers({"type": "web_search"}, choice="required", step=1).mode == "none"


@pytest.mark.parametrize("said", ["add", "add:", " add ", "functions.add", "functions.add:"])
def test_a_name_is_found_however_the_model_spells_it(said: str) -> None:
    assert offers(sum_tool()).find(said).name == "add"


def test_a_name_that_was_never_offered_is_left_to_the_client() -> None:
    found = offers(sum_tool())
    assert found.find("subtract") == Offer("subtract")
    assert found.find("subtract: ") == Offer("subtract")
    assert found.find(":") == Offer(":")
