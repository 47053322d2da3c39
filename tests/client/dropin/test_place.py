"""Where requests go and as whom: which headers make it another place, and which key may go where."""

from __future__ import annotations

import pytest

from agentwire.client.dropin.place import Place
from agentwire.protocol.errors import LocalProtocolError

OPENAI = "https://api.openai.com/v1/responses"
KEY = ("Authorization", "Bearer sk-1")


def test_without_an_address_it_is_where_the_sdk_posts() -> None:
    assert Place.of(None, OPENAI, [KEY]) == Place(OPENAI, (("authorization", "Bearer sk-1"),))


def test_headers_of_one_request_are_left_out_and_all_others_kept() -> None:
    once = [("Host", "a"), ("Content-Length", "3"), ("X-Stainless-Retry-Count", "1"), ("traceparent", "00-1-2-03")]
    ever = [KEY, ("OpenAI-Project", "p"), ("X-Mine", "1")]
    place = Place.of(None, OPENAI, [*once, *ever])
    assert place.headers == (("authorization", "Bearer sk-1"), ("openai-project", "p"), ("x-mine", "1"))


def test_another_key_is_another_place_and_another_principal() -> None:
    one, other = (Place.of(None, OPENAI, [("authorization", f"Bearer {key}")]) for key in "ab")
    assert one != other
    assert one.principal != other.principal


def test_a_key_of_ones_own_takes_the_place_of_the_sdks() -> None:
    place = Place.of("ws://10.0.0.5/v1", OPENAI, [KEY, ("x", "1")], key="mine")
    assert place.headers == (("authorization", "Bearer mine"), ("x", "1"))


def test_no_secret_is_shown() -> None:
    assert "sk-1" not in repr(Place.of(None, OPENAI, [KEY]))


@pytest.mark.parametrize(
    "url", ["wss://gateway/v1", "ws://127.0.0.1:8000/v1", "ws://localhost/v1", "ws+unix:///run/a.sock"]
)
def test_the_sdks_key_goes_where_nobody_reads_it(url: str) -> None:
    assert Place.of(url, OPENAI, [KEY]).headers


def test_the_sdks_key_does_not_go_elsewhere_in_the_clear() -> None:
    with pytest.raises(LocalProtocolError, match="is not encrypted"):
        Place.of("ws://10.0.0.5:8000/v1", OPENAI, [KEY])
    assert Place.of("ws://10.0.0.5:8000/v1", "http://10.0.0.5:8000/v1/responses", [KEY]).headers


@pytest.mark.parametrize(
    ("url", "http"),
    [
        ("ws://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1/responses"),
        ("wss://host/openai/v1?api-version=1", "https://host/openai/v1/responses?api-version=1"),
    ],
)
def test_the_same_resource_over_http(url: str, http: str) -> None:
    assert Place.of(url, OPENAI, []).over_http == http


def test_a_unix_socket_is_not_to_be_had_over_http() -> None:
    with pytest.raises(LocalProtocolError, match="HTTP has no such address"):
        Place.of("ws+unix:///run/a.sock", OPENAI, []).over_http  # noqa: B018 - it raises
