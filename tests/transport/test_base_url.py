from __future__ import annotations

import pytest

from agentwire.transport.base_url import BaseUrl


@pytest.mark.parametrize(
    ("url", "host", "port", "authority"),
    [
        ("http://localhost", "localhost", 80, "localhost"),
        ("http://127.0.0.1:8080/v1", "127.0.0.1", 8080, "127.0.0.1:8080"),
        ("https://Api.Example.com/v1/", "api.example.com", 443, "api.example.com"),
        ("https://example.com:443", "example.com", 443, "example.com"),
        ("http://[::1]:9/v1", "::1", 9, "[::1]:9"),
        ("http://b\xfccher.example", "xn--bcher-kva.example", 80, "xn--bcher-kva.example"),
        ("http://user:pass@example.com", "example.com", 80, "example.com"),
    ],
)
def test_where_it_is(url: str, host: str, port: int, authority: str) -> None:
    base = BaseUrl.parse(url)
    assert (base.host, base.port, base.authority) == (host, port, authority)
    assert base.origin == f"{base.scheme}://{authority}"


@pytest.mark.parametrize(
    ("url", "path", "target"),
    [
        ("http://x", "/models", "/models"),
        ("http://x/", "models", "/models"),
        ("http://x/v1/", "/models", "/v1/models"),
        ("http://x/v1", "/responses?a=b", "/v1/responses?a=b"),
        ("http://x/v1?api-version=1", "/responses", "/v1/responses?api-version=1"),
        ("http://x/v1?api-version=1", "/responses?a=b", "/v1/responses?a=b&api-version=1"),
        ("http://x/a b/%20", "/\xe4\r\n", "/a%20b/%20/%C3%A4%0D%0A"),
        ("http://x/v1", "", "/v1/"),
    ],
)
def test_targets_below_it(url: str, path: str, target: str) -> None:
    assert BaseUrl.parse(url).target(path) == target


def test_a_name_and_a_password_are_kept_apart() -> None:
    base = BaseUrl.parse("http://us%40er:p%3Ass@x/v1?key=k")
    assert base.credentials == "Basic dXNAZXI6cDpzcw=="
    assert "dXNA" not in repr(base)
    assert "key" not in repr(base)
    assert base.origin == "http://x"
    assert BaseUrl.parse("http://x").credentials == ""


@pytest.mark.parametrize("url", ["", "x:80", "/v1", "ws://x", "http://", "http://x:y", "http://[::1", "http://x:99999"])
def test_what_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="the address"):
        BaseUrl.parse(url, name="the address")


@pytest.mark.parametrize(
    "url",
    [
        "socks5://me:secret@proxy:1080",
        "http://me:secret@",
        "ftp://h?key=secret",
        "ftp://h/x#key=secret",
        "me:secret@host/v1",
        "http//me:secret@host",
    ],
)
def test_what_is_none_is_said_without_what_it_can_hide(url: str) -> None:
    with pytest.raises(ValueError, match="must begin with") as caught:
        BaseUrl.parse(url)
    assert "secret" not in str(caught.value)
