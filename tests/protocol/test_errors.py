"""What errors say of themselves, and how the wire shows them."""

from __future__ import annotations

import pytest

from agentwire.protocol.codec import decode_event, encode_json
from agentwire.protocol.errors import (
    AgentwireError,
    CloseFrame,
    ConnectionEnded,
    EngineError,
    LocalProtocolError,
    RemoteProtocolError,
    RequestError,
)
from agentwire.protocol.events import ErrorEvent


def test_everything_raised_on_purpose_is_one_family() -> None:
    for kind in (LocalProtocolError, RemoteProtocolError, RequestError, EngineError, ConnectionEnded):
        assert issubclass(kind, AgentwireError)


@pytest.mark.parametrize(
    ("status", "family"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (503, "server_error"),
    ],
)
def test_the_status_gives_the_family(status: int, family: str) -> None:
    assert RequestError(status, "c", "m").type == family
    assert RequestError(status, "c", "m", type="other").type == "other"


def test_a_request_error_tells_status_code_message_and_place() -> None:
    assert (
        str(RequestError(400, "invalid_type", "Wrong.", param="input[2]"))
        == "400 invalid_type: Wrong. (param input[2])"
    )
    assert str(RequestError.invalid("Wrong.")) == "400 invalid_value: Wrong."


def test_the_body_always_has_four_keys() -> None:
    body = RequestError(400, "c", "m").body()
    assert body == {"type": "invalid_request_error", "code": "c", "message": "m", "param": None}


def test_the_event_is_nested_has_its_status_and_shows_headers_to_every_reader() -> None:
    error = RequestError(429, "c", "m", headers={"retry-after": "2"})
    event = error.event(sequence_number=0, stream_id="a")
    assert event["status"] == 429
    assert event["headers"] == event["error"]["headers"] == {"retry-after": "2"}
    assert (event["sequence_number"], event["stream_id"]) == (0, "a")
    assert not {"sequence_number", "stream_id", "headers"} & RequestError(400, "c", "m").event().keys()


@pytest.mark.parametrize("param", [None, "input"])
def test_an_error_comes_back_on_the_other_side(param: str | None) -> None:
    sent = RequestError(429, "c", "m", param=param, headers={"retry-after": "2"})
    event = decode_event(encode_json(sent.event(sequence_number=3)))
    assert isinstance(event, ErrorEvent)
    came = event.to_error()
    assert (came.status, came.body()) == (sent.status, sent.body())


def test_an_engine_error_is_a_server_error_unless_it_says_more() -> None:
    error = EngineError("gone")
    assert (error.status, error.code, str(error)) == (500, "server_error", "gone")
    assert EngineError("no", code="model_not_found", status=404, param="model").param == "model"


@pytest.mark.parametrize(
    ("ended", "story"),
    [
        (ConnectionEnded(), "connection ended: no close frame sent or received"),
        (ConnectionEnded(received=CloseFrame(1000)), "connection ended: received 1000"),
        (
            ConnectionEnded(sent=CloseFrame(1001, "bye"), received=CloseFrame(1001), cause="drained"),
            "connection ended: drained (sent 1001 bye; received 1001)",
        ),
        (ConnectionEnded(cause="reset by peer"), "connection ended: reset by peer (no close frame sent or received)"),
    ],
)
def test_the_end_of_a_connection_is_told_as_a_sentence(ended: ConnectionEnded, story: str) -> None:
    assert str(ended) == story


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (502, "upstream_unreachable", True),
        (502, "upstream_disconnected", True),
        (500, "upstream_error", True),
        (503, "upstream_error", True),
        (504, "upstream_error", True),
        (529, "overloaded_error", True),
        (429, "rate_limit_exceeded", True),
        (429, "insufficient_quota", False),
        (502, "upstream_unauthorized", False),
        (502, "upstream_not_found", False),
        (502, "upstream_protocol_error", False),
        (502, "tool_choice_unsupported", False),
        (400, "invalid_request", False),
        (404, "model_not_found", False),
        (501, "not_implemented", False),
    ],
)
def test_an_engine_error_tells_whether_it_may_pass(status: int, code: str, retryable: bool) -> None:
    assert EngineError("no", code=code, status=status).retryable is retryable
