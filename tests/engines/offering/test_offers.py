from __future__ import annotations

from typing import Any

import pytest

from agentwire.engines.offering import Catalogue, Offer, Offers
from agentwire.protocol.errors import EngineError
from agentwire.protocol.tools import OpaqueTool
from agentwire.testing.recording import ask_for
from tests.engines.chat.kit import CRM, PATCH, Json, sum_tool


def offers(*tools: Json, choice: Any = "auto", step: int = 0) -> Offers:
    ask = ask_for("x", tools=list(tools), tool_choice=choice)
    return Offers.of(ask.tools, ask.tool_choice, step=step)


def names(found: Offers) -> list[str]:
    return list(found.by_name)


def test_a_custom_tool_is_a_function_of_one_string_whose_grammar_stands_in_its_description() -> None:
    offer = offers(PATCH).by_name["apply_patch"]
    assert offer.custom
    assert offer.parameters["required"] == ["input"]
    assert offer.description.startswith("Change files.\n\n")
    assert "lark grammar:\nstart: /.+/" in offer.description
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


def test_tools_that_nobody_here_can_run_are_not_offered() -> None:
    inner = {"type": "namespace", "name": "n", "tools": [CRM, "x", {"type": "function"}, {"type": "web_search"}]}
    assert names(offers({"type": "web_search"}, {"type": "tool_search"}, inner, sum_tool())) == ["add"]
    assert offers({"type": "web_search"}) == Offers()


def test_tools_that_an_item_offered_are_as_others() -> None:
    late = OpaqueTool({"type": "additional_tools", "role": "developer", "tools": [sum_tool("late"), CRM]})
    ask = ask_for("x")
    assert names(Offers.of((late,), ask.tool_choice)) == ["late", "crm__find", "crm__note"]


def test_the_first_of_a_name_counts() -> None:
    assert offers(sum_tool(), sum_tool(description="Other.")).by_name["add"].description == "Add."


def test_none_offers_nothing() -> None:
    assert offers(sum_tool(), choice="none") == Offers()


def test_required_and_named_choices() -> None:
    both = (sum_tool(), sum_tool("sub"))
    required = offers(*both, choice="required")
    assert (required.mode, required.named, names(required)) == ("required", False, ["add", "sub"])
    one = offers(*both, choice={"type": "function", "name": "sub"})
    assert (one.mode, one.named, names(one)) == ("required", True, ["sub"])
    custom = offers(*both, PATCH, choice={"type": "custom", "name": "apply_patch"})
    assert names(custom) == ["apply_patch"]
    inner = offers(*both, CRM, choice={"type": "function", "name": "find"})
    assert names(inner) == ["crm__find"]
    for kind in ("shell", "local_shell", "apply_patch", "computer_use_preview"):
        assert len(offers(*both, {"type": kind}, choice={"type": kind}).by_name) == 1


def test_allowed_tools_leave_the_others_out() -> None:
    allowed: Json = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "add"}]}
    some = offers(sum_tool(), sum_tool("sub"), choice=allowed)
    assert (names(some), some.mode) == (["add"], "auto")
    space = {**allowed, "mode": "required", "tools": [{"type": "namespace", "name": "crm"}]}
    every = offers(sum_tool(), CRM, choice=space)
    assert (names(every), every.mode) == (["crm__find", "crm__note"], "required")


def test_a_call_that_nobody_here_can_run_is_refused_if_it_is_demanded() -> None:
    for choice in ("required", {"type": "web_search"}):
        with pytest.raises(EngineError, match=r"can run .*(web_search|offered)") as caught:
            offers({"type": "web_search"}, choice=choice)
        assert (caught.value.status, caught.value.code, caught.value.param) == (400, "unsupported_tool", "tool_choice")
    optional = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]}
    assert offers({"type": "web_search"}, sum_tool(), choice=optional).mode == "none"


def test_a_demand_is_met_in_the_first_step() -> None:
    later = offers(sum_tool(), choice="required", step=1)
    assert later.mode == "auto"
    assert offers({"type": "web_search"}, choice="required", step=1).mode == "none"


def test_a_deferred_tool_waits_for_the_clients_search() -> None:
    deferred, search = sum_tool("late", defer_loading=True), {"type": "tool_search", "execution": "client"}
    assert names(offers(sum_tool(), deferred, search)) == ["add", "tool_search"]
    assert names(offers(sum_tool(), deferred)) == ["add", "late"]  # nobody else would find it
    assert names(offers(sum_tool(), deferred, {"type": "tool_search"})) == ["add", "late"]
    chosen = {"type": "function", "name": "late"}
    assert names(offers(sum_tool(), deferred, search, choice=chosen)) == ["late"]
    some = {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "tool_search"}, {"type": "namespace", "name": "n"}],
    }
    space = {"type": "namespace", "name": "n", "tools": [deferred]}
    assert names(offers(sum_tool(), search, space, choice=some)) == ["tool_search", "n__late"]


def test_calls_of_a_deferred_function_have_its_name_as_namespace_as_the_hosted_service_has_it() -> None:
    known = Catalogue.of(ask_for("x", tools=[sum_tool("late", defer_loading=True), sum_tool()]).tools)
    late, add = known
    assert (late.call_namespace, add.call_namespace) == ("late", None)
    assert known.name_of("late", "late") == "late"
    assert known.name_of("other", "other") == "other"
    assert known.name_of("find", "crm") == "crm__find"


def test_a_tool_that_was_found_is_offered_after_the_others() -> None:
    deferred, search = sum_tool("late", defer_loading=True), {"type": "tool_search", "execution": "client"}
    ask = ask_for("x", tools=[deferred, search, sum_tool()])
    known = Catalogue.of(ask.tools)
    known.add([OpaqueTool({"type": "tool_search_output", "tools": [deferred, {"type": "web_search"}]})])
    assert names(Offers.choose(known, ask.tool_choice)) == ["tool_search", "add", "late"]
    known.add(ask.tools)
    assert names(Offers.choose(known, ask.tool_choice)) == ["tool_search", "add", "late"]


def test_of_a_tool_that_items_bring_again_the_newest_counts_and_the_requests_own_before_all() -> None:
    def late(text: str, *names: str) -> OpaqueTool:
        return OpaqueTool({"type": "additional_tools", "tools": [sum_tool(name, description=text) for name in names]})

    ask = ask_for("x", tools=[sum_tool("own", description="one")])
    known = Catalogue.of((*ask.tools, late("one", "a", "b"), late("two", "own", "a")))
    told = {offer.name: offer.description for offer in Offers.choose(known, ask.tool_choice).by_name.values()}
    assert list(told.items()) == [("own", "one"), ("a", "two"), ("b", "one")]


@pytest.mark.parametrize(
    ("said", "meant"), [("functions.exec", "exec"), ("functions__exec", "exec"), ("exec", "exec"), ("crm.find", "find")]
)
def test_a_model_may_leave_out_a_namespace_or_write_it_with_a_dot(said: str, meant: str) -> None:
    space = {"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec"}]}
    assert offers(space, CRM).find(said).name == meant


def test_a_name_in_two_namespaces_is_not_guessed() -> None:
    one, two = ({"type": "namespace", "name": n, "tools": [{"type": "function", "name": "go"}]} for n in ("a", "b"))
    assert offers(one, two).find("go") == Offer("go")
    assert offers(one, two).find("b__go").namespace == "b"


def test_tools_that_would_share_a_name_are_told_apart() -> None:
    inner = {"type": "namespace", "name": "a", "tools": [{"type": "function", "name": "b"}]}
    found = offers(
        {"type": "function", "name": "a__b"}, inner, {"type": "function", "name": "shell"}, {"type": "shell"}
    )
    first, second, function, shell = found.by_name.values()
    assert (first.namespace, second.namespace, function.form) == (None, "a", None)
    assert shell.form is not None
    assert [len(name) for name in found.by_name] == [4, 13, 5, 14]
    again = offers(
        {"type": "function", "name": "a__b"}, inner, {"type": "function", "name": "shell"}, {"type": "shell"}
    )
    assert names(again) == names(found)


@pytest.mark.parametrize("said", ["add", "add:", " add ", "functions.add", "functions.add:"])
def test_a_name_is_found_however_the_model_spells_it(said: str) -> None:
    assert offers(sum_tool()).find(said).name == "add"


def test_a_name_that_was_never_offered_is_left_to_the_client() -> None:
    found = offers(sum_tool())
    assert found.find("subtract") == Offer("subtract")
    assert found.find("subtract: ") == Offer("subtract")
    assert found.find(":") == Offer(":")
