"""A model's call, written as the item that the client waits for."""

from __future__ import annotations

from typing import Any

import pytest

from agentwire.engines.offering import CallWriter, Offers
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import CustomToolCall, FunctionCall, OpaqueItem
from agentwire.testing.recording import RecordingOut, ask_for
from tests.engines.chat.kit import CRM, PATCH, sum_tool

TOOLS = [sum_tool(), sum_tool("late", defer_loading=True), PATCH, CRM, {"type": "shell"}, {"type": "apply_patch"}]


async def written(name: str, *pieces: str, call_id: str | None = "c1") -> list[Any]:
    ask = ask_for("x", tools=TOOLS)
    offer = next(o for o in Offers.of(ask.tools, ask.tool_choice).by_name.values() if o.backend_name.startswith(name))
    out = RecordingOut()
    writer = CallWriter(out, offer, call_id=call_id, new_id=Sources.seeded(3).new_id)
    for piece in pieces:
        await writer.write(piece)
    await writer.end("".join(pieces))
    return out.close()


@pytest.mark.parametrize("pieces", [('{"a":', "1}"), ('{"a":1}',)])
async def test_a_function(pieces: tuple[str, ...]) -> None:
    (item,) = await written("add", *pieces)
    assert isinstance(item, FunctionCall)
    assert (item.name, item.arguments, item.call_id, item.namespace) == ("add", '{"a":1}', "c1", None)


@pytest.mark.parametrize("pieces", [(), ("",), (" ",)])
async def test_a_function_without_arguments(pieces: tuple[str, ...]) -> None:
    (item,) = await written("crm__find", *pieces)
    assert isinstance(item, FunctionCall)
    assert (item.name, item.namespace, item.arguments.strip()) == ("find", "crm", "{}")


@pytest.mark.parametrize("pieces", [('{"input":"a', '\\nb"}'), ("a\n", "b"), ("a\nb",)])
async def test_free_text(pieces: tuple[str, ...]) -> None:
    (item,) = await written("apply_patch", *pieces)
    assert isinstance(item, CustomToolCall)
    assert (item.name, item.input, item.call_id) == ("apply_patch", "a\nb", "c1")


async def test_a_deferred_function() -> None:
    for pieces in ((), ('{"a":', "1}")):
        (item,) = await written("late", *pieces)
        assert (item.name, item.namespace) == ("late", "late")


async def test_an_item_of_its_own_type() -> None:
    (item,) = await written("shell", '{"commands":', '["ls"]}')
    assert isinstance(item, OpaqueItem)
    assert (item.type, item.raw["call_id"], item.raw["status"]) == ("shell_call", "c1", "completed")
    assert item.id is not None
    assert item.id.startswith("sh_")


async def test_one_call_that_amounts_to_two() -> None:
    patch = "*** Begin Patch\n*** Delete File: a\n*** Delete File: b\n*** End Patch"
    one, two = await written("apply_patch_", patch, call_id="c9")
    assert [one.raw["operation"]["path"], two.raw["operation"]["path"]] == ["a", "b"]
    assert one.raw["call_id"] == "c9"
    assert two.raw["call_id"].startswith("call_")
