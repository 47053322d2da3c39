"""What sloppy upstreams leave out, say twice or put in the wrong place is made good; a whole stream stays as it is."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, trio_test

from tests.engines.relay.kit import (
    Json,
    call_events,
    message_events,
    output,
    stream,
    texts,
    thought_events,
    told,
)

TOOLS = [{"type": "function", "name": "read"}]
ARGUMENTS = '{"q":"what"}'


def whole() -> list[Json]:
    return stream(
        thought_events("Hm.", "Well.", encrypted_content="opaque"),
        message_events("Hello, wörld.", index=1, pieces=4),
        call_events("read", ARGUMENTS, index=2),
    )


Change = Callable[[list[Json]], list[Json]]


def without(*members: str) -> Change:
    """These members are nowhere in the events."""
    return lambda events: [{name: value for name, value in event.items() if name not in members} for event in events]


def dropping(*endings: str) -> Change:
    """Events whose type ends like this do not come."""
    return lambda events: [event for event in events if not event["type"].endswith(endings)]


def renamed(old: str, new: str) -> Change:
    return lambda events: json.loads(json.dumps(events).replace(old, new))


def twice(*endings: str) -> Change:
    """Events whose type ends like this come twice."""
    return lambda events: [event for event in events for _ in range(1 + event["type"].endswith(endings))]


def only_final(events: list[Json]) -> list[Json]:
    return [events[0], events[-1]]


def three_fields(events: list[Json]) -> list[Json]:
    """Response objects that have next to nothing in them."""
    for event in events:
        if "response" in event:
            given = event["response"]
            event["response"] = {name: given[name] for name in ("id", "status", "usage") if name in given}
    return events


def other_ids(events: list[Json]) -> list[Json]:
    """Another id in each event of an item."""
    for number, event in enumerate(events):
        if "item_id" in event:
            event["item_id"] = f"other_{number}"
        if "item" in event and event["type"].endswith(".done"):
            event["item"]["id"] = f"final_{number}"
    return events


def ended_with_other_ids(events: list[Json]) -> list[Json]:
    """Another id for each item when it is done."""
    return [
        {**event, "item": {**event["item"], "id": f"final_{number}"}} if event["type"].endswith("item.done") else event
        for number, event in enumerate(events)
    ]


def no_numbers(events: list[Json]) -> list[Json]:
    return without("output_index", "content_index", "summary_index", "sequence_number", "item_id")(events)


def all_zero(events: list[Json]) -> list[Json]:
    return [{**event, "output_index": 0} if "output_index" in event else event for event in events]


def text_first_in_added(events: list[Json]) -> list[Json]:
    """The item is announced with all that it will be."""
    done = {event["output_index"]: event["item"] for event in events if event["type"] == "response.output_item.done"}
    for event in events:
        if event["type"] == "response.output_item.added":
            event["item"] = {**done[event["output_index"]], "status": "in_progress"}
    return events


def parts_for_pieces(events: list[Json]) -> list[Json]:
    """Each piece of a text has the next number, as if it were a part, and so have the text's and the part's end."""
    number = 0
    for event in events:
        if "content_index" in event and not event["type"].endswith("_part.added"):
            event["content_index"] = number = number + 1
    return events


def thoughts_named(kind: str) -> Change:
    """The part of a thought has events of its own, or is announced as one of a message."""

    def change(events: list[Json]) -> list[Json]:
        for event in events:
            if event.get("part", {}).get("type") == "reasoning_text":
                event["type"] = event["type"].replace("content_part", kind)
                event["part"]["type"] = "reasoning_text" if kind == "reasoning_part" else "output_text"
        return events

    return change


def final_output(change: Callable[[list[Json]], list[Json]]) -> Change:
    """The terminal event has other ids than the items had, in an output that is changed, too."""

    def changed(events: list[Json]) -> list[Json]:
        output = events[-1]["response"]["output"]
        for number, item in enumerate(output):
            item.update({"id": f"new_{number}"} | ({"call_id": f"call_{number}"} if "call_id" in item else {}))
        events[-1]["response"]["output"] = change(output)
        return events

    return changed


def spelt_anew(events: list[Json]) -> list[Json]:
    """Arguments are written anew when they are done."""
    done = json.dumps(json.loads(ARGUMENTS), indent=1)
    return [{**event, "arguments": done} if event["type"].endswith("arguments.done") else event for event in events]


CHANGES: dict[str, Change] = {
    "no sequence numbers": without("sequence_number"),
    "no output_index": without("output_index"),
    "no content_index": without("content_index", "summary_index"),
    "no item_id": without("item_id"),
    "no numbers and no ids": no_numbers,
    "every output_index is 0": all_zero,
    "no parts added": dropping("_part.added"),
    "no parts": dropping("_part.added", "_part.done"),
    "no text done": dropping("_text.done", "arguments.done"),
    "no deltas": dropping(".delta"),
    "no done but the items'": dropping("_text.done", "_part.done", "arguments.done"),
    "no items done": dropping("output_item.done"),
    "no done at all": dropping("_text.done", "_part.done", "arguments.done", "output_item.done"),
    "items only when they are done": lambda events: [
        event for event in events if event["type"].startswith(("response.output_item.done", "response.c", "response.i"))
        and "part" not in event
    ],
    "no beginnings": dropping("response.created", "response.in_progress"),
    "nothing but the end": only_final,
    "response.done": renamed("response.completed", "response.done"),
    "everything is done twice": twice(".done"),
    "everything begins twice": twice(".added"),
    "three fields": three_fields,
    "other ids each time": other_ids,
    "announced with its text": text_first_in_added,
    "other ids each time, and no output_index": lambda events: without("output_index")(other_ids(events)),
    "other ids at the end, and no output_index": lambda events: without("output_index")(ended_with_other_ids(events)),
    "pieces counted as parts": parts_for_pieces,
    "pieces counted as parts, none announced": lambda events: parts_for_pieces(dropping("t_part.added")(events)),
    "thoughts have parts of their own": thoughts_named("reasoning_part"),
    "thoughts are announced as messages": thoughts_named("content_part"),
    "another output at the end": final_output(lambda output: output),
    "another output at the end, without the thought": final_output(lambda output: output[1:]),
    "another output at the end, backwards": final_output(lambda output: output[::-1]),
    "another output at the end, and no items done":
        lambda events: final_output(lambda output: output)(dropping("output_item.done")(events)),
    "arguments spelt anew": spelt_anew,
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
async def test_what_is_missing_is_made_good(name: str, autojump_clock: MockClock) -> None:
    expected = await told(whole(), tools=TOOLS)
    seen = await told(CHANGES[name](copy.deepcopy(whole())), tools=TOOLS)
    assert seen[-1]["type"] == "response.completed", seen[-1]["response"]["error"]
    assert output(seen) == output(expected)
    assert seen[-1]["response"]["usage"] == expected[-1]["response"]["usage"]
    assert texts(seen, "response.output_text.delta") == "Hello, wörld."
    assert texts(seen, "response.function_call_arguments.delta") == ARGUMENTS


def unannounced(events: list[Json]) -> list[Json]:
    """No item is announced; a call's name comes with its end."""
    return dropping("output_item.added")(events)


async def test_items_that_nobody_announced_begin_with_their_events(autojump_clock: MockClock) -> None:
    expected = await told(whole(), tools=TOOLS)
    seen = await told(unannounced(whole()), tools=TOOLS)
    assert output(seen) == output(expected)


@pytest.mark.parametrize("again", [False, True], ids=["done once", "done again"])
async def test_what_is_said_after_the_end_of_a_message_is_one_more(again: bool, autojump_clock: MockClock) -> None:
    kept: list[Json] = []
    events = stream(message_events("Hello.", pieces=3))
    pieces, ends = events[4:7], events[7:10]
    for event in ends:
        (event.get("part") or event.get("item", {}).get("content", [event])[0])["text"] = pieces[0]["delta"]
    nothing = {**pieces[1], "delta": ""}
    told_of = [*events[:5], *ends, nothing, *pieces[1:], *(ends if again else []), nothing, events[-1]]
    seen = await told(told_of, note=lambda _, raw, **__: kept.append(raw))
    assert texts(seen, "response.output_text.delta") == "Hello."
    assert "".join(item["content"][0]["text"] for item in output(seen)) == "Hello."
    assert len({raw["id"] for raw in kept}) == len(kept) == 2


async def test_a_thought_may_be_sealed_with_the_end_of_its_response(autojump_clock: MockClock) -> None:
    kept: list[Json] = []
    events = stream(thought_events("Hm."), message_events("Hi.", index=1))
    sealed = {**events[-1]["response"]["output"][0], "encrypted_content": "opaque"}
    events[-1]["response"]["output"][0] = sealed
    await told(events, note=lambda _, raw, **__: kept.append(raw))
    assert kept[-1] == sealed


async def test_an_item_that_is_called_something_else_when_it_is_done_is_done(autojump_clock: MockClock) -> None:
    events = stream(thought_events("Hm."), message_events("Hi.", index=1))
    done = next(event for event in events if event["type"] == "response.output_item.done")
    done["item"] = {"type": "message", "id": done["item"]["id"], "status": "completed", "content": []}
    seen = await told(events)
    assert [item["type"] for item in output(seen)] == ["reasoning", "message"]
    assert [event["type"] for event in seen].index("response.output_text.delta") < len(seen) - 4, "it is not held back"


async def test_an_empty_message_in_place_of_what_was_streamed_is_none(autojump_clock: MockClock) -> None:
    events = stream(call_events("read", ARGUMENTS))
    empty = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "text", "text": ""}]}
    events[-1]["response"]["output"] = [empty]
    seen = await told(dropping("output_item.done")(events), tools=TOOLS)
    assert [item["type"] for item in output(seen)] == ["function_call"]


@pytest.mark.parametrize("content", [5, None])
async def test_an_item_of_an_unknown_type_that_only_the_end_has_is_told(
    content: Any, autojump_clock: MockClock
) -> None:
    events = stream(message_events("Hi."))
    strange = {"type": "strange", "content": content}
    events[-1]["response"]["output"].append({**strange, "id": "x_1"})
    assert output(await told(events))[1] == strange


@pytest.mark.parametrize("content", ["Hi.", [{"type": "text", "text": "Hi."}]])
async def test_a_text_that_is_not_called_an_output_is_told_in_pieces(content: Any, autojump_clock: MockClock) -> None:
    events = [event for event in stream(message_events("Hi.")) if "response" in event]
    events[-1]["response"]["output"][0]["content"] = content
    assert texts(await told(events), "response.output_text.delta") == "Hi."


async def test_a_message_of_which_there_is_only_the_text_is_the_assistants(autojump_clock: MockClock) -> None:
    piece = {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "Hi."}
    (message,) = output(await told([piece, {"type": "response.completed", "response": {"id": "resp_1"}}]))
    assert (message["role"], message["content"][0]["text"]) == ("assistant", "Hi.")


async def test_messages_of_which_there_are_only_texts_are_told_apart_by_their_names(autojump_clock: MockClock) -> None:
    both = stream(message_events("one", id_="msg_0"), message_events("two", index=1, id_="msg_1"))
    events = without("output_index")([event for event in both if "item" not in event])
    events[-1]["response"]["output"] = []
    assert [item["content"][0]["text"] for item in output(await told(events))] == ["one", "two"]


@pytest.mark.parametrize("items", [False, True], ids=["events", "events and items"])
@pytest.mark.parametrize("numbers", [True, False], ids=["with numbers", "without"])
@pytest.mark.parametrize("make", [message_events, partial(call_events, "read")], ids=["messages", "calls"])
async def test_an_empty_name_names_nothing(
    make: Callable[..., list[Json]], numbers: bool, items: bool, autojump_clock: MockClock
) -> None:
    both = stream(make('{"q":1}', id_="x_0"), make('{"q":2}', index=1, id_="x_1"))
    sloppy = twice("_part.done")(copy.deepcopy(both if numbers else without("output_index")(both)))
    for event in sloppy:
        if "item_id" in event:
            event["item_id"] = ""
        if items and "item" in event:
            event["item"]["id"] = ""
    assert output(await told(sloppy, tools=TOOLS)) == output(await told(both, tools=TOOLS))


@pytest.mark.parametrize("place", [0, 1])
async def test_a_part_of_an_unknown_type_keeps_its_place(place: int, autojump_clock: MockClock) -> None:
    sound: Json = {"type": "output_audio", "data": "AAAA", "transcript": "Hi."}
    events = stream(message_events("Hi."))
    events[-2]["item"]["content"].insert(place, sound)
    where = {"item_id": "msg_theirs", "output_index": 0, "content_index": place}
    events.insert(-2, {"type": "response.content_part.added", **where, "part": sound})
    (message,) = output(await told(events))
    assert message["content"].index(sound) == place
    assert [part["text"] for part in message["content"] if part["type"] == "output_text"] == ["Hi."]


async def test_parts_that_nobody_announced_may_be_told_as_one(autojump_clock: MockClock) -> None:
    first, _, *pieces, _, _, done, end = stream(message_events("onetwo"))[2:]
    done["item"]["content"] = [{"type": "output_text", "text": text} for text in ("one", "two")]
    seen = await told([first, *({**piece, "content_index": n} for n, piece in enumerate(pieces)), done, end])
    assert seen[-1]["response"]["status"] == "completed"
    assert texts(seen, "response.output_text.delta") == "onetwo"
    assert [part["text"] for part in output(seen)[0]["content"]] == ["onetwo"]


async def test_an_error_in_place_of_a_terminal_event_is_the_end(autojump_clock: MockClock) -> None:
    seen = await told([*whole()[:5], {"error": {"message": "Out of memory.", "code": "oom"}}], tools=TOOLS)
    assert [event["type"] for event in seen[-2:]] == ["error", "response.failed"]
    assert seen[-1]["response"]["error"]["code"] == "oom"


async def test_events_without_a_type_are_guessed_where_that_is_possible(autojump_clock: MockClock) -> None:
    events = whole()
    for event in (events[0], events[2], events[-1]):
        del event["type"]
    assert output(await told(events, tools=TOOLS)) == output(await told(whole(), tools=TOOLS))


async def test_a_call_without_a_name_cannot_be_told(autojump_clock: MockClock) -> None:
    events = [event for event in stream(call_events("read", "{}"))[:-1] if "item" not in event]
    final = {**stream()[-1]}
    seen = await told([*events, final], tools=TOOLS)
    assert seen[-1]["response"]["error"]["code"] == "upstream_protocol_error"


async def test_a_call_without_an_id_gets_one(autojump_clock: MockClock) -> None:
    events = stream(call_events("read", "{}"), call_events("read", "{}", index=1, id_="fc_2"))
    for event in events:
        if "item" in event:
            del event["item"]["call_id"]
    seen = await told(events, tools=TOOLS)
    calls = [item["call_id"] for item in seen[-1]["response"]["output"]]
    assert len(set(calls)) == 2
    assert all(calls)


@pytest.mark.parametrize("given", ["", "call_fc_1"], ids=["empty", "the same"])
async def test_calls_do_not_share_an_id(given: str, autojump_clock: MockClock) -> None:
    events = stream(call_events("read", "{}", id_="fc_1"), call_events("read", "{}", index=1, id_="fc_2"))
    for event in events:
        if "item" in event:
            event["item"]["call_id"] = given
    kept: list[Json] = []
    seen = await told(events, tools=TOOLS, note=lambda _, raw, **__: kept.append(raw))
    first, second = [item["call_id"] for item in seen[-1]["response"]["output"]]
    assert first != second
    assert [event["item"]["call_id"] for event in seen if "item" in event] == [first, first, second, second]
    assert [raw["call_id"] for raw in kept] == [first, second]


@pytest.mark.parametrize("known", [0, 1])
async def test_an_item_that_only_the_end_has_is_told(known: int, autojump_clock: MockClock) -> None:
    """One of two of a type is known by its id, wherever it stands."""
    both = stream(message_events("one", id_="msg_0"), message_events("two", index=1, id_="msg_1"))
    events = [event for event in both if event.get("output_index") in (None, known)]
    seen = output(await told(events))
    assert [item["content"][0]["text"] for item in seen] == [["one", "two"], ["two", "one"]][known]


STAGES = {
    "web_search_call": ["in_progress", "searching", "completed"],
    "image_generation_call": ["in_progress", "generating", "partial_image", "completed"],
    "code_interpreter_call": ["in_progress", "interpreting", "completed"],
}


@pytest.mark.parametrize("kind", STAGES)
@pytest.mark.parametrize("kept", [(), (0,), (1,), (2,), (0, 1), (1, 0), (2, 0)])
async def test_stages_come_in_their_order_whatever_is_missing(
    kind: str, kept: tuple[int, ...], autojump_clock: MockClock
) -> None:
    item: Json = {"type": kind, "id": "x_1", "status": "in_progress"}
    if kind == "code_interpreter_call":
        item["code"] = "1+1"
    events: list[Json] = [{"type": "response.output_item.added", "output_index": 0, "item": item}]
    events += [{"type": f"response.{kind}.{STAGES[kind][at]}", "item_id": "x_1", "output_index": 0} for at in kept]
    events.append({"type": "response.output_item.done", "output_index": 0, "item": {**item, "status": "completed"}})
    seen = await told(stream(events))
    assert seen[-1]["response"]["status"] == "completed"
    stages = [event["type"] for event in seen if f"{kind}." in event["type"]]
    assert not stages or stages[-1] == f"response.{kind}.completed"


RECOVERABLE = ("_part.added", "_part.done", "_text.done", "arguments.done", "output_item.done", ".created")
MEMBERS = ("sequence_number", "content_index", "summary_index", "item_id", "logprobs")


@st.composite
def mutated(draw: st.DrawFn) -> list[Json]:
    """A legal stream without some of what can be made good."""
    events = copy.deepcopy(whole())
    kept: list[Json] = []
    for event in events:
        if event["type"].endswith(RECOVERABLE) and draw(st.booleans()):
            continue
        for name in MEMBERS:
            if name in event and draw(st.booleans()):
                del event[name]
        kept += [event] * (2 if event["type"].endswith((".done", ".added")) and draw(st.booleans()) else 1)
    return kept


@given(events=mutated())
@settings(max_examples=40, deadline=None)
def test_a_stream_without_recoverable_parts_gives_the_same_items(events: list[Json]) -> None:
    @trio_test
    async def both(**_: Any) -> None:
        expected = await told(whole(), tools=TOOLS)
        assert output(await told(events, tools=TOOLS)) == output(expected)

    both()


@pytest.mark.parametrize("wrong", [5, True, {"token": "x"}])
async def test_probabilities_that_are_no_list_are_nobodys_fault(autojump_clock: MockClock, wrong: Any) -> None:
    events = copy.deepcopy(whole())
    delta = next(event for event in events if event["type"] == "response.output_text.delta")
    delta["logprobs"] = wrong
    seen = await told(events, tools=TOOLS)
    assert seen[-1]["response"]["status"] == "completed"
