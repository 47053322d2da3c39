from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.protocol.errors import RequestError
from agentwire.transport.requests import Fields, Request, error_body


def test_fields_give_the_first_value_all_of_them_or_their_elements() -> None:
    fields = Fields([("accept", "a, B"), ("host", "h"), ("accept", ",c ,")])
    assert fields["accept"] == "a, B"
    assert fields.all("accept") == ("a, B", ",c ,")
    assert fields.all("absent") == fields.tokens("absent") == ()
    assert fields.tokens("accept") == ("a", "b", "c")
    assert dict(fields) == {"accept": "a, B", "host": "h"}
    assert len(fields) == 2
    assert "Fields([('accept', 'a, B')" in repr(fields)
    with pytest.raises(KeyError):
        fields["absent"]


def test_a_target_is_taken_apart() -> None:
    request = Request.parse("GET", "/v1/responses/resp%5F1?stream=true&include=a&include=b%20c&flag", [("HOST", "h")])
    assert request.path == "/v1/responses/resp_1"
    assert request.query["stream"] == "true"
    assert request.query.all("include") == ("a", "b c")
    assert request.query["flag"] == ""
    assert request.headers["host"] == request.host == "h"
    assert request.http_version == "1.1"


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        ("http://example.com:81/v1?x=1", "/v1", "example.com:81"),
        ("HTTPS://example.com", "/", "example.com"),
        ("ws://example.com?x=1", "/", "example.com"),
        ("/go?to=http://elsewhere/", "/go", "h"),
        ("*", "*", "h"),
        ("gopher://example.com/", "gopher://example.com/", "h"),
    ],
)
def test_a_target_may_name_the_host(target: str, path: str, host: str) -> None:
    request = Request.parse("GET", target, [("host", "h")])
    assert (request.path, request.host) == (path, host)


def test_there_may_be_no_host() -> None:
    assert Request.parse("GET", "/", http_version="1.0").host is None


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1))
def test_any_visible_target_will_do(target: str) -> None:
    request = Request.parse("GET", target)
    assert request.target == target
    assert request.origin_target == target or request.origin_target.startswith("/")
    assert request.query is not None


def test_an_error_has_one_body() -> None:
    error = RequestError(404, "not_found", "no such thing", param="id")
    assert json.loads(error_body(error)) == {
        "error": {"type": "invalid_request_error", "code": "not_found", "message": "no such thing", "param": "id"}
    }
