"""Items whose events an engine writes itself: legal or refused, whole or incomplete."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from agentwire.engines import scripted
from agentwire.engines.script import Annotation, NewMessage, Sealed, Summary, Text, Told, Turn
from agentwire.protocol.errors import LocalProtocolError
from agentwire.runtime.contracts import Ask, Finish, Out
from tests.runtime.kit import client
from tests.runtime.test_out import Desk, told

DELTA = "response.output_text.delta"
ACTION = {"type": "search", "query": "x"}
STAGES: dict[str, list[str]] = {
    "web_search_call": ["in_progress", "searching", "completed"],
    "file_search_call": ["in_progress", "searching", "completed"],
    "image_generation_call": ["in_progress", "generating", "partial_image", "completed"],
    "mcp_list_tools": ["in_progress", "completed"],
}


@pytest.mark.parametrize("kind", sorted(STAGES))
async def test_what_a_server_runs_is_told_in_stages(kind: str, autojump_clock: MockClock) -> None:
    events: list[tuple[str, dict[str, Any]]] = [(f"response.{kind}.{stage}", {}) for stage in STAGES[kind]]
    raw = {"type": kind, "server_label": "x", "tools": []} if kind == "mcp_list_tools" else {"type": kind}
    engine = scripted(Turn(Summary("Looking."), Told(raw, events), Text("Found.")))
    async with client(engine) as it:
        seen = await it.wire.ask()
    mine = [event for event in seen if event["type"].startswith(f"response.{kind}.")]
    assert [event["type"] for event in mine] == [name for name, _ in events]
    item = seen[-1]["response"]["output"][1]
    assert {event["item_id"] for event in mine} == {item["id"]}
    assert {event["output_index"] for event in mine} == {1}
    assert item == {**raw, "id": item["id"], "status": "completed"}


async def test_everything_an_engine_may_say_of_an_answer_arrives(autojump_clock: MockClock) -> None:
    cited = {"type": "url_citation", "url": "https://x.y", "title": "X", "start_index": 0, "end_index": 1}
    logprobs = [{"token": "a", "bytes": [97], "logprob": -1.0, "top_logprobs": []}]
    turn = Turn(
        Summary("Hm."),
        Sealed("opaque"),
        NewMessage("commentary"),
        Text("a", logprobs=logprobs),
        Annotation(cited),
        NewMessage("final_answer"),
        Text("b"),
    )
    async with client(scripted(turn)) as it:
        seen = await it.wire.ask(include=["message.output_text.logprobs"])
    thought, first, second = seen[-1]["response"]["output"]
    assert thought["encrypted_content"] == "opaque"
    assert [first["phase"], second["phase"]] == ["commentary", "final_answer"]
    part = first["content"][0]
    assert (part["annotations"], part["logprobs"]) == ([cited], logprobs)


async def test_the_stream_of_another_server_is_relayed_under_ones_own_numbers() -> None:
    where = {"item_id": "theirs", "output_index": 7, "content_index": 0, "sequence_number": 99}
    empty: dict[str, Any] = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    part = {**empty, "text": "hi"}
    desk = Desk()
    await desk.out.text("before")
    begun: dict[str, Any] = {"type": "message", "id": "msg_x", "role": "assistant", "content": []}
    await desk.out.open_item(begun)
    await desk.out.event("response.content_part.added", {**where, "part": empty})
    await desk.out.event("response.output_text.delta", {**where, "delta": "hi", "logprobs": [], "obfuscation": "x"})
    await desk.out.event("vendor:thing", {**where, "new": 1})
    await desk.out.event("response.output_text.done", {**where, "text": "hi", "logprobs": []})
    await desk.out.event("response.content_part.done", {**where, "part": part})
    await desk.out.close_item({**begun, "id": "theirs", "status": "completed", "content": [part]})
    events = await desk.finish()
    mine = [event for event in events if event.get("item_id") == "msg_x"]
    assert len(mine) == 4
    assert {event["output_index"] for event in mine} == {1}
    assert mine[1]["obfuscation"] == "x"
    assert [event["new"] for event in events if event["type"] == "vendor:thing"] == [1]
    assert events[-1]["item"]["content"] == [part]


async def test_a_relayed_call_is_a_call_for_the_client(autojump_clock: MockClock) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f"}
    stem = "response.function_call_arguments"
    events = [(f"{stem}.delta", {"delta": "{}"}), (f"{stem}.done", {"arguments": "{}"})]
    engine = scripted(Turn(Told({**call, "arguments": ""}, events, {**call, "arguments": "{}", "status": "completed"})))
    async with client(engine) as it:
        seen = await it.wire.ask(tools=[{"type": "function", "name": "f"}], tool_choice="required")
        assert seen[-1]["type"] == "response.completed"
        refused = await it.wire.ask(tools=[{"type": "function", "name": "f"}], tool_choice="none")
    assert refused[-1]["type"] == "response.failed"


@pytest.mark.parametrize(
    "kind",
    [
        "response.web_search_call.completed",
        "response.output_text.delta",
        "response.completed",
        "response.output_item.added",
        "no.such.event",
    ],
)
async def test_an_event_that_cannot_be_is_refused_and_the_item_with_it(kind: str) -> None:
    desk = Desk()
    await desk.out.open_item({"type": "web_search_call"})
    await desk.out.event("response.web_search_call.in_progress", {})
    with pytest.raises(LocalProtocolError, match="no legal stream"):
        await desk.out.event(kind, {"delta": "x", "content_index": 0})
    with pytest.raises(LocalProtocolError, match="cannot go on"):
        await desk.out.event("response.web_search_call.searching", {})
    with pytest.raises(LocalProtocolError, match="still open"):
        await desk.out.close(complete=True)
    assert told(await desk.finish(complete=False))[-1] == "output_item.done web_search_call incomplete"


async def test_an_item_must_repeat_what_its_events_said() -> None:
    desk = Desk()
    await desk.out.open_item({"type": "code_interpreter_call", "code": "", "container_id": "c"})
    for stage, members in (
        ("code_interpreter_call.in_progress", {}),
        ("code_interpreter_call_code.done", {"code": ""}),
        ("code_interpreter_call.interpreting", {}),
        ("code_interpreter_call.completed", {}),
    ):
        await desk.out.event(f"response.{stage}", members)
    with pytest.raises(LocalProtocolError, match="code"):
        await desk.out.close_item({"type": "code_interpreter_call", "code": "other", "container_id": "c"})


async def test_half_a_relayed_item_keeps_the_text_that_it_had() -> None:
    desk = Desk()
    await desk.out.open_item({"type": "message", "role": "assistant", "content": []})
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    await desk.out.event("response.content_part.added", {"content_index": 0, "part": part})
    await desk.out.event("response.output_text.delta", {"content_index": 0, "delta": "hal", "logprobs": []})
    events = await desk.finish(complete=False)
    assert events[-1]["item"]["content"] == [{**part, "text": "hal"}]
    assert events[-1]["item"]["status"] == "incomplete"


async def test_nothing_else_is_written_while_an_item_is_open() -> None:
    desk = Desk()
    for write in (desk.out.event("x:y", {}), desk.out.close_item({"type": "x"})):
        with pytest.raises(LocalProtocolError, match="without an open item"):
            await write
    await desk.out.open_item({"type": "web_search_call"})
    for other in (desk.out.text("x"), desk.out.call("f", {}), desk.out.open_item({"type": "x"})):
        with pytest.raises(LocalProtocolError, match="still open"):
            await other


async def test_an_engine_that_writes_what_cannot_be_fails_its_turn(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> Finish:
        await out.open_item({"type": "web_search_call"})
        await out.event("response.web_search_call.completed", {})
        return Finish()

    async with client(engine) as it:
        seen = await it.wire.ask()
    assert seen[-1]["type"] == "response.failed"


async def test_pieces_are_deltas_between_the_other_events() -> None:
    desk = Desk()
    empty: dict[str, Any] = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    where = {"content_index": 0}
    await desk.out.open_item({"type": "message", "id": "msg_x", "role": "assistant", "content": []})
    await desk.out.event("response.content_part.added", {**where, "part": empty})
    for piece in ("a", "", "\ud83d", "b"):
        await desk.out.delta(DELTA, piece, index=0)
    await desk.out.event(DELTA, {**where, "delta": "c", "logprobs": [], "new": 1})
    await desk.out.delta(DELTA, "d", index=0)
    await desk.out.event("response.output_text.done", {**where, "text": "a\ufffdbcd", "logprobs": []})
    await desk.out.event("response.content_part.done", {**where, "part": {**empty, "text": "a\ufffdbcd"}})
    content = [{**empty, "text": "a\ufffdbcd"}]
    await desk.out.close_item({"type": "message", "role": "assistant", "status": "completed", "content": content})
    deltas = [event for event in await desk.finish() if event["type"] == DELTA]
    assert [event["delta"] for event in deltas] == ["a", "\ufffd", "b", "c", "d"]
    plain = {"item_id": "msg_x", "output_index": 0, "content_index": 0, "delta": "a", "logprobs": []}
    assert {name: deltas[0][name] for name in plain} == plain


async def test_pieces_have_their_place() -> None:
    desk = Desk()
    with pytest.raises(LocalProtocolError, match="open_item"):
        await desk.out.delta(DELTA, "a", index=0)
    await desk.out.open_item({"type": "message", "id": "msg_x", "role": "assistant", "content": []})
    with pytest.raises(LocalProtocolError, match="order"):
        await desk.out.delta(DELTA, "a", index=0)


@pytest.mark.parametrize("kind", ["response.output_text.done", "response.output_item.added"])
async def test_a_piece_is_a_delta(kind: str) -> None:
    desk = Desk()
    await desk.out.open_item({"type": "message", "id": "msg_x", "role": "assistant", "content": []})
    with pytest.raises(LocalProtocolError):
        await desk.out.delta(kind, "a", index=0)


async def test_a_piece_waits_for_room_and_is_not_said_if_it_is_cancelled() -> None:
    desk = Desk(limit=1500)
    await desk.out.open_item({"type": "reasoning", "id": "rs_x", "summary": []})
    part = {"type": "reasoning_text", "text": ""}
    await desk.out.event("response.content_part.added", {"content_index": 0, "part": part})
    desk.read()
    kind = "response.reasoning_text.delta"
    with trio.move_on_after(0) as scope:
        for _ in range(20):
            await desk.out.delta(kind, "x" * 200, index=0)
    assert scope.cancelled_caught
    desk.read()
    said = sum(len(event["delta"]) for event in desk.events if event["type"] == kind)
    await desk.out.delta(kind, "y", index=0)
    desk.read()
    assert desk.events[-1]["delta"] == "y"
    assert 0 < said < 2000


@pytest.mark.parametrize("kind", ["codex.rate_limits", "vendor:thing", "response.from_the_future.begun"])
async def test_what_is_about_no_item_may_come_anywhere(kind: str) -> None:
    desk = Desk()
    await desk.out.text("a")
    await desk.out.aside(kind, {"a": 1, "sequence_number": 7, "stream_id": "x"})
    await desk.out.text("b")
    desk.read()
    (event,) = [event for event in desk.events if event["type"] == kind]
    assert event == {"type": kind, "sequence_number": 4, "a": 1}
    assert [event["delta"] for event in desk.events if event["type"] == DELTA] == ["a", "b"]


KEPT = ("response.created", "response.completed", "error", DELTA, "response.output_item.done", "response.steer.failed")


@pytest.mark.parametrize("kind", KEPT)
async def test_what_has_its_place_may_not_come_anywhere(kind: str) -> None:
    desk = Desk()
    with pytest.raises(LocalProtocolError):
        await desk.out.aside(kind, {})
    await desk.out.close(complete=True)
    with pytest.raises(LocalProtocolError, match="ended"):
        await desk.out.aside("vendor:thing", {})


async def test_more_items_than_one_burst_may_have_leave_together(autojump_clock: MockClock) -> None:
    """A producer of many events lets others run in between: nothing of what it says after that is left behind."""

    async def engine(ask: Ask, out: Out) -> Finish:
        with out.together():
            for number in range(200):
                search = {"type": "web_search_call", "id": f"ws_{number}", "action": ACTION}
                await out.open_item(search)
                await out.close_item({**search, "status": "completed"})
        return Finish()

    async with client(engine) as it:
        with trio.fail_after(60):
            seen = await it.wire.ask()
    assert len(seen[-1]["response"]["output"]) == 200
