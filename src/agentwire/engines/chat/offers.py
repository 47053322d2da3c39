"""The members of a chat request that concern tools (Chat Completions API)."""

from __future__ import annotations

from typing import Any

from agentwire.engines.offering import Offer, Offers

__all__ = ["function_of", "tool_settings"]


def tool_settings(offers: Offers, *, parallel: bool, strict: bool = True) -> dict[str, Any]:
    """``tools``, ``tool_choice`` and ``parallel_tool_calls``; none of them if there is nothing to call.

    Args:
        offers: what may be called.
        parallel: whether several calls may be made at once.
        strict: whether the server knows ``strict`` of a function.
    """
    if not offers.by_name:
        return {}
    choice: Any = offers.mode
    if offers.mode == "required" and offers.named and len(offers.by_name) == 1:
        choice = {"type": "function", "function": {"name": next(iter(offers.by_name))}}
    tools = [{"type": "function", "function": function_of(offer, strict=strict)} for offer in offers.by_name.values()]
    return {"tools": tools, "tool_choice": choice, "parallel_tool_calls": parallel}


def function_of(offer: Offer, *, strict: bool = True) -> dict[str, Any]:
    """One tool as a function."""
    function: dict[str, Any] = {"name": offer.backend_name}
    if offer.description:
        function["description"] = offer.description
    function["parameters"] = offer.parameters
    if offer.strict and strict:
        function["strict"] = True
    return function
