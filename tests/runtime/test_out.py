from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.codec import encode_item
from agentwire.protocol.errors import LocalProtocolError, RequestError
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import McpCall
from agentwire.protocol.response import Usage
from agentwire.protocol.tools import FunctionTool
from agentwire.runtime.call_rules import CallRules
from agentwire.runtime.making import Output
from agentwire.runtime.out import TurnOut
from agentwire.runtime.telling import event_parts
from agentwire.runtime.tools import Toolbox
from agentwire.runtime.tools.roster import Offered, OwnTools
from agentwire.runtime.window import Window
from agentwire.testing.recording import RecordingOut
from tests.runtime.kit import Event, check

UNBOUNDED = 1 << 40


class Desk:
    """A `TurnOut` on a window that the test reads, inside a response that the test begins and ends."""

    def __init__(
        self,
        *,
        limit: int = UNBOUNDED,
        max_bytes: int = UNBOUNDED,
        tools: Sequence[str] = (),
        rules: CallRules | None = None,
        logprobs: bool = False,
    ) -> None:
        self.window = Window(limit=limit, ready=lambda _: None)
        self.output = Output()
        self.started: list[tuple[int, McpCall]] = []
        self.overflows = 0
        self.events: list[Event] = []
        self.scope = trio.CancelScope()
        self.out = TurnOut(
            self.window,
            self.output,
            Sources.seeded(1),
            server_tools={name: Offered(OwnTools("label", Toolbox.of()), name, FunctionTool(name)) for name in tools},
            start_call=lambda index, call: self.started.append((index, call)),
            max_bytes=max_bytes,
            overflow=self.overflow,
            rules=rules or CallRules(),
            halt=lambda: self.scope.cancel(reason="halt"),
            logprobs=logprobs,
        )
        response = {"id": "resp_1", "status": "in_progress", "output": []}
        self.window.put_nowait(*event_parts("response.created", {"response": response}))
        self.read()

    def overflow(self) -> None:
        self.overflows += 1
        self.scope.cancel(reason="overflow")

    def read(self, budget: int = UNBOUNDED) -> list[Event]:
        new = [json.loads(event) for event in self.window.collect(b"\n".join, budget).splitlines()]
        self.events += new
        return new

    def end(self, status: str = "completed") -> list[Event]:
        """The response ends: the whole stream must be legal. Returns it without the frame around it."""
        output = [encode_item(item) for item in self.output.items()]
        response = {"id": "resp_1", "status": status, "output": output}
        self.window.put_nowait(*event_parts(f"response.{status}", {"response": response}))
        self.read()
        check(self.events)
        return self.events[1:-1]

    async def finish(self, *, complete: bool = True) -> list[Event]:
        await self.out.close(complete=complete)
        return self.end("completed" if complete else "incomplete")


def told(events: Sequence[Event]) -> list[str]:
    """Events in short: what, and the text that counts in it."""
    return [_told(event) for event in events]


def _told(event: Mapping[str, Any]) -> str:
    kind = event["type"].removeprefix("response.")
    for name in ("delta", "text", "refusal", "arguments", "input"):
        if name in event:
            return f"{kind} {event[name]}"
    if "item" in event:
        return f"{kind} {event['item']['type']} {event['item'].get('status')}"
    return f"{kind} {event['part']['type']}" if "part" in event else kind


async def test_pieces_become_one_message() -> None:
    desk = Desk()
    await desk.out.text("hel")
    await desk.out.text("lo")
    assert told(await desk.finish()) == [
        "output_item.added message in_progress",
        "content_part.added output_text",
        "output_text.delta hel",
        "output_text.delta lo",
        "output_text.done hello",
        "content_part.done output_text",
        "output_item.done message completed",
    ]


async def test_kinds_of_text_open_and_close_each_other() -> None:
    desk = Desk()
    await desk.out.summary("s")
    await desk.out.reasoning("r")
    await desk.out.text("t")
    await desk.out.refusal("no")
    await desk.out.text("u")
    events = await desk.finish()
    assert [line for line in told(events) if "added" in line] == [
        "output_item.added reasoning in_progress",
        "reasoning_summary_part.added summary_text",
        "content_part.added reasoning_text",
        "output_item.added message in_progress",
        "content_part.added output_text",
        "content_part.added refusal",
        "content_part.added output_text",
    ]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done[0]["summary"] == [{"type": "summary_text", "text": "s"}]
    assert done[0]["content"] == [{"type": "reasoning_text", "text": "r"}]
    assert [part["type"] for part in done[1]["content"]] == ["output_text", "refusal", "output_text"]


async def test_text_after_reasoning_after_text_is_a_new_item_each_time() -> None:
    desk = Desk()
    for write in (desk.out.text, desk.out.reasoning, desk.out.text):
        await write("x")
    events = await desk.finish()
    added = [event for event in events if event["type"] == "response.output_item.added"]
    assert [event["output_index"] for event in added] == [0, 1, 2]


async def test_calls_of_every_kind() -> None:
    desk = Desk(tools=["ours"])
    await desk.out.call("theirs", {"a": 1})
    await desk.out.call("patch", "free text", custom=True)
    await desk.out.open_call("slow", call_id="call_x")
    await desk.out.arguments('{"a":')
    await desk.out.arguments("2}")
    await desk.out.close_call()
    await desk.out.call("ours", {"b": 3})
    ((index, call),) = desk.started
    await desk.out.finish_call(index, attrs.evolve(call, output="found", status="completed"))
    events = await desk.finish()
    assert told(events) == [
        "output_item.added function_call in_progress",
        'function_call_arguments.delta {"a":1}',
        'function_call_arguments.done {"a":1}',
        "output_item.done function_call completed",
        "output_item.added custom_tool_call in_progress",
        "custom_tool_call_input.delta free text",
        "custom_tool_call_input.done free text",
        "output_item.done custom_tool_call completed",
        "output_item.added function_call in_progress",
        'function_call_arguments.delta {"a":',
        "function_call_arguments.delta 2}",
        'function_call_arguments.done {"a":2}',
        "output_item.done function_call completed",
        "output_item.added mcp_call in_progress",
        "mcp_call.in_progress",
        'mcp_call_arguments.delta {"b":3}',
        'mcp_call_arguments.done {"b":3}',
        "mcp_call.completed",
        "output_item.done mcp_call completed",
    ]
    assert [item.type for item in desk.out.calls] == ["function_call", "custom_tool_call", "function_call", "mcp_call"]
    assert events[8]["item"]["call_id"] == "call_x"
    assert (call.server_label, call.name, call.arguments) == ("label", "ours", '{"b":3}')


async def test_a_call_without_arguments_has_no_delta() -> None:
    desk = Desk()
    await desk.out.call("now", "")
    assert told(await desk.finish())[1] == "function_call_arguments.done "


async def test_server_calls_answer_in_any_order_beside_text() -> None:
    desk = Desk(tools=["a", "b"])
    await desk.out.call("a", {})
    await desk.out.call("b", {})
    await desk.out.text("mean")
    (first, call_a), (second, call_b) = desk.started
    await desk.out.finish_call(second, attrs.evolve(call_b, output="b", status="completed"))
    await desk.out.text("while")
    await desk.out.finish_call(first, attrs.evolve(call_a, error="broken", status="failed"))
    lines = told(await desk.finish())
    assert lines.index("mcp_call.completed") < lines.index("output_text.delta while") < lines.index("mcp_call.failed")


LOGPROBS = [{"token": "x", "bytes": [120], "logprob": -0.1, "top_logprobs": []}]


async def test_probabilities_are_shown_to_those_who_want_them() -> None:
    desk = Desk(logprobs=True)
    await desk.out.text("x", logprobs=LOGPROBS)
    await desk.out.text("\ud83d", logprobs=LOGPROBS)
    await desk.out.text("z")
    events = await desk.finish()
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert [(event["delta"], event["logprobs"]) for event in deltas] == [
        ("x", LOGPROBS),
        ("\ufffd", LOGPROBS),
        ("z", []),
    ]
    done = next(event for event in events if event["type"] == "response.output_text.done")
    assert (done["text"], done["logprobs"]) == ("x\ufffdz", [*LOGPROBS, *LOGPROBS])
    assert events[-1]["item"]["content"][0]["logprobs"] == done["logprobs"]


async def test_probabilities_are_shown_to_nobody_else() -> None:
    desk = Desk()
    await desk.out.text("x", logprobs=LOGPROBS)
    events = await desk.finish()
    assert [event["logprobs"] for event in events if "logprobs" in event] == [[], []]
    assert events[-1]["item"]["content"][0]["logprobs"] == []


async def test_annotations_count_in_their_part_and_stay_in_it() -> None:
    desk = Desk()
    cited = {"type": "url_citation", "url": "https://x.y", "title": "X", "start_index": 0, "end_index": 1}
    filed = {"type": "file_path", "file_id": "f", "index": 1}
    await desk.out.text("a")
    await desk.out.annotation(cited)
    await desk.out.annotation(filed)
    await desk.out.text("b")
    await desk.out.refusal("no")
    with pytest.raises(LocalProtocolError, match="without open text"):
        await desk.out.annotation(cited)
    await desk.out.text("c")
    await desk.out.annotation(filed)
    events = await desk.finish()
    told = [event for event in events if event["type"] == "response.output_text.annotation.added"]
    assert [(event["content_index"], event["annotation_index"], event["annotation"]) for event in told] == [
        (0, 0, cited),
        (0, 1, filed),
        (2, 0, filed),
    ]
    parts = events[-1]["item"]["content"]
    assert [part.get("annotations") for part in parts] == [[cited, filed], None, [filed]]
    closed = [event["part"] for event in events if event["type"] == "response.content_part.done"]
    assert closed == parts


@pytest.mark.parametrize("raw", [{}, {"type": 3}, {"type": "x", "bad": object()}])
async def test_an_impossible_annotation_changes_nothing(raw: Mapping[str, Any]) -> None:
    desk = Desk()
    await desk.out.text("a")
    with pytest.raises((LocalProtocolError, TypeError)):
        await desk.out.annotation(raw)
    assert (await desk.finish())[-1]["item"]["content"][0]["annotations"] == []


async def test_messages_have_phases() -> None:
    desk = Desk()
    await desk.out.begin_message(phase="commentary")
    await desk.out.text("looking")
    await desk.out.begin_message(phase="final_answer")
    await desk.out.reasoning("hm")
    await desk.out.text("found")
    await desk.out.begin_message()
    await desk.out.text("more")
    events = await desk.finish()
    for kind in ("added", "done"):
        items = [event["item"] for event in events if event["type"] == f"response.output_item.{kind}"]
        assert [item.get("phase") for item in items] == ["commentary", None, "final_answer", None]


async def test_a_message_with_a_given_id_begins_at_once_and_is_never_without_a_part() -> None:
    desk = Desk()
    await desk.out.begin_message(id_="msg_theirs", phase="commentary")
    desk.read()
    assert [event["item"]["id"] for event in desk.events if "item" in event] == ["msg_theirs"]
    await desk.out.begin_message(id_="msg_next")
    await desk.out.text("hello")
    first, second = [event["item"] for event in await desk.finish() if event["type"] == "response.output_item.done"]
    assert (first["id"], first["phase"], [part["text"] for part in first["content"]]) == (
        "msg_theirs",
        "commentary",
        [""],
    )
    assert (second["id"], second["content"][0]["text"]) == ("msg_next", "hello")


async def test_a_step_may_end_with_a_message_that_has_only_begun() -> None:
    desk = Desk()
    await desk.out.begin_message(id_="msg_theirs")
    done = (await desk.finish())[-1]["item"]
    assert (done["id"], done["status"], done["content"][0]["text"]) == ("msg_theirs", "completed", "")


async def test_an_open_message_goes_on_as_an_item_of_the_engines_own() -> None:
    desk = Desk()
    await desk.out.begin_message(id_="msg_theirs")
    await desk.out.text("hel")
    await desk.out.annotation({"type": "file_path", "file_id": "f", "index": 0})
    await desk.out.refusal("no")
    await desk.out.open_item({"type": "message", "id": "msg_theirs"})
    with pytest.raises(LocalProtocolError, match="cannot come"):
        await desk.out.event("response.output_text.done", {"content_index": 0, "text": "hel"})
    await desk.out.close(complete=False)
    *_, done = await desk.finish(complete=False)
    assert [part["type"] for part in done["item"]["content"]] == ["output_text", "refusal"]
    assert done["item"]["status"] == "incomplete"


async def test_sealed_reasoning_has_its_content_in_its_final_form_alone() -> None:
    desk = Desk()
    await desk.out.summary("so")
    await desk.out.seal_reasoning("opaque")
    await desk.out.seal_reasoning("alone")
    await desk.out.text("x")
    await desk.out.seal_reasoning("last")
    events = await desk.finish()
    added = [event["item"] for event in events if event["type"] == "response.output_item.added"]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert [item.get("encrypted_content") for item in added] == [None] * 4
    assert [item.get("encrypted_content") for item in done] == ["opaque", "alone", None, "last"]
    assert done[0]["summary"] == [{"type": "summary_text", "text": "so"}]


async def test_calls_into_a_namespace_are_the_clients() -> None:
    desk = Desk(tools=["ours"])
    await desk.out.call("ours", {}, namespace="theirs")
    await desk.out.open_call("patch", custom=True, namespace="theirs")
    await desk.out.close_call()
    events = await desk.finish()
    for kind in ("added", "done"):
        items = [event["item"] for event in events if event["type"] == f"response.output_item.{kind}"]
        assert [(item["type"], item["namespace"]) for item in items] == [
            ("function_call", "theirs"),
            ("custom_tool_call", "theirs"),
        ]


async def test_a_compaction_says_that_it_compacts() -> None:
    desk = Desk()
    await desk.out.item({"type": "compaction", "encrypted_content": "opaque"})
    assert "compaction.compacting" in told(await desk.finish())


async def test_other_items_pass_through() -> None:
    desk = Desk()
    raw = {"type": "web_search_call", "action": {"query": "x"}, "status": "completed", "new": [1, {"y": None}]}
    await desk.out.text("before")
    await desk.out.item(raw)
    events = await desk.finish()
    done = events[-1]["item"]
    assert done == {**raw, "id": done["id"]}
    assert events[-2]["item"] == {**done, "status": "in_progress"}


async def test_a_call_as_an_item_keeps_its_members_and_has_its_events() -> None:
    desk = Desk()
    call = {"type": "function_call", "call_id": "c1", "name": "f", "namespace": "ns", "arguments": '{"x":1}', "more": 1}
    custom = {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "text", "id": "ctc_1"}
    await desk.out.item(call)
    await desk.out.item(custom)
    events = await desk.finish()
    assert told(events)[:4] == [
        "output_item.added function_call in_progress",
        'function_call_arguments.delta {"x":1}',
        'function_call_arguments.done {"x":1}',
        "output_item.done function_call completed",
    ]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done[0] == {**call, "id": done[0]["id"], "status": "completed"}
    assert done[1] == {**custom, "status": "completed"}
    assert [item.type for item in desk.out.calls] == ["function_call", "custom_tool_call"]


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        ({}, LocalProtocolError),
        ({"type": 3}, LocalProtocolError),
        ({"type": "message", "role": "assistant", "content": "x"}, LocalProtocolError),
        ({"type": "function_call", "name": "f", "arguments": "{}"}, RequestError),
        ({"type": "x", "bad": object()}, TypeError),
    ],
)
async def test_an_impossible_item_changes_nothing(raw: Mapping[str, Any], error: type[Exception]) -> None:
    desk = Desk()
    await desk.out.text("a")
    with pytest.raises(error):
        await desk.out.item(raw)
    await desk.out.text("b")
    assert "output_text.done ab" in told(await desk.finish())


@pytest.mark.parametrize("piece", [None, b"bytes", 3, ["x"]])
async def test_a_piece_must_be_text(piece: Any) -> None:
    desk = Desk()
    await desk.out.text("a")
    with pytest.raises(TypeError, match="must be a str"):
        await desk.out.text(piece)
    await desk.out.open_call("f")
    with pytest.raises(TypeError, match="must be a str"):
        await desk.out.arguments(piece)


@pytest.mark.parametrize("custom", [False, True])
async def test_the_name_of_a_tool_must_be_text(custom: bool) -> None:
    desk = Desk()
    await desk.out.text("a")
    name: Any = 3
    with pytest.raises(TypeError, match="must be a str"):
        await desk.out.call(name, {}, custom=custom)
    assert "output_text.done a" in told(await desk.finish())


async def test_half_a_surrogate_pair_is_replaced_the_same_everywhere() -> None:
    desk = Desk()
    await desk.out.text("a\ud83d")
    await desk.out.text("\ude00b")
    assert "output_text.done a\ufffd\ufffdb" in told(await desk.finish())


async def test_empty_pieces_are_no_events_but_make_the_item() -> None:
    desk = Desk()
    await desk.out.text("")
    await desk.out.text("")
    assert told(await desk.finish()) == [
        "output_item.added message in_progress",
        "content_part.added output_text",
        "output_text.done ",
        "content_part.done output_text",
        "output_item.done message completed",
    ]


async def test_a_call_must_be_open_and_only_one() -> None:
    desk = Desk()
    with pytest.raises(LocalProtocolError, match="open_call"):
        await desk.out.arguments("x")
    with pytest.raises(LocalProtocolError, match="open_call"):
        await desk.out.close_call()
    await desk.out.open_call("f")
    writes: list[Callable[[], Awaitable[None]]] = [
        lambda: desk.out.text("x"),
        lambda: desk.out.call("g", {}),
        lambda: desk.out.open_call("g"),
        lambda: desk.out.item({"type": "x"}),
        lambda: desk.out.close(complete=True),
    ]
    for write in writes:
        with pytest.raises(LocalProtocolError, match="still open"):
            await write()


async def test_nothing_is_taken_after_the_end() -> None:
    desk = Desk(tools=["ours"])
    out = desk.out
    await out.text("x")
    await out.close(complete=True)
    for write in (out.text, out.refusal, out.reasoning, out.summary):
        with pytest.raises(LocalProtocolError, match="has ended"):
            await write("y")
    for call in (out.call("f", {}), out.open_call("f"), out.item({"type": "x"})):
        with pytest.raises(LocalProtocolError, match="has ended"):
            await call
    with pytest.raises(LocalProtocolError):
        await out.arguments("y")
    desk.end()


async def test_what_is_cut_short_is_incomplete() -> None:
    desk = Desk()
    await desk.out.text("hal")
    assert told(await desk.finish(complete=False))[-3:] == [
        "output_text.done hal",
        "content_part.done output_text",
        "output_item.done message incomplete",
    ]


@pytest.mark.parametrize("custom", [False, True])
async def test_half_a_call_is_incomplete_and_no_call(custom: bool) -> None:
    desk = Desk()
    await desk.out.open_call("f", custom=custom)
    await desk.out.arguments('{"a"')
    assert told(await desk.finish(complete=False))[-1].endswith("call incomplete")
    assert desk.out.calls == ()


async def test_half_a_server_call_is_not_run() -> None:
    desk = Desk(tools=["ours"])
    await desk.out.open_call("ours")
    await desk.out.arguments('{"a"')
    events = await desk.finish(complete=False)
    assert told(events)[-2:] == ["mcp_call.failed", "output_item.done mcp_call failed"]
    assert desk.started == []
    assert desk.out.calls == ()


async def test_server_calls_that_never_answer_have_failed() -> None:
    desk = Desk(tools=["ours"])
    await desk.out.call("ours", {})
    await desk.out.close(complete=True)
    await desk.out.abandon("the engine failed")
    await desk.out.abandon("twice is once")
    events = desk.end()
    assert told(events)[-2:] == ["mcp_call.failed", "output_item.done mcp_call failed"]
    assert events[-1]["item"]["error"] == "the engine failed"


async def test_a_full_response_stops_the_step(autojump_clock: MockClock) -> None:
    desk = Desk(max_bytes=2000)
    written = 0
    with desk.scope:
        while True:
            await desk.out.text("0123456789")
            written += 1
            desk.read()
    assert desk.overflows == 1
    assert desk.window.total_bytes < 2000 + 300
    await desk.out.close(complete=False)
    assert "output_text.done " + "0123456789" * written in told(desk.end("incomplete"))


@pytest.mark.parametrize("write", ["text", "call", "item", "arguments"])
async def test_a_full_response_takes_nothing_more_even_from_one_that_does_not_stop(write: str) -> None:
    desk = Desk(max_bytes=3000)
    out = desk.out
    refused = 0
    with desk.scope:
        for _ in range(100):
            with trio.CancelScope(shield=True):
                try:
                    if write == "text":
                        await out.text("0123456789")
                    elif write == "call":
                        await out.call("f", {})
                    elif write == "item":
                        await out.item({"type": "x"})
                    else:
                        await out.open_call("f") if out._call is None else await out.arguments("0123456789")
                except LocalProtocolError:
                    refused += 1
    assert refused > 50
    assert desk.window.total_bytes < 3000 + 2000
    await out.close(complete=False)
    desk.end("incomplete")


async def unfold(out: TurnOut) -> None:
    """The open message, whatever is in it, becomes an item whose events the engine writes."""
    if out._text is not None and out._text.kind == "message":
        await out.open_item({"type": "message", "id": out._text.id})


OPERATIONS: dict[str, Callable[[TurnOut], Awaitable[None]]] = {
    "text": lambda out: out.text("piece of text"),
    "refusal": lambda out: out.refusal("no"),
    "reasoning": lambda out: out.reasoning("hmm"),
    "summary": lambda out: out.summary("so"),
    "logged": lambda out: out.text("logged", logprobs=LOGPROBS),
    "annotation": lambda out: out.annotation({"type": "file_path", "file_id": "f", "index": 0}),
    "message": lambda out: out.begin_message(phase="commentary"),
    "named message": lambda out: out.begin_message(id_=f"msg_{out._output.size}"),
    "unfold": unfold,
    "seal": lambda out: out.seal_reasoning("opaque"),
    "compaction": lambda out: out.item({"type": "compaction", "encrypted_content": "opaque"}),
    "namespaced": lambda out: out.call("theirs", {"a": 1}, namespace="space"),
    "call": lambda out: out.call("theirs", {"a": 1}),
    "server call": lambda out: out.call("ours", {"a": 1}),
    "custom": lambda out: out.call("patch", "x", custom=True),
    "open": lambda out: out.open_call("theirs"),
    "open server": lambda out: out.open_call("ours"),
    "arguments": lambda out: out.arguments('{"x":1}'),
    "close": lambda out: out.close_call(),
    "item": lambda out: out.item({"type": "web_search_call"}),
    "open item": lambda out: out.open_item({"type": "web_search_call"}),
    "event": lambda out: out.event("response.web_search_call.in_progress", {}),
    "next event": lambda out: out.event("response.web_search_call.searching", {}),
    "extension": lambda out: out.event("vendor:thing", {"a": 1}),
    "close item": lambda out: out.close_item({"type": "web_search_call", "status": "completed"}),
    "call item": lambda out: out.item({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}),
}


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), st.integers(0, 4)), max_size=12),
    st.booleans(),
    st.integers(1, 700),
    st.booleans(),
)
def test_cancelled_anywhere_the_stream_stays_legal(
    operations: list[tuple[str, int]], complete: bool, limit: int, logprobs: bool
) -> None:
    """Each operation waits for a reader that takes a few events and no more, and is then cancelled."""

    async def main() -> None:
        desk = Desk(limit=limit, tools=["ours"], logprobs=logprobs)

        async def answer_calls() -> None:
            while desk.started:
                index, call = desk.started.pop()
                await desk.out.finish_call(index, attrs.evolve(call, output="x", status="completed"))

        for number, (name, reads) in enumerate(operations):
            with trio.move_on_after(1):
                async with trio.open_nursery() as nursery:
                    if number % 3 == 2:
                        nursery.start_soon(answer_calls)
                    nursery.start_soon(_quietly, OPERATIONS[name], desk.out)
                    for _ in range(reads):
                        await wait_all_tasks_blocked()
                        desk.read(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read_on, desk, nursery.cancel_scope)
            try:
                await desk.out.close(complete=complete)
            except LocalProtocolError:
                await desk.out.close(complete=False)
            await desk.out.abandon("over")
            nursery.cancel_scope.cancel(reason="written")
        desk.read()
        _check_whole(desk.events)
        cut = any(event.get("item", {}).get("status") == "incomplete" for event in desk.events)
        desk.end("incomplete" if cut else "completed")

    trio.run(main, clock=MockClock(autojump_threshold=0))


def _check_whole(events: Sequence[Event]) -> None:
    """What the grammar does not look at: annotations and probabilities are the same in pieces and at the end."""
    said: dict[tuple[int, int], tuple[list[Any], list[Any]]] = {}
    for event in events:
        if event.get("part", {}).get("type") == "output_text" and event["type"].endswith(".done"):
            annotations, logprobs = said.get((event["output_index"], event["content_index"]), ([], []))
            assert (event["part"]["annotations"], event["part"]["logprobs"]) == (annotations, logprobs)
        elif "content_index" in event:
            place = said.setdefault((event["output_index"], event["content_index"]), ([], []))
            place[0].extend([event["annotation"]] if "annotation" in event else [])
            place[1].extend(event["logprobs"] if "delta" in event and "logprobs" in event else [])


async def _quietly(operation: Callable[[TurnOut], Awaitable[None]], out: TurnOut) -> None:
    with suppress(LocalProtocolError):  # out of turn, such as arguments without a call
        await operation(out)


async def _read_on(desk: Desk, scope: trio.CancelScope) -> None:
    while True:
        await trio.sleep(0.1)
        desk.read()


def test_an_event_in_two_parts() -> None:
    assert event_parts("x", {}) == (b'{"type":"x","sequence_number":', b"")
    assert event_parts("x", {"a": 1}) == (b'{"type":"x","sequence_number":', b',"a":1')


@pytest.mark.parametrize(
    "write",
    [
        lambda out: out.text(""),
        lambda out: out.refusal("no"),
        lambda out: out.reasoning("so"),
        lambda out: out.seal_reasoning("sealed"),
        lambda out: out.call("f", {}),
        lambda out: out.open_call("f"),
        lambda out: out.item({"type": "web_search_call", "status": "completed"}),
        lambda out: out.open_item({"type": "web_search_call"}),
    ],
)
async def test_it_knows_whether_a_step_has_begun_to_write(
    write: Callable[[TurnOut | RecordingOut], Awaitable[None]], autojump_clock: MockClock
) -> None:
    desk = Desk()
    desk.output.open()  # of the step before
    again = TurnOut(
        desk.window,
        desk.output,
        Sources.seeded(2),
        server_tools={},
        start_call=lambda index, call: None,
        max_bytes=UNBOUNDED,
        overflow=lambda: None,
        rules=CallRules(),
        halt=lambda: None,
    )
    for out in (again, RecordingOut()):
        out.use(Usage(1, 1))
        await out.begin_message()
        assert not out.begun
        await write(out)
        assert out.begun
