from __future__ import annotations

from typing import Any

import pytest

from agentwire.engines.chat import ChatDialect
from agentwire.engines.chat.thoughts import Thought, thought_of
from agentwire.protocol.items import FunctionCall, Message, Reasoning
from agentwire.protocol.transcript import Memo
from tests.engines.chat.kit import Json, Step, answer_to, call, calls, chat, delta, says, step, stop, sum_tool, text

pytestmark = pytest.mark.socket

SEALED = ["reasoning.encrypted_content"]
ADD = call('{"a":1,"b":2}', id="c1", name="add")
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "3"}


def thoughts(done: Step) -> list[Thought | None]:
    return [thought_of(item) for item in done.items if isinstance(item, Reasoning)]


def detail(text: str, **more: Any) -> Json:
    return {"type": "reasoning.text", "text": text, "index": 0, **more}


async def test_one_thought_under_two_names_is_told_once() -> None:
    both = delta(reasoning_content="Hm.", reasoning="Hm.", reasoning_details=[detail("Hm.")])
    done = await answer_to(says(both, delta(content="Yes."), stop()))
    assert done.out.events[:1] == [("reasoning", "Hm.")]
    assert thoughts(done) == [Thought("Hm.", (detail("Hm."),))]


async def test_details_speak_where_nothing_else_does() -> None:
    summary = {"type": "reasoning.summary", "summary": "In short."}
    done = await answer_to(says(delta(reasoning_details=[detail("Hm, "), summary]), delta(content="Yes."), stop()))
    assert done.out.events[:2] == [("reasoning", "Hm, "), ("summary", "In short.")]


async def test_content_in_typed_parts_is_taken_apart() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}, {"type": "reference"}]}
    done = await answer_to(
        says(
            delta(content=[thinking]),
            delta(content=[{"type": "thinking", "thinking": " So."}]),
            delta(content=[{"type": "text", "text": "Yes."}, {"type": "reference", "reference_ids": [1]}]),
            stop(),
        )
    )
    assert done.out.events == [("reasoning", "Hm."), ("reasoning", " So."), ("text", "Yes.")]


async def test_tags_in_the_text_are_text() -> None:
    assert (await answer_to(text("<think>Hm.</think>", "Yes."))).text == "<think>Hm.</think>Yes."


async def test_a_client_that_hands_it_back_itself_gets_it_sealed() -> None:
    script = says(delta(reasoning="Hm, "), delta(reasoning="so."), calls(ADD), stop())
    done = await answer_to(script, include=SEALED, tools=[sum_tool()])
    thought, _ = done.items
    assert isinstance(thought, Reasoning)
    assert thought.encrypted_content
    assert thoughts(done) == [Thought("Hm, so.")]
    alone = await answer_to(says(delta(reasoning="Hm."), stop()), include=SEALED)
    assert thoughts(alone) == [Thought("Hm.")]
    (open_,) = (await answer_to(says(delta(reasoning="Hm."), stop()))).items
    assert isinstance(open_, Reasoning)
    assert open_.encrypted_content is None


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_it_goes_back_where_it_came_from_with_its_calls_for_ever(name: str) -> None:
    memo, tools = Memo(), [sum_tool()]
    script = (
        says(delta(**{name: "Hm."}), calls(ADD), stop()),
        says(delta(**{name: "So."}), delta(content="3"), stop()),
    )
    async with chat(*script, text("ok")) as (engine, server):
        first = await step(engine, "add", memo=memo, tools=tools)
        history = (*first.ask.items, *first.items)
        second = await step(engine, [OUTPUT], memo=memo, tools=tools, history=history)
        history = (*second.ask.items, *second.items)
        await step(engine, "thanks", memo=memo, tools=tools, history=history)
        asked, last = server.bodies[1]["messages"], server.bodies[2]["messages"]
        assert asked[1][name] == "Hm."
        assert last[: len(asked)] == asked
        assert name not in last[3]  # it led to no call
        assert server.raw[2].startswith(server.raw[1].removesuffix(b"]}"))


async def test_it_goes_back_as_the_operator_says() -> None:
    asked = {"role": "user", "content": "x"}
    thought = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
    said = {"type": "message", "role": "assistant", "content": "Yes."}
    for dialect, found in (
        (ChatDialect(reasoning_in="all"), {"reasoning_content": "Hm."}),
        (ChatDialect(reasoning_in="all", reasoning_field="reasoning"), {"reasoning": "Hm."}),
        (ChatDialect(reasoning_in="all", reasoning_field="none"), {}),
        (ChatDialect(), {}),
    ):
        async with chat(text("ok"), dialect=dialect) as (engine, server):
            await step(engine, [asked, thought, said, asked])
            assert server.body["messages"][1] == {"role": "assistant", "content": "Yes.", **found}


async def test_details_go_back_whole() -> None:
    memo, tools = Memo(), [sum_tool()]
    pieces = [delta(reasoning="H", reasoning_details=[detail("H")])]
    pieces.append(delta(reasoning="m", reasoning_details=[detail("m", signature="s")]))
    async with chat(says(*pieces, calls(ADD), stop()), text("3")) as (engine, server):
        first = await step(engine, "add", memo=memo, tools=tools)
        await step(engine, [OUTPUT], memo=memo, tools=tools, history=(*first.ask.items, *first.items))
        message = server.bodies[1]["messages"][1]
    assert message["reasoning_details"] == [detail("Hm", signature="s")]
    assert "reasoning" not in message
    assert [type(item) for item in first.items] == [Reasoning, FunctionCall]


async def test_a_thought_after_a_call_ends_it_unless_it_is_blank() -> None:
    done = await answer_to(says(calls(ADD), delta(reasoning=" "), delta(content="x"), stop()), tools=[sum_tool()])
    assert [type(item) for item in done.items] == [FunctionCall, Message]
