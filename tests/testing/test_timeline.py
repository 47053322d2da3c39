"""A trace as lines for people: what is worth knowing, and no more."""

from __future__ import annotations

import json
from typing import Any

from agentwire.testing import Trace
from agentwire.testing.http_scan import Body, Head
from agentwire.testing.scan import Frame
from agentwire.testing.timeline import Line, lines
from agentwire.testing.trace import Note, Record
from tests.testing.conversations import answer, create, error


def traced(*said: Any) -> Trace:
    """Each a second after the other: events of the server, requests of the client, or (side, what)."""
    trace = Trace()
    for number, one in enumerate(said):
        side, what = (
            one if isinstance(one, tuple) else ("client" if one["type"] == "response.create" else "server", one)
        )
        if isinstance(what, dict):
            payload = json.dumps(what).encode()
            what = Frame(number, 1, True, len(payload), payload)
        trace.add(Record(float(number), 0, side, what))
    return trace


def said(trace: Trace, **how: Any) -> list[str]:
    return [f"{line.name} {line.says}".strip() for line in lines(trace, **how)]


def test_a_turn() -> None:
    asked = create(previous="resp_0", tools=[{}, {}], store=False)
    assert said(traced(asked, *answer("resp_1"))) == [
        "response.create “hi” after resp_0 with 2 tools not stored",
        "response.created resp_1",
        "response.in_progress resp_1",
        "response.output_item.added message assistant",
        "response.content_part.added",
        "response.output_text.delta “hello”",
        "response.output_text.done “hello”",
        "response.content_part.done",
        "response.output_item.done message assistant “hello”",
        "response.completed resp_1 1 item",
    ]


def test_runs_of_deltas_are_one_line_on_each_lane() -> None:
    one, other = answer("resp_1", lane="a"), answer("resp_2", lane="b")
    mixed = [event for pair in zip(one, other, strict=True) for event in pair]
    runs = [line for line in lines(traced(*mixed)) if line.name.endswith("delta")]
    assert [(line.lane, line.count, line.since, line.time, line.says) for line in runs] == [
        ("a", 5, 8.0, 16.0, "“hello”"),
        ("b", 5, 9.0, 17.0, "“hello”"),
    ]
    assert sum(line.name.endswith("delta") for line in lines(traced(*mixed), runs=False)) == 10
    times = [line.time for line in lines(traced(*mixed))]
    assert times == sorted(times)


def test_errors_ends_and_faults() -> None:
    trace = traced(
        error("previous_response_not_found", 400),
        ("client", Frame(1, 8, True, 6, b"\x03\xe8done")),
        ("server", Frame(1, 9, True, 0)),
        ("client", "cut client before frame 2 (connection 0)"),
        ("client", "eof"),
        ("server", "reset"),
    )
    assert [(line.kind, f"{line.name} {line.says}".strip()) for line in lines(trace)] == [
        ("error", "error 400 previous_response_not_found “no”"),
        ("control", "close 1000 done"),
        ("control", "ping"),
        ("fault", "cut client before frame 2 (connection 0)"),
        ("end", "says no more"),
        ("end", "resets"),
    ]


def test_http() -> None:
    body = json.dumps({"object": "response", "id": "resp_1", "status": "completed", "output": [{}]}).encode()
    trace = traced(
        ("client", Head(0, "POST", "/v1/responses", headers=(("authorization", "(key 1)"), ("user-agent", "me")))),
        ("client", Body(0, "body", 14, b'{"input":"hi"}')),
        ("server", Head(0, status=200, headers=(("content-type", "application/json"),))),
        ("server", Body(0, "body", len(body), body)),
        ("server", Body(1, "sse", 20, b'{"type":"keepalive"}', final=False)),
        ("server", Body(1, "sse", 6, b"[DONE]", final=False)),
        ("server", Body(1, "sse", 0)),
    )
    assert said(trace) == [
        "POST /v1/responses (key 1) me",
        "body “hi”",
        "HTTP 200 application/json",
        "body completed resp_1 1 item",
        "keepalive",
        "body “[DONE]”",
        "the event stream ends",
    ]


def test_work() -> None:
    trace = Trace()
    notes: list[dict[str, Any]] = [
        {"type": "work.started", "kind": "tool", "name": "call_0123456789abcdef"},
        {"type": "work.ended", "kind": "engine", "name": "resp_0123456789abcdef step 0", "how": "cancelled"},
        {"type": "model.saw", "response_id": "resp_1", "items": [1, 2]},
        {"type": "resources", "tasks": {"a": "b"}, "streams": {}},
        {"type": "drain.started", "seconds": 5},
    ]
    for note in notes:
        trace.add(Record(0.0, 0, "local", Note(note)))
    assert said(trace) == [
        "tool begins call_…abcdef",
        "engine cancelled resp_…abcdef step 0",
        "the model is shown 2 items for resp_1",
        "there are 1 tasks, 0 streams",
        "drain.started seconds 5",
    ]


def test_messages_in_pieces_and_what_is_no_json() -> None:
    whole = json.dumps({"type": "keepalive"}).encode()
    trace = traced(
        ("server", Frame(0, 1, False, 5, whole[:5])),
        ("server", Frame(1, 9, True, 0)),
        ("server", Frame(2, 0, True, len(whole) - 5, whole[5:])),
        ("client", Frame(0, 2, True, 3, b"\xffno")),
    )
    shown: list[Line] = lines(trace)
    assert [f"{line.name} {line.says}".strip() for line in shown] == [
        "ping",
        "keepalive (in 2 frames)",
        "message “\ufffdno” (binary)",
    ]
    assert shown[1].size == len(whole)
