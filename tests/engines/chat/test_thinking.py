from __future__ import annotations

from typing import Any

import pytest

from agentwire.engines.chat import ChatDialect
from agentwire.engines.chat.thoughts import Thought, thought_of
from agentwire.protocol.codec import decode_item, encode_item
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


async def test_reasoning_parts_of_databricks_are_reasoning() -> None:
    part = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}, {"type": "other"}]}
    done = await answer_to(says(delta(content=[part]), delta(content="Yes.", refusal=None), stop()))
    assert done.out.events == [("reasoning", "Hm."), ("text", "Yes.")]
    odd = delta(content=[{"type": ["thinking"]}, {"type": "thinking", "thinking": 1}], refusal="No.")
    assert (await answer_to(says(odd, stop()))).out.events == [("refusal", "No.")]


PARTS = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]


@pytest.mark.parametrize(
    ("part", "said", "content"),
    [
        (PARTS[0], "", PARTS),
        (PARTS[0], "I add.", [*PARTS, {"type": "text", "text": "I add."}]),
        ({"type": "reasoning", "summary": "Hm."}, "I add.", "I add."),  # nobody has said in which form it is wanted
    ],
)
async def test_parts_go_back_as_parts(part: Json, said: str, content: Any) -> None:
    memo, tools = Memo(), [sum_tool()]
    script = says(delta(content=[part]), delta(content=said), calls(ADD), stop())
    async with chat(script, text("3")) as (engine, server):
        first = await step(engine, "add", memo=memo, tools=tools)
        await step(engine, [OUTPUT], memo=memo, tools=tools, history=(*first.ask.items, *first.items))
        made = [{"id": "c1", "type": "function", "function": ADD["function"]}]
        assert server.bodies[1]["messages"][1] == {"role": "assistant", "content": content, "tool_calls": made}


SIGNED = {"google": {"thought_signature": "sig"}}


@pytest.mark.parametrize("dialect", [ChatDialect(), ChatDialect(reasoning_field="none")], ids=["same", "none"])
@pytest.mark.parametrize("kept", [True, False])
async def test_what_google_signs_a_call_with_goes_back_in_it(kept: bool, dialect: ChatDialect) -> None:
    memo, tools = Memo(), [sum_tool()]
    second = {**ADD, "id": "c2", "index": 1}
    signed = {**ADD, "extra_content": SIGNED}
    script = says(delta(reasoning="Hm."), delta(content="I add."), calls(signed), calls(second), stop())
    answers = [{**OUTPUT, "call_id": call_id} for call_id in ("c1", "c2")]
    async with chat(script, text("3"), dialect=dialect) as (engine, server):
        first = await step(engine, "add", memo=memo, tools=tools)
        assert [type(item) for item in first.items] == [Reasoning, Message, Reasoning, FunctionCall, FunctionCall]
        items = (*first.ask.items, *first.items) if kept else [decode_item(encode_item(item)) for item in first.items]
        await step(engine, answers, memo=memo if kept else Memo(), tools=tools, history=items)
        message = server.bodies[1]["messages"][-3]
        one, two = message["tool_calls"]
        assert (one["extra_content"], "extra_content" in two) == (SIGNED, False)
        assert ("reasoning" in message) == (dialect.reasoning_field == "same")


async def test_each_of_two_signed_calls_keeps_its_own() -> None:
    memo, tools = Memo(), [sum_tool()]
    signed = [{**ADD, "index": None, "id": name, "extra_content": {"google": name}} for name in ("c1", "c2")]
    async with chat(says(calls(*signed), stop()), text("3")) as (engine, server):
        first = await step(engine, "add", memo=memo, tools=tools)
        await step(engine, [OUTPUT], memo=memo, tools=tools, history=(*first.ask.items, *first.items))
        made = server.bodies[1]["messages"][1]["tool_calls"]
        assert [each["extra_content"] for each in made] == [{"google": "c1"}, {"google": "c2"}]


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
        (ChatDialect(reasoning_in="every"), {"reasoning_content": "Hm."}),
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


async def test_details_that_come_with_a_call_wait_for_its_end() -> None:
    memo, tools = Memo(), [sum_tool()]
    begun, rest = calls(call('{"a":1,', id="c1", name="add")), calls(call('"b":2}'))
    signature = {"type": "reasoning.encrypted", "data": "sig", "id": "c1", "index": 0}
    async with chat(says(begun, delta(reasoning_details=[signature]), rest, stop()), text("3")) as (engine, server):
        first = await step(engine, "add", memo=memo, tools=tools)
        assert [type(item) for item in first.items] == [FunctionCall, Reasoning]
        await step(engine, [OUTPUT], memo=memo, tools=tools, history=(*first.ask.items, *first.items))
        message = server.bodies[1]["messages"][1]
    cut = await answer_to(says(begun, delta(reasoning_details=[signature]), stop("length")), tools=[sum_tool()])
    assert cut.finish.incomplete == "max_output_tokens"
    assert message["reasoning_details"] == [signature]
    assert message["tool_calls"][0]["function"]["arguments"] == '{"a":1,"b":2}'


@pytest.mark.parametrize(
    "late",
    [
        {"content": "", "reasoning_details": [{"type": "reasoning.encrypted", "data": "sig", "index": 0}]},
        {"reasoning": " ", "reasoning_details": [detail("", signature="sig")]},
        {"reasoning": "\n"},
    ],
)
async def test_details_without_a_word_do_not_cut_the_text_in_two(late: Json) -> None:
    done = await answer_to(
        says(delta(reasoning="A"), delta(content="B"), delta(**late), delta(content=" more"), stop())
    )
    signed = late.get("reasoning_details")
    assert [type(item) for item in done.items] == [Reasoning, Message, *([Reasoning] if signed else [])]
    assert done.texts == ["B more"]
    assert thoughts(done)[1:] == ([Thought("", tuple(signed))] if signed else [])


async def test_details_with_words_are_a_thought_wherever_they_stand() -> None:
    told = delta(reasoning_details=[detail("Hm.")])
    done = await answer_to(says(delta(content="B"), told, delta(content="more"), stop()))
    assert [type(item) for item in done.items] == [Message, Reasoning, Message]


async def test_a_thought_after_a_call_ends_it_unless_it_is_blank() -> None:
    done = await answer_to(says(calls(ADD), delta(reasoning=" "), delta(content="x"), stop()), tools=[sum_tool()])
    assert [type(item) for item in done.items] == [FunctionCall, Message]
