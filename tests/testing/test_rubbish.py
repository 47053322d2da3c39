"""Whatever peers say, the invariants give a verdict, and a timeline is drawn: nothing else is raised."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentwire.testing import Trace
from agentwire.testing.entry import Entry
from agentwire.testing.invariants import each_broken
from agentwire.testing.journal import entries
from agentwire.testing.timeline import lines
from agentwire.testing.trace import Record
from agentwire.transport.frames import client_frame, server_frame
from tests.testing.conversations import conversation
from tests.testing.stories import Tale, called, output

WHOLE = [
    *conversation(),
    *(entry.event for entry in Tale().turn("resp_3", previous="resp_2", events=called("resp_3", "call_1")).told),
    *(entry.event for entry in Tale().turn("resp_4", previous="resp_3", input=[output("call_1")]).told),
    {"type": "agentwire:welcome", "session": {"token": "t", "received": 1}, "resumed": True},
    {"type": "response.steer", "previous_response_id": "resp_2", "input": "x"},
    {"type": "response.steer.failed", "sequence_number": 0, "steer": {"previous_response_id": "resp_9"}, "error": {}},
]
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.just(float("nan")),
    st.sampled_from(["", "resp_1", "resp_2", "call_1", "message", "response.created", "error"]),
    st.just([]),
    st.just([None, 1, "x", {}, {"type": None, "call_id": []}]),
    st.just({}),
    st.just({"id": [], "output": [1, {"type": 2}], "usage": {"input_tokens": "many"}, "error": {"code": {}}}),
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, member in inner for path in paths(member, (*at, key)))]


@st.composite
def spoilt(draw: st.DrawFn) -> list[dict[str, Any]]:
    events: list[Any] = json.loads(json.dumps(draw(st.lists(st.sampled_from(WHOLE), min_size=1, max_size=12))))
    for _ in range(draw(st.integers(1, 4))):
        *before, last = draw(st.sampled_from([path for path in paths(events) if len(path) > 1]))
        place: Any = events
        for key in before:
            place = place[key]
        place[last] = json.loads(json.dumps(draw(JUNK)))
        if not all(isinstance(event, dict) for event in events):
            break
    return [event for event in events if isinstance(event, dict)]


@example([{"type": "response.create"}, {"type": "response.steer.failed", "steer": None}])
@given(spoilt())
@settings(max_examples=120, deadline=None)
def test_any_events_are_judged_and_shown(events: list[dict[str, Any]]) -> None:
    told = [Entry(float(place), "client" if place % 3 == 0 else "server", one) for place, one in enumerate(events)]
    assert all(str(broken) for broken in each_broken(told, cancelled_after=1))
    trace = Trace()
    for entry in told:
        payload = json.dumps(dict(entry.event)).encode()
        framed = client_frame(payload, b"abcd") if entry.who == "client" else server_frame(payload)
        trace.tap(0, "client" if entry.who == "client" else "server").passed(entry.time, framed)
    assert len(lines(trace, runs=False)) == len(told)
    assert all(str(broken) for broken in each_broken(trace))


@given(st.lists(st.tuples(st.sampled_from(["client", "server"]), st.binary(max_size=60)), max_size=8))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_recorded_judged_and_shown(said: list[tuple[Any, bytes]]) -> None:
    trace = Trace()
    taps = {side: trace.tap(0, side) for side in ("client", "server")}
    starts = {"client": b"GET /v1/responses HTTP/1.1\r\n", "server": b"HTTP/1.1 200 OK\r\n"}
    for side, data in said:
        taps[side].passed(0.0, starts[side] + data if len(data) % 2 else data)
    trace.add(Record(1.0, 0, "client", "reset"))
    lines(trace)
    entries(trace)
    assert all(str(broken) for broken in each_broken(trace))
