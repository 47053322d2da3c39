from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from agentwire.engines.faults import broken_off, no_call, rubbish, status_fault, stream_fault, unreachable
from agentwire.protocol.errors import ConnectionEnded, EngineError, RemoteProtocolError
from agentwire.transport.http_client import HttpStatusError

SERVER = "http://model:8080"


def fault(status: int, body: Any = b"", **headers: str) -> EngineError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return status_fault(SERVER, HttpStatusError(status, raw, headers))


@pytest.mark.parametrize(
    ("status", "told", "code"),
    [
        (400, 400, "invalid_request"),
        (402, 429, "insufficient_quota"),
        (404, 404, "model_not_found"),
        (413, 400, "request_too_large"),
        (422, 400, "invalid_request"),
        (429, 429, "rate_limit_exceeded"),
        (503, 503, "upstream_error"),
        (529, 503, "upstream_error"),
        (500, 502, "upstream_error"),
        (502, 502, "upstream_error"),
        (307, 502, "upstream_error"),
        (418, 502, "upstream_error"),
    ],
)
def test_each_status_with_the_servers_own_words(status: int, told: int, code: str) -> None:
    error = fault(status, {"error": {"message": "so it is"}})
    assert (error.status, error.code) == (told, code)
    assert error.message == f"The model's server {SERVER} answered with an error (HTTP {status}): so it is."


@pytest.mark.parametrize("status", [401, 403, 407])
def test_a_refused_key_is_our_own_affair_and_nothing_of_it_is_told(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        error = fault(status, {"error": {"message": "Incorrect API key provided: sk-secret"}})
    assert (error.status, error.code) == (502, "upstream_unauthorized")
    assert SERVER in error.message
    assert "this server's own key" in error.message
    assert "sk-secret" not in error.message + caplog.text
    assert str(status) in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "why not", "code": "because"}},
        {"error": {"message": "why not", "code": 400, "type": "because"}},
        {"object": "error", "message": "why not", "type": "because", "code": 400},
        {"error": {"error": {"message": "why not", "code": "because"}}},
    ],
)
def test_messages_and_codes_wherever_servers_put_them(body: Any) -> None:
    error = fault(400, body)
    assert error.message.endswith(": why not.")
    assert error.code == "because"


@pytest.mark.parametrize(
    "body",
    [
        ["why not"],
        {"errors": ["why not"]},
        {"error": "why not"},
        {"detail": "why not"},
        b"why not",
        {"error": None, "msg": "why not"},
        "why not",
    ],
)
def test_messages_without_a_code(body: Any) -> None:
    error = fault(400, body)
    assert error.message.endswith(": why not.")
    assert error.code == "invalid_request"


@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", [], 3, {"detail": [1]}, {"error": {}}, b"{"])
def test_bodies_without_a_message(body: Any) -> None:
    error = fault(502, body)
    assert error.message.startswith(f"The model's server {SERVER} answered with an error (HTTP 502)")
    assert "<" not in error.message


def test_long_messages_are_cut() -> None:
    assert len(fault(400, {"error": {"message": "x" * 5000}}).message) < 1200
    assert len(fault(400, b"x" * 5000).message) < 1200


def test_a_context_that_is_too_long_has_the_code_that_clients_know() -> None:
    llama = "request (9031 tokens) exceeds the available context size (4096 tokens), try increasing it"
    vllm = "This model's maximum context length is 4096 tokens."
    others = (
        "prompt is too long: 208310 tokens > 200000 maximum",
        "The input token count (2097152) exceeds the maximum number of tokens allowed (1048576).",
        "Requested tokens (9000) exceed context window of 4096",
        "The input (9000 tokens) is longer than the model's context length (4096 tokens).",
    )
    for said in (llama, vllm, *others):
        for status in (400, 413, 422):
            error = fault(status, {"error": {"message": said, "type": "x"}})
            assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "input")
            assert not error.message.endswith("..")
    coded = fault(400, {"error": {"message": "Too many.", "code": "context_length_exceeded"}})
    assert (coded.code, coded.param) == ("context_length_exceeded", "input")
    assert fault(400, {"error": {"message": "so it is"}}).param is None


def test_a_wrong_address_is_our_own_affair() -> None:
    invalid = {"error": {"message": "Invalid URL (POST /v1/v1/chat/completions)", "code": None}}
    missing = {"error": {"message": "File Not Found"}}
    for body in (b"", {"detail": "Not Found"}, missing, invalid, b"404 page not found\n"):
        error = fault(404, body)
        assert (error.status, error.code) == (502, "upstream_not_found")
        assert "is its base URL right?" in error.message


def test_how_long_to_wait_is_said() -> None:
    assert fault(429, {"error": "slow"}, **{"retry-after": "7"}).message.endswith(": slow. Try again in 7 s.")
    assert fault(429, {"error": "slow"}, **{"retry-after": "Wed, 21 Oct"}).message.endswith(": slow.")


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "1.2"}, "2"),
        ({"retry-after-ms": "250", "retry-after": "9"}, "1"),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, "30"),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:28:30 GMT"}, "0"),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, ""),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 -0000"}, ""),
        *(({"retry-after": text}, "") for text in ("", "soon", "-1", "1e999", "²")),
        *(({"retry-after-ms": text}, "") for text in ("", "nan", "inf")),
        *(({"retry-after-ms": text, "retry-after": "9"}, "9") for text in ("", "soon", "nan")),
    ],
)
def test_when_to_come_back_in_all_its_forms(headers: dict[str, str], wait: str) -> None:
    assert fault(429, {"error": "slow"}, **headers).headers == ({"retry-after": wait} if wait else {})


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        # Ollama, TGI, FastAPI in front of a model, Google's gateway, llama.cpp, OpenAI
        ({"error": "model 'x' not found"}, 404, "model_not_found", None),
        ({"error": "Model is overloaded", "error_type": "overloaded"}, 429, "overloaded", None),
        (
            {"detail": [{"loc": ["body", "tools", 0, "name"], "msg": "missing"}]},
            422,
            "invalid_request",
            "tools[0].name",
        ),
        (
            [{"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED"}}],
            429,
            "RESOURCE_EXHAUSTED",
            None,
        ),
        (
            {"error": {"code": 400, "message": "bad", "type": "invalid_request_error"}},
            400,
            "invalid_request_error",
            None,
        ),
        ({"error": {"message": "bad", "type": "x", "param": "max_tokens"}}, 400, "x", "max_output_tokens"),
        ({"error": {"message": "bad", "type": "x", "param": "messages[3].content"}}, 400, "x", "input"),
        ({"error": {"message": "bad", "type": "x", "param": "temperature"}}, 400, "x", "temperature"),
        ({"error": {"message": "bad", "type": "x", "param": "temperature"}}, 500, "x", None),
    ],
)
def test_errors_in_the_words_of_each_server(body: Any, status: int, code: str, param: str | None) -> None:
    error = fault(status, body)
    assert (error.code, error.param) == (code, param)


def test_what_stands_behind_a_gateway_is_told_in_its_own_words() -> None:
    raw = json.dumps({"type": "error", "error": {"message": "prompt is too long: 208310 tokens > 200000 maximum"}})
    for metadata in ({"raw": raw, "provider_name": "p"}, {"raw": "the prompt is too long: 9 > 8"}):
        error = fault(400, {"error": {"message": "Provider returned error.", "code": 400, "metadata": metadata}})
        assert (error.code, error.param) == ("context_length_exceeded", "input")
        assert "Provider returned error: " in error.message
    nothings: list[Any] = [{"raw": None}, {"raw": ""}, {"raw": "<html>"}, [], None]
    for nothing in nothings:
        error = fault(400, {"error": {"message": "Provider returned error", "metadata": nothing}})
        assert error.message.endswith("Provider returned error.")
    assert fault(400, {"error": {"metadata": {"raw": "x"}}}).message.endswith(": x.")


def test_complaints_wrapped_in_a_message() -> None:
    wrong = {"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}
    for told in ({"detail": [wrong]}, [wrong]):
        error = fault(422, {"object": "error", "message": told, "type": "invalid_request_error", "code": None})
        assert error.message.endswith(": Extra inputs are not permitted.")
        assert error.param == "stream_options"
    assert fault(400, {"error_code": "BAD_REQUEST", "message": "no"}).code == "BAD_REQUEST"


def test_nested_errors_are_looked_through_a_few_times_only() -> None:
    deep: Any = "boom"
    for _ in range(200):
        deep = {"error": [deep]}
    assert stream_fault(SERVER, deep).message.endswith("reported an error within its answer.")


def test_errors_in_the_middle_of_a_stream() -> None:
    for told in (
        {"message": "x", "http_status_code": 429},
        {"message": "x", "code": "429"},
        {"message": "x", "type": "rate_limit_error"},
    ):
        assert stream_fault(SERVER, told).status == 429
    busy = stream_fault(SERVER, {"message": "too many", "code": 429})
    assert (busy.status, busy.code) == (429, "rate_limit_exceeded")
    broken = stream_fault(SERVER, {"message": "cuda", "type": "internal"})
    assert (broken.status, broken.code) == (502, "internal")
    assert stream_fault(SERVER, "boom").message.endswith("reported an error within its answer: boom.")
    assert stream_fault(SERVER, True).status == 502


def test_connections() -> None:
    refused = unreachable(SERVER, ConnectionEnded(cause=f"{SERVER}: connection refused"))
    assert refused.message == f"The model's server failed: {SERVER}: connection refused."
    assert (refused.status, refused.code) == (502, "upstream_unreachable")
    gone = broken_off(SERVER, ConnectionEnded(cause=f"{SERVER}: ended before the answer did"))
    assert (gone.status, gone.code) == (502, "upstream_disconnected")
    assert "ended before the answer did" in gone.message
    assert "without saying that it had finished" in broken_off(SERVER).message
    wrong = rubbish(SERVER, RemoteProtocolError("it sent nonsense"))
    assert (wrong.status, wrong.code) == (502, "upstream_protocol_error")
    assert wrong.message == f"The model's server failed: {SERVER}: it sent nonsense."


def test_a_refusal_of_our_own_second_request_is_not_the_clients() -> None:
    ours = no_call(SERVER, EngineError("no response_format here", status=400, code="x"))
    assert (ours.status, ours.code) == (502, "tool_choice_unsupported")
    assert ours.message.endswith("no response_format here")
    busy = EngineError("busy", status=429)
    assert no_call(SERVER, busy) is busy


def test_the_time_to_wait_is_told_to_machines_too() -> None:
    assert fault(429, {"error": "slow"}, **{"retry-after": "7"}).headers == {"retry-after": "7"}
