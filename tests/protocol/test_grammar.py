"""The checker: legal streams pass, and a stream with any one thing wrong does not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.protocol.events import EVENTS
from agentwire.protocol.grammar import Checker, GrammarError
from agentwire.protocol.order import FLOWS, ITEM_EVENTS, LATE_EVENTS, LIFECYCLE, RULES, SIDE_EVENTS, render_markdown
from agentwire.testing.strategies import streams
from agentwire.testing.strategies import values as strategies
from agentwire.testing.strategies.streams import event, framed, numbered, response, whole

Event = dict[str, Any]


def check(events: Iterable[Event], *, lanes: bool = False) -> None:
    checker = Checker(lanes=lanes)
    for found in events:
        checker.feed(found)
    checker.finish()


def broken(events: Iterable[Event], *, lanes: bool = False) -> str:
    with pytest.raises(GrammarError) as caught:
        check(events, lanes=lanes)
    assert caught.value.rule in RULES
    assert str(caught.value).startswith(caught.value.rule)
    return caught.value.rule


def renumbered(events: Iterable[Event]) -> list[Event]:
    return numbered([{**found} for found in events])


# Legal streams


@given(streams.legal())
def test_a_legal_stream_passes(events: list[Event]) -> None:
    check(events)


@given(streams.legal(overlapping=True))
def test_items_may_overlap(events: list[Event]) -> None:
    check(events)


@given(streams.legal(overlapping=True, most=2), streams.legal(overlapping=True, most=2), st.data())
def test_lanes_interleave_freely(first: list[Event], second: list[Event], data: st.DataObject) -> None:
    lanes = {"a": [*first, *second], None: [*second, *first]}
    turns = data.draw(st.permutations(["a"] * len(lanes["a"]) + [None] * len(lanes[None])))
    mixed = [{**lanes[lane].pop(0), **({"stream_id": lane} if lane else {})} for lane in turns]
    check(mixed, lanes=True)
    assert broken(mixed) in ("lane", "order")


@given(streams.legal(most=2), st.data())
def test_signs_of_life_and_extensions_may_come_anywhere_in_between(events: list[Event], data: st.DataObject) -> None:
    kinds = st.sampled_from(["keepalive", "acme:progress", "response.steer.accepted", "response.inject.failed"])
    place = data.draw(st.integers(1, len(events) - 1))
    check(renumbered([*events[:place], {"type": data.draw(kinds)}, *events[place:]]))


def test_an_answer_about_another_response_is_not_counted_with_this_one() -> None:
    turn = numbered(whole([]))
    own = turn[0]["response"]["id"]

    def failed(number: int | None, about: str) -> Event:
        told = {"type": "response.steer.failed", "steer": {"previous_response_id": about, "input": "x"}, "error": {}}
        return told if number is None else {**told, "sequence_number": number}

    for number in (None, 0):
        check([failed(number, "other"), *turn], lanes=True)
        check([*turn[:2], failed(number, "other"), *turn[2:]], lanes=True)
        check([*turn, failed(number, own), failed(number, "other")], lanes=True)
    check([*turn, failed(len(turn), own)], lanes=True)
    assert broken([*turn[:2], failed(0, own), *turn[2:]], lanes=True) == "sequence"
    inject = {"type": "response.inject.failed", "response_id": "other", "sequence_number": 0}
    check([*turn[:2], inject, *turn[2:]], lanes=True)


# One thing wrong

OPTIONAL = ("response.in_progress",)


@given(streams.legal(), st.data())
def test_dropping_any_event_is_noticed(events: list[Event], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(events) - 1))
    rest = [*events[:place], *events[place + 1 :]]
    broken(rest)
    if events[place]["type"] not in OPTIONAL:
        broken(renumbered(rest))


@given(streams.legal(), st.data())
def test_repeating_any_event_is_noticed(events: list[Event], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(events) - 1))
    doubled = [*events[: place + 1], *events[place:]]
    broken(doubled)
    broken(renumbered(doubled))


@given(streams.legal(), st.data())
def test_swapping_any_two_neighbours_is_noticed(events: list[Event], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(events) - 2))
    swapped = [*events]
    swapped[place], swapped[place + 1] = swapped[place + 1], swapped[place]
    broken(swapped)
    kinds = (events[place]["type"], events[place + 1]["type"])
    if kinds == ("response.output_item.done", "response.output_item.added"):
        check(renumbered(swapped))  # they only overlap then
    else:
        broken(renumbered(swapped))


@given(streams.legal(), st.data())
def test_cutting_a_stream_anywhere_is_noticed(events: list[Event], data: st.DataObject) -> None:
    assert broken(events[: data.draw(st.integers(0, len(events) - 1))]) == "unfinished"


TOLD = ("delta", "text", "refusal", "arguments", "input", "item_id", "output_index", "content_index", "summary_index")


@given(streams.legal(), st.data())
def test_changing_any_member_is_noticed(events: list[Event], data: st.DataObject) -> None:
    members = [(place, name) for place, found in enumerate(events) for name in found if name in TOLD]
    place, name = data.draw(st.sampled_from([*members, (0, "sequence_number")]))
    other = events[place][name] + (7 if isinstance(events[place][name], int) else "!")
    broken([*events[:place], {**events[place], name: other}, *events[place + 1 :]])


@given(streams.legal(), st.data())
def test_leaving_out_any_member_is_noticed(events: list[Event], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(events) - 1))
    name = data.draw(st.sampled_from(sorted(events[place])))
    changed = {key: value for key, value in events[place].items() if key != name}
    broken([*events[:place], changed, *events[place + 1 :]])


@given(st.lists(strategies.OBJECT | st.sampled_from(sorted(EVENTS)).map(lambda kind: {"type": kind}), max_size=4))
def test_whatever_comes_is_legal_or_a_grammar_error(events: list[Event]) -> None:
    for lanes in (False, True):
        checker = Checker(lanes=lanes)
        told = None
        for found in events:
            try:
                checker.feed(found)
            except GrammarError as error:
                told = error
        assert told is None or told.rule in RULES


# A response's life

START = [event("created", response=response("in_progress"))]
END = [event("completed", response=response("completed"))]
ERROR = {"type": "error", "status": 500, "error": {"code": "server_error", "message": "x"}}
FAILED = event("failed", response=response("failed"))
CALL = framed(
    {"id": "fc_1", "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    {"arguments": ""},
    [
        event("function_call_arguments.delta", item_id="fc_1", delta="{}"),
        event("function_call_arguments.done", item_id="fc_1", arguments="{}"),
    ],
)


def test_a_warm_up_has_no_items() -> None:
    check(whole([]))


def test_a_response_may_be_queued_first() -> None:
    queued = [event("created", response=response("queued")), event("queued", response=response("queued"))]
    check(numbered([*queued, event("in_progress", response=response("in_progress")), *END]))
    assert broken(numbered([*START, event("queued", response=response("in_progress"))])) == "status"
    in_progress = event("in_progress", response=response("in_progress"))
    assert broken(numbered([*START, in_progress, event("queued", response=response("queued"))])) == "order"


def test_a_refused_request_is_one_error() -> None:
    check([ERROR])
    check([{**ERROR, "sequence_number": 0}])
    assert broken([ERROR, ERROR]) == "order"
    assert broken([ERROR, *numbered(START)]) == "order"
    assert broken([{**ERROR, "sequence_number": 4}]) == "sequence"


def test_an_error_in_a_stream_is_followed_by_failed_and_nothing_else() -> None:
    check(numbered([*START, ERROR, FAILED]))
    check([*numbered(START), ERROR, {**FAILED, "sequence_number": 1}])
    assert broken(numbered([*START, ERROR])) == "unfinished"
    assert broken(numbered([*START, ERROR, *END])) == "order"
    assert broken(numbered([*START, ERROR, {"type": "keepalive"}])) == "order"


def test_a_failure_may_leave_items_open() -> None:
    events = [{**found, "output_index": 0} for found in CALL[:2]]
    check(numbered([*START, *events, FAILED]))
    assert broken(numbered([*START, *events, *END])) == "unfinished"


@pytest.mark.parametrize("kind", sorted(LATE_EVENTS))
def test_late_events_may_follow_the_end(kind: str) -> None:
    check(numbered([*START, *END, {"type": kind}, {"type": kind}]))
    assert broken(numbered([*START, *END, {"type": "keepalive"}])) == "order"


def test_events_without_a_number_belong_to_no_response() -> None:
    check([{"type": "codex.rate_limits"}, *numbered(START), {"type": "acme:goaway"}, *numbered([*START, *END])[1:]])


def test_the_terminal_event_says_its_status() -> None:
    assert broken(numbered([*START, event("completed", response=response("incomplete"))])) == "status"
    assert broken(numbered([*START, event("incomplete", response=response("completed"))])) == "status"


def test_the_response_keeps_its_id() -> None:
    other = {**response("completed"), "id": "resp_2"}
    assert broken(numbered([*START, event("completed", response=other)])) == "identity"


def test_a_response_begins_without_output() -> None:
    assert broken(numbered([event("created", response=response("in_progress", [{}]))])) == "content"


def test_the_terminal_event_lists_the_items_as_they_were_done() -> None:
    events = whole([CALL])
    empty = {**events[-1], "response": response("completed")}
    assert broken([*events[:-1], empty]) == "content"


# Items


def incomplete(script: Sequence[Event]) -> list[Event]:
    *inside, done = script
    return [*inside, {**done, "item": {**done["item"], "status": "incomplete"}}]


def test_an_item_that_was_cut_off_is_the_last_of_an_incomplete_response() -> None:
    cut = incomplete([CALL[0], CALL[1], CALL[-1]])
    events = whole([cut])
    assert broken(events) == "status"
    output = events[-1]["response"]["output"]
    end = event("incomplete", response=response("incomplete", output), sequence_number=len(events) - 1)
    check([*events[:-1], end])
    two = whole([cut, CALL])
    last = event("incomplete", response=response("incomplete", two[-1]["response"]["output"]))
    assert broken([*two[:-1], {**last, "sequence_number": len(two) - 1}]) == "status"


def test_an_item_begins_empty_and_in_progress() -> None:
    full = {**CALL[0], "item": {**CALL[0]["item"], "arguments": "{"}}
    assert broken(whole([[full, *CALL[1:]]])) == "content"
    ended = {**CALL[0], "item": {**CALL[0]["item"], "status": "completed"}}
    assert broken(whole([[ended, *CALL[1:]]])) == "status"


def test_a_call_is_never_told_as_a_whole() -> None:
    assert broken(whole([[CALL[0], CALL[-1]]])) == "unfinished"


@pytest.mark.parametrize(
    "kind", ["web_search_call", "mcp_call", "mcp_list_tools", "compaction", "acme:thing", "reasoning"]
)
def test_other_items_may_be_told_as_a_whole(kind: str) -> None:
    item = {"id": "x_1", "type": kind, "status": "completed", "more": 1}
    check(whole([[event("output_item.added", item=item), event("output_item.done", item=item)]]))


def test_an_item_keeps_its_id_and_type() -> None:
    for changed in ({"id": "fc_2"}, {"type": "custom_tool_call"}):
        done = {**CALL[-1], "item": {**CALL[-1]["item"], **changed}}
        assert broken(whole([[*CALL[:-1], done]])) == "identity"


def test_nothing_comes_after_an_item_is_done() -> None:
    late = event("function_call_arguments.delta", item_id="fc_1", delta="x")
    events = whole([CALL])
    assert broken(numbered([*events[:-1], {**late, "output_index": 0}, events[-1]])) == "order"


def test_events_belong_to_the_type_of_their_item() -> None:
    stray = event("output_text.delta", item_id="fc_1", content_index=0, delta="x")
    assert broken(whole([[CALL[0], stray, *CALL[1:]]])) == "order"


def test_two_kinds_of_reasoning_text_cannot_be_mixed_in_one_part() -> None:
    part = streams.content_part("rs_1", 0, "reasoning_text", "reasoning_text", ["a", "b"])
    part[2] = event("reasoning.delta", item_id="rs_1", content_index=0, delta="b")
    item = {"id": "rs_1", "type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "ab"}]}
    assert broken(whole([framed(item, {"content": []}, part)])) == "order"


def test_annotations_count_within_their_part() -> None:
    def annotated(*indexes: int) -> list[Event]:
        part = streams.content_part("msg_1", 0, "output_text", "output_text", ["a"])
        found = [
            event(
                "output_text.annotation.added", item_id="msg_1", content_index=0, annotation_index=index, annotation={}
            )
            for index in indexes
        ]
        item = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "a"}],
        }
        return whole([framed(item, {"content": []}, [*part[:2], *found, *part[2:]])])

    check(annotated(0, 1))
    assert broken(annotated(1)) == "index"
    assert broken(annotated(0, 0)) == "index"


def test_a_part_repeats_its_text() -> None:
    part = streams.content_part("msg_1", 0, "output_text", "output_text", ["a"])
    part[-1]["part"] = {"type": "output_text", "text": "b"}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}
    assert broken(whole([framed(item, {"content": []}, part)])) == "content"


@pytest.mark.parametrize("content", [[], ["x"], "a", None, [{"type": "output_text", "text": "b"}], [{"text": "a"}]])
def test_an_item_repeats_its_parts(content: Any) -> None:
    part = streams.content_part("msg_1", 0, "output_text", "output_text", ["a"])
    item = {"id": "msg_1", "type": "message", "role": "assistant", "content": content}
    assert broken(whole([framed(item, {"content": []}, part)])) == "content"


def hosted(kind: str, *names: str, **members: Any) -> list[Event]:
    item = {"id": "x_1", "type": kind, **members}
    inside = [event(name, item_id="x_1") for name in names]
    return framed(item, {}, inside)


HOSTED = [
    hosted("web_search_call", *(f"web_search_call.{stage}" for stage in ("in_progress", "searching", "completed"))),
    hosted("file_search_call", *(f"file_search_call.{stage}" for stage in ("in_progress", "searching", "completed"))),
    hosted("mcp_list_tools", "mcp_list_tools.in_progress", "mcp_list_tools.failed"),
    hosted("compaction", "compaction.compacting"),
    hosted(
        "image_generation_call",
        *(f"image_generation_call.{stage}" for stage in ("in_progress", "generating", "partial_image", "completed")),
    ),
]


@pytest.mark.parametrize("script", HOSTED, ids=lambda script: script[0]["item"]["type"])
def test_tools_that_the_server_runs_go_through_their_stages(script: list[Event]) -> None:
    check(whole([script]))
    if len(script) > 3:
        assert broken(whole([[script[0], *script[2:]]])) == "order"
        assert broken(whole([[*script[:2], script[-1]]])) == "unfinished"


def test_code_is_written_then_run() -> None:
    stem = "code_interpreter_call"
    inside = [
        event(f"{stem}.in_progress", item_id="ci_1"),
        event(f"{stem}_code.delta", item_id="ci_1", delta="1+1"),
        event(f"{stem}_code.done", item_id="ci_1", code="1+1"),
        event(f"{stem}.interpreting", item_id="ci_1"),
        event(f"{stem}.completed", item_id="ci_1"),
    ]
    item = {"id": "ci_1", "type": stem, "code": "1+1"}
    check(whole([framed(item, {"code": ""}, inside)]))
    assert broken(whole([framed({**item, "code": "2"}, {"code": ""}, inside)])) == "content"


def test_shell_commands_are_told_apart_by_their_index() -> None:
    def command(index: int) -> list[Event]:
        return [
            event("shell_call_command.added", command_index=index, command=""),
            event("shell_call_command.delta", command_index=index, delta="ls"),
            event("shell_call_command.done", command_index=index, command="ls"),
        ]

    item = {"id": "sh_1", "type": "shell_call", "action": {"commands": ["ls", "ls"]}}
    check(whole([framed(item, {}, [*command(0), *command(1)])]))
    assert broken(whole([framed(item, {}, [*command(1)])])) == "index"
    output = [
        event("shell_call_output_content.delta", item_id="so_1", command_index=0, delta={"stdout": "x"}),
        event("shell_call_output_content.done", item_id="so_1", command_index=0, output=[]),
    ]
    check(whole([framed({"id": "so_1", "type": "shell_call_output"}, {}, output)]))


def test_an_item_that_was_never_added_has_no_events() -> None:
    assert broken(numbered([*START, {**CALL[1], "output_index": 0}])) == "index"


@pytest.mark.parametrize(
    ("found", "rule"),
    [
        ({}, "shape"),
        ({"type": ""}, "shape"),
        ({"type": 5}, "shape"),
        ({"type": "response.create"}, "unknown"),
        ({"type": "response.done"}, "unknown"),
        ({"type": "keepalive", "stream_id": 5}, "shape"),
        ({"type": "response.created", "sequence_number": 0}, "shape"),
        ({"type": "response.created", "sequence_number": 0, "response": {}}, "shape"),
        ({"type": "response.created", "sequence_number": False, "response": response("in_progress")}, "sequence"),
        ({"type": "response.completed", "sequence_number": 0, "response": response("completed")}, "order"),
        ({"type": "keepalive", "sequence_number": 0}, "order"),
    ],
)
def test_a_first_event_that_cannot_be(found: Event, rule: str) -> None:
    assert broken([found]) == rule


def test_an_empty_stream_is_unfinished() -> None:
    assert broken([]) == "unfinished"
    check([], lanes=True)


# A whole connection


def test_a_lane_runs_one_response_after_the_other() -> None:
    check([*whole([]), *whole([CALL])], lanes=True)
    assert broken([*whole([]), *whole([])]) == "order"
    assert broken([*whole([])[:2], *whole([])], lanes=True) == "order"


def test_refusals_of_other_requests_leave_the_running_one_alone() -> None:
    refusal = {**ERROR, "status": 429}
    events = whole([CALL])
    check([refusal, *events[:3], refusal, {**refusal, "sequence_number": 0}, *events[3:], refusal], lanes=True)


def test_an_error_with_the_next_number_belongs_to_the_running_response() -> None:
    started = numbered([*START, ERROR])
    assert broken(started, lanes=True) == "unfinished"
    check([*started, {**FAILED, "sequence_number": 2}], lanes=True)


def test_every_lane_must_come_to_its_end() -> None:
    assert broken([*whole([]), *numbered(START, "a")], lanes=True) == "unfinished"


# The tables


def test_every_event_that_we_emit_is_in_the_tables() -> None:
    known = {kind for events in LIFECYCLE.values() for kind in events} | ITEM_EVENTS | SIDE_EVENTS | LATE_EVENTS
    assert EVENTS.keys() <= known | {"response.output_item.added", "response.output_item.done"}


def test_every_state_of_a_flow_leads_to_an_end() -> None:
    for item, flows in FLOWS.items():
        for flow in flows:
            targets = {target for events in flow.moves.values() for target in events.values()}
            assert flow.ends <= targets | {"new"}, item
            stuck = targets - flow.moves.keys() - flow.ends
            assert not stuck, (item, stuck)


def test_the_documentation_shows_every_event_and_rule() -> None:
    text = render_markdown()
    for kind in (*ITEM_EVENTS, *FLOWS, *RULES, "response.completed"):
        assert kind in text
    assert all(line.count(" | ") == 2 for line in text.splitlines() if line.startswith("| `new`"))


def test_events_may_come_straight_from_json() -> None:
    check(json.loads(json.dumps(whole([CALL]))))


@pytest.mark.parametrize("status", [None, [], {}, 7, ["in_progress"]])
def test_a_status_that_is_no_text_is_a_broken_rule(status: object) -> None:
    begun = {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "status": status}}
    with pytest.raises(GrammarError, match="response with status"):
        Checker().feed(begun)
