"""Cases about HTTP and its event streams."""

from __future__ import annotations

import json

from agentwire.testing.conformance.cases.order import legal
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.turns import about, check

__all__ = [
    "a_body_must_be_an_object",
    "a_failure_over_http",
    "an_event_stream_has_its_form",
    "input_tokens_are_counted",
    "lanes_are_unknown_over_http",
    "other_methods_are_refused",
    "the_body_says_whether_to_stream",
]


@case(136, "AW-P-001", "AW-P-002", "AW-V-001")
async def the_body_says_whether_to_stream(peer: Peer) -> None:
    """Ask for a whole while accepting a stream, and for a stream while accepting JSON."""
    reply = await peer.http("POST", "", peer.body(), headers=[("Accept", "text/event-stream")])
    check(reply.status == 200, f"the status is {reply.status}")
    check(reply.headers["content-type"].startswith("application/json"), f"a whole is {reply.headers['content-type']}")
    check(reply.json()["status"] == "completed", f"the response is {reply.json()['status']}")
    reply = await peer.post(stream=True)
    check(reply.headers["content-type"].startswith("text/event-stream"), f"a stream is {reply.headers['content-type']}")


@case(141, "AW-V-002", "AW-V-003", "AW-V-004")
async def an_event_stream_has_its_form(peer: Peer) -> None:
    """Read a stream line by line."""
    reply = await peer.post(stream=True)
    *blocks, last = reply.body.decode().removesuffix("\n\n").split("\n\n")
    done = last == "data: [DONE]"
    blocks = blocks if done else [*blocks, last]
    for block in blocks:
        lines = block.split("\n")
        check(len(lines) == 2, f"an event has the lines {lines}")
        check(lines[0].startswith("event: ") and lines[1].startswith("data: "), f"an event has the lines {lines}")
        kind = json.loads(lines[1].removeprefix("data: "))["type"]
        check(lines[0] == f"event: {kind}", f"{lines[0]!r} is not {kind}", "AW-V-002")
    check(done, f"the stream ends with {last!r}", "AW-V-003")
    check("no-cache" in reply.headers.get("cache-control", ""), "the stream may be cached", "AW-V-004")
    check(reply.headers.get("x-accel-buffering") == "no", "the stream may be buffered", "AW-V-004")


@case(142, "AW-V-006", "AW-O-017", "AW-P-010", needs=["failing"])
async def a_failure_over_http(peer: Peer) -> None:
    """Ask a model that fails, for a stream and for a whole."""
    body = peer.body(model=peer.failing_model, stream=True)
    async with peer.events("POST", body=body) as events:
        check(events.reply.status == 200, f"the status is {events.reply.status}")
        turn = legal(await events.rest())
    check(turn.types[-2:] == ["error", "response.failed"], f"the stream ended with {turn.types[-2:]}")
    reply = await peer.post(model=peer.failing_model)
    assert turn.error is not None
    with about("AW-P-010"):
        check(reply.status == turn.error["status"], f"the status is {reply.status}")
        check(reply.json()["error"]["code"] == turn.code, f"the code is {reply.json()['error']['code']!r}")


@case(137, "AW-P-004")
async def lanes_are_unknown_over_http(peer: Peer) -> None:
    """Send a `stream_id`."""
    reply = await peer.post(stream_id="a")
    check(reply.status == 400, f"the status is {reply.status}")
    error = reply.json()["error"]
    check((error["code"], error["param"]) == ("unknown_parameter", "stream_id"), f"the error is {error}")


@case(138, "AW-P-006")
async def input_tokens_are_counted(peer: Peer) -> None:
    """Count a short input and a long one."""
    counts = []
    for content in ("Hi.", "Hi. " * 100):
        reply = await peer.http("POST", "input_tokens", {"model": peer.model, "input": content})
        check(reply.status == 200, f"the status is {reply.status}")
        check(reply.json()["object"] == "response.input_tokens", f"object is {reply.json()['object']!r}")
        counts.append(reply.json()["input_tokens"])
    check(0 < counts[0] < counts[1], f"the counts are {counts}")


@case(139, "AW-P-008")
async def other_methods_are_refused(peer: Peer) -> None:
    """Say PUT and DELETE to the resource."""
    for method in ("PUT", "DELETE"):
        reply = await peer.http(method)
        check(reply.status == 405, f"the status of {method} is {reply.status}")
        check("POST" in reply.headers.get("allow", ""), f"Allow is {reply.headers.get('allow')!r}")


@case(140, "AW-P-009", "AW-P-003")
async def a_body_must_be_an_object(peer: Peer) -> None:
    """Post what is no JSON, and JSON that is no object."""
    for body in (b"hello", b"{", b"[]", b"5", b"\xff"):
        reply = await peer.http("POST", "", body)
        check(reply.status == 400, f"the status for {body!r} is {reply.status}", "AW-P-009")
        check(set(reply.json()["error"]) >= {"message", "type", "param", "code"}, f"the error is {reply.json()}")
