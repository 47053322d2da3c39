"""Addresses, and which key goes where."""

from __future__ import annotations

import pytest

from agentwire.link.address import Address, find_key
from agentwire.protocol.errors import LocalProtocolError


@pytest.mark.parametrize(
    ("url", "means", "authority"),
    [
        ("ws://127.0.0.1:8000/v1", "ws://127.0.0.1:8000/v1/responses", "127.0.0.1:8000"),
        ("http://127.0.0.1:8000/v1/", "ws://127.0.0.1:8000/v1/responses", "127.0.0.1:8000"),
        ("http://h", "ws://h/v1/responses", "h"),
        ("http://h/", "ws://h/v1/responses", "h"),
        ("https://api.openai.com/v1", "wss://api.openai.com/v1/responses", "api.openai.com"),
        ("wss://h:8443/codex/responses", "wss://h:8443/codex/responses", "h:8443"),
        ("wss://h/openai/v1?api-version=1&x=2", "wss://h/openai/v1/responses?api-version=1&x=2", "h"),
        ("ws://[::1]:80/v1", "ws://[::1]/v1/responses", "[::1]"),
        ("https://h:80/v1", "wss://h:80/v1/responses", "h:80"),
        ("ws+unix:///run/a.sock", "ws+unix:///run/a.sock:/v1/responses", "localhost"),
        ("ws+unix:///run/a.sock:/v2", "ws+unix:///run/a.sock:/v2/responses", "localhost"),
        ("http+unix:///run/a.sock:/v1/responses", "ws+unix:///run/a.sock:/v1/responses", "localhost"),
    ],
)
def test_forms(url: str, means: str, authority: str) -> None:
    address = Address.parse(url)
    assert (str(address), address.authority) == (means, authority)
    assert Address.parse(str(address)) == address
    if not address.path:
        assert address.base_url.startswith("http")
        assert Address.parse(address.base_url) == address


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:8000", "must begin with one of ws://"),
        ("ftp://h/v1", "must begin with one of ws://"),
        ("ws:///v1", "is not the address of a server"),
        ("ws://h:99999/v1", "is not an address"),
        ("ws://[::1/v1", "is not an address"),
        ("wss://sk-secret@h/v1", "no user and no password"),
        ("ws+unix://run/a.sock", "is no Unix socket"),
        ("ws+unix:///", "is no Unix socket"),
        ("ws://h/v1 engine: none", "percent-encoded"),
        ("ws://h/v1/é", "percent-encoded"),
        ("ws://h/v1?q=a b", "percent-encoded"),
        ("ws+unix:///run/a.sock:/v 1", "percent-encoded"),
    ],
)
def test_what_is_no_address_is_refused(url: str, words: str) -> None:
    with pytest.raises(LocalProtocolError, match=words) as caught:
        Address.parse(url)
    assert "sk-secret" not in str(caught.value)


ENVIRONMENT = {"AGENTWIRE_API_KEY": "ours", "OPENAI_API_KEY": "openai"}


@pytest.mark.parametrize(
    ("url", "environment", "key"),
    [
        ("wss://example.org/v1", ENVIRONMENT, "ours"),
        ("ws://example.org/v1", ENVIRONMENT, None),
        ("ws://127.0.0.1/v1", ENVIRONMENT, "ours"),
        ("ws+unix:///s", ENVIRONMENT, "ours"),
        ("wss://api.openai.com/v1", ENVIRONMENT, "ours"),
        ("wss://api.openai.com/v1", {"OPENAI_API_KEY": "openai"}, "openai"),
        ("wss://me.openai.azure.com/v1", {"OPENAI_API_KEY": "openai"}, "openai"),
        ("ws://api.openai.com/v1", {"OPENAI_API_KEY": "openai"}, None),
        ("wss://notopenai.com/v1", {"OPENAI_API_KEY": "openai"}, None),
        ("wss://example.org/v1", {}, None),
        ("wss://example.org/v1", {"AGENTWIRE_API_KEY": ""}, None),
        ("wss://example.org/v1", {"AGENTWIRE_API_KEY": "ours\n"}, "ours"),
    ],
)
def test_a_key_of_the_environment_only_goes_where_it_belongs(
    url: str, environment: dict[str, str], key: str | None
) -> None:
    address = Address.parse(url)
    assert find_key(address, None, environment) == key
    assert find_key(address, "given\n", environment) == "given"


def test_a_key_must_fit_a_header() -> None:
    with pytest.raises(LocalProtocolError, match="visible ASCII"):
        find_key(Address.parse("wss://h"), "two words", {})
