"""What another server says reaches the client: whole, legal, under this server's numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from trio.testing import MockClock

from agentwire.engines.relay.healing import Thread
from agentwire.engines.relay.matching import Heard
from agentwire.protocol.grammar import _Thread
from tests.engines.relay.kit import (
    EMPTY_TEXT,
    USAGE,
    Json,
    call_events,
    message_events,
    output,
    response,
    stream,
    texts,
    thought_events,
    told,
)

MESSAGE: Json = {"type": "message", "role": "assistant", "status": "completed"}
DELTA = "response.output_text.delta"


def text_part(text: str) -> Json:
    return {**EMPTY_TEXT, "text": text}


async def test_a_whole_stream_is_relayed_as_it_is(autojump_clock: MockClock) -> None:
    theirs = stream(
        thought_events("Hm.", "Well.", encrypted_content="opaque"),
        message_events("Hello, wörld.", index=1, pieces=4),
        call_events("read", '{"q":1}', index=2),
    )
    seen = await told(theirs, tools=[{"type": "function", "name": "read"}])
    assert [event["type"] for event in seen] == [event["type"] for event in theirs]
    assert seen[-1]["response"]["output"] == theirs[-1]["response"]["output"]
    assert seen[-1]["response"]["id"] != "resp_theirs"
    ours, expected = seen[2:-1], theirs[2:-1]
    assert ours == expected


async def test_what_the_upstream_says_of_itself_is_carried(autojump_clock: MockClock) -> None:
    more: Json = {"service_tier": "flex", "billing": {"payer": "developer"}, "temperature": 0.1}
    seen = await told(stream(message_events("x"), **more))
    final = seen[-1]["response"]
    assert (final["model"], final["service_tier"], final["billing"]) == ("their-model", "flex", {"payer": "developer"})
    assert final["temperature"] == 1.0, "an echo of the client's own request"
    assert {name: final["usage"][name] for name in USAGE} == USAGE


async def test_unknown_members_of_items_and_events_are_carried(autojump_clock: MockClock) -> None:
    events = stream(message_events("hello"))
    events[2]["item"]["new"] = events[-2]["item"]["new"] = {"a": 1}
    events[4]["new"] = 7
    seen = await told(events)
    assert [event.get("new") for event in seen if event["type"] == DELTA] == [7, None]
    assert seen[-1]["response"]["output"][0]["new"] == {"a": 1}


async def test_events_outside_of_items_are_carried(autojump_clock: MockClock) -> None:
    limits = {"type": "codex.rate_limits", "rate_limits": {"primary": {"used_percent": 3}}}
    extension = {"type": "vendor:thing", "item_id": "msg_theirs", "output_index": 0, "response_id": "resp_theirs"}
    events = stream(message_events("hello"))
    events[4:4] = [limits, {"type": "keepalive"}, {"type": "ping"}, extension]
    seen = await told(events)
    assert [event["type"] for event in seen[4:6]] == ["codex.rate_limits", "vendor:thing"]
    assert seen[4]["rate_limits"] == limits["rate_limits"]
    assert len(seen) == len(events) - 2


async def test_hidden_members_reach_whoever_keeps_the_item(autojump_clock: MockClock) -> None:
    kept: dict[str, Any] = {}
    other = {"type": "compaction", "id": "cmp_1", "encrypted_content": "shown"}
    told_of = [{"type": f"response.output_item.{when}", "output_index": 1, "item": other} for when in ("added", "done")]
    events = stream(thought_events("Hm.", encrypted_content="opaque"), told_of)
    seen = await told(
        events, hide=("encrypted_content",), note=lambda item_id, raw, call_id=None: kept.update({item_id: raw})
    )
    assert "opaque" not in str(seen)
    assert seen[-1]["response"]["output"][1] == other
    assert kept["rs_theirs"]["encrypted_content"] == "opaque"


async def test_an_id_that_comes_twice_is_replaced(autojump_clock: MockClock) -> None:
    seen = await told(stream(message_events("a", id_="msg_0"), message_events("b", index=1, id_="msg_1")))
    assert [item["id"] for item in seen[-1]["response"]["output"]] == ["msg_0", "msg_1"]
    seen = await told(stream(message_events("a")), taken=lambda id_: id_ == "msg_theirs")
    (item,) = seen[-1]["response"]["output"]
    assert item["id"] != "msg_theirs"
    assert {event["item_id"] for event in seen if "item_id" in event} == {item["id"]}


async def test_items_that_come_side_by_side_are_told_one_after_another(autojump_clock: MockClock) -> None:
    first, second = message_events("one", pieces=3), call_events("read", '{"a":1}', index=1, pieces=3)
    mixed = [event for pair in zip(first, second, strict=False) for event in pair]
    rest = [*first[len(second) :], *second[len(first) :]]
    events = stream([*mixed, *rest])
    events[-1]["response"]["output"] = [first[-1]["item"], second[-1]["item"]]
    seen = await told(events, tools=[{"type": "function", "name": "read"}])
    assert seen[2:-1] == [{**event, "sequence_number": n} for n, event in enumerate((*first, *second), 2)]


async def test_too_much_that_waits_ends_the_turn(autojump_clock: MockClock) -> None:
    events = stream([*message_events("x")[:2], *message_events("y" * 5000, index=1, id_="msg_2", pieces=50)])
    seen = await told(events, most=2000)
    assert seen[-1]["response"]["error"]["code"] == "upstream_protocol_error"


async def add(a: int, b: int) -> int:
    """Add up."""
    return a + b


async def test_calls_of_the_servers_own_tools_run_here(autojump_clock: MockClock) -> None:
    kept: list[Any] = []
    events = stream(call_events("add", '{"a":1,"b":2}'))
    seen = await told(events, add, note=lambda *args, call_id=None: kept.append((*args, call_id)))
    (call,) = seen[-1]["response"]["output"]
    assert (call["type"], call["output"], call["status"]) == ("mcp_call", "3", "completed")
    ((item_id, raw, call_id),) = kept
    assert (item_id, call_id) == (call["id"], "call_fc_theirs")
    assert (raw["type"], raw["id"], raw["arguments"]) == ("function_call", "fc_theirs", '{"a":1,"b":2}')


@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
async def test_an_incomplete_response_stays_one(reason: str, autojump_clock: MockClock) -> None:
    events = stream(message_events("Hal"), status="incomplete", incomplete_details={"reason": reason})
    events[-2]["item"]["status"] = "incomplete"
    seen = await told(events)
    assert seen[-1]["response"]["incomplete_details"] == {"reason": reason}
    assert seen[-1]["response"]["output"][0]["status"] == "incomplete"


async def test_an_incomplete_item_before_another_one_counts_as_complete(autojump_clock: MockClock) -> None:
    events = stream(message_events("Hal"), message_events("x", index=1, id_="msg_2"))
    events[8]["item"]["status"] = "incomplete"
    seen = await told(events)
    assert [item["status"] for item in seen[-1]["response"]["output"]] == ["completed", "completed"]


ERRORS: dict[str, tuple[Json, tuple[str, str, str | None]]] = {
    "nested": (
        {"type": "error", "status": 429, "error": {"code": "rate_limit_exceeded", "message": "Slow.", "param": None}},
        ("rate_limit_exceeded", "Slow.", None),
    ),
    "flat": (
        {"type": "error", "code": "invalid_prompt", "message": "No.", "param": "input[0]"},
        ("invalid_prompt", "No.", "input[0]"),
    ),
    "failed": (
        {"type": "response.failed", "response": response("failed", error={"code": "server_error", "message": "Oh."})},
        ("server_error", "Oh.", None),
    ),
    "words alone": (
        {"type": "response.failed", "response": response("failed", error="Oh.")},
        ("upstream_error", "Oh.", None),
    ),
    "a text as error": ({"type": "error", "error": "Oh."}, ("upstream_error", "Oh.", None)),
    "no words": ({"type": "response.failed", "response": response("failed")}, ("upstream_error", "", None)),
    "another name": ({"type": "response.error", "code": "oom", "message": "Oh."}, ("oom", "Oh.", None)),
    "an error as an object": (
        {"object": "error", "message": "Oh.", "type": "BadRequestError", "param": "input", "code": 400},
        ("invalid_request", "Oh.", "input"),
    ),
    "a status as code": ({"error": {"message": "Slow.", "code": 429}}, ("rate_limit_exceeded", "Slow.", None)),
    "a status as code, in digits": (
        {"type": "error", "message": "No.", "code": "400"},
        ("invalid_request", "No.", None),
    ),
    "a bad key": (
        {"type": "error", "status": 401, "error": {"code": "invalid_api_key", "message": "sk-secret is wrong"}},
        ("upstream_unauthorized", "", None),
    ),
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("after", [2, 5])
async def test_an_error_is_told_once(name: str, after: int, autojump_clock: MockClock) -> None:
    event, (code, message, param) = ERRORS[name]
    seen = await told([*stream(message_events("abc"))[:after], event])
    assert [event["type"] for event in seen[-2:]] == ["error", "response.failed"]
    error = seen[-2]["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert message in error["message"]
    assert "sk-secret" not in str(seen)
    assert texts(seen, DELTA) == ("ab" if after == 5 else "")


NO_EVENTS = (
    b"nonsense",
    b"[1]",
    b"{}",
    b'{"type":"response.output_item.added","output_index":0}',
    b'{"type":"response.output_text.done","text":"other","output_index":0}',
)


@pytest.mark.parametrize("payload", NO_EVENTS)
async def test_what_is_no_event_ends_the_turn(payload: bytes, autojump_clock: MockClock) -> None:
    seen = await told([*stream(message_events("abc"))[:5], payload])
    assert [event["type"] for event in seen[-2:]] == ["error", "response.failed"]
    assert seen[-1]["response"]["error"]["code"] == "upstream_protocol_error"


@pytest.mark.parametrize("id_", [{}, [1], 7, True])
async def test_an_id_that_is_no_text_names_nothing(id_: object, autojump_clock: MockClock) -> None:
    for place in (2, -2):
        events = stream(message_events("abc"))
        events[place]["item"]["id"] = id_
        events[-1]["response"]["output"][0]["id"] = id_
        seen = await told(events)
        assert [item["content"] for item in output(seen)] == [[text_part("abc")]]


@pytest.mark.parametrize("wrong", [[1], "many", 7, None, {"input_tokens_details": None, "output_tokens": None}])
async def test_usage_that_cannot_be_read_is_nobodys_fault(wrong: Any, autojump_clock: MockClock) -> None:
    events = stream(message_events("abc"))
    events[-1]["response"]["usage"] = wrong
    seen = await told(events)
    assert seen[-1]["response"]["status"] == "completed"


async def test_a_stream_without_an_end_fails(autojump_clock: MockClock) -> None:
    seen = await told(stream(message_events("abc"))[:-1])
    assert seen[-1]["response"]["error"]["code"] == "upstream_protocol_error"
    assert output(seen)[0]["content"] == [text_part("abc")]


async def test_what_follows_the_end_does_not_count(autojump_clock: MockClock) -> None:
    events = stream(message_events("abc"))
    seen = await told([*events, events[4], {"type": "response.completed", "response": {}}])
    assert output(seen) == [{**MESSAGE, "content": [text_part("abc")]}]


def count_looks(monkeypatch: pytest.MonkeyPatch, *kinds: type) -> Counter[str]:
    """How often an attribute of any of these is looked at, whoever looks."""
    seen = Counter[str]()
    for kind in kinds:

        def counting(self: Any, name: str, look: Any = kind.__getattribute__) -> Any:
            seen["looks"] += 1
            return look(self, name)

        monkeypatch.setattr(kind, "__getattribute__", counting)
    return seen


@pytest.mark.parametrize("named", [True, False], ids=["as they should be", "without names and numbers"])
async def test_a_late_item_looks_at_no_more_others_than_an_early_one(
    named: bool, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model's server that never comes to an end costs as much for its last item as for its first."""
    seen = count_looks(monkeypatch, Heard)
    counts = []
    for items in (20, 40, 80):
        theirs = stream(*(call_events("read", "{}", index=index, id_=f"fc_{index}") for index in range(items)))[:-1]
        for event in () if named else theirs:
            for name in ("output_index", "item_id"):
                event.pop(name, None)
        seen.clear()
        await told([*theirs, {"type": "response.failed", "response": response("failed")}])
        counts.append(seen["looks"])
    first, second, third = counts
    assert third - second == 2 * (second - first)


async def test_a_late_part_looks_at_no_more_others_than_an_early_one(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = count_looks(monkeypatch, Thread, _Thread)
    counts = []
    for parts in (20, 40, 80):
        first, added, *part, _, _ = stream(message_events("x", pieces=1))[1:]
        theirs = [{**event, "content_index": index} for index in range(parts) for event in part]
        seen.clear()
        await told([first, added, *theirs, {"type": "response.failed", "response": response("failed")}])
        counts.append(seen["looks"])
    assert counts[2] - counts[1] == 2 * (counts[1] - counts[0])
