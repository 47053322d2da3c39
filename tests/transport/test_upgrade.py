from __future__ import annotations

import base64
from contextlib import suppress

import pytest
import wsproto
import wsproto.events
from hypothesis import given
from hypothesis import strategies as st

from agentwire.protocol.errors import RequestError
from agentwire.transport.requests import Request
from agentwire.transport.upgrade import check_host, check_origin, default_hosts, judge_upgrade, upgrade_required

KEY = base64.b64encode(bytes(range(16))).decode()
GOOD = {
    "host": "localhost:8000",
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-key": KEY,
    "sec-websocket-version": "13",
}


def upgrade(
    changes: dict[str, str | None] | None = None,
    *,
    method: str = "GET",
    target: str = "/v1/responses?x=1",
    version: str = "1.1",
) -> Request:
    headers = {name: value for name, value in {**GOOD, **(changes or {})}.items() if value is not None}
    return Request.parse(method, target, headers.items(), http_version=version)


def accepted(head: bytes) -> wsproto.events.Request:
    """What the WebSocket library makes of a head."""
    connection = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    connection.receive_data(head)
    (event,) = connection.events()
    assert isinstance(event, wsproto.events.Request)
    return event


def test_a_good_upgrade_becomes_a_clean_head() -> None:
    request = upgrade({
        "authorization": "Bearer secret",
        "origin": "\xe4",
        "sec-websocket-extensions": "permessage-deflate",
        "sec-websocket-protocol": "one, two",
        "connection": "keep-alive, UPGRADE",
        "upgrade": "h2c, WebSocket",
    })  # fmt: skip
    head = judge_upgrade(request)
    event = accepted(head)
    assert event.target == "/v1/responses?x=1"
    assert event.subprotocols == ["one", "two"]
    assert event.extensions == []
    assert b"secret" not in head
    assert head.isascii()


def test_a_target_with_a_host_loses_it() -> None:
    assert accepted(judge_upgrade(upgrade(target="http://h/v1/responses"))).target == "/v1/responses"


BAD: dict[str, tuple[dict[str, str | None], str]] = {
    "host is not judged here": ({"host": "xn--\xe4"}, ""),
    "connection": ({"connection": "keep-alive"}, "connection"),
    "no connection": ({"connection": None}, "connection"),
    "no key": ({"sec-websocket-key": None}, "sec-websocket-key"),
    "short key": ({"sec-websocket-key": "AAAA"}, "sec-websocket-key"),
    "key in no base64": ({"sec-websocket-key": "!" * 24}, "sec-websocket-key"),
    "key not in ascii": ({"sec-websocket-key": "\xe4" * 24}, "sec-websocket-key"),
    "connection not in ascii": ({"connection": "Upgrade, \xe4"}, "connection"),
    "protocol not in ascii": ({"sec-websocket-protocol": "\xe4"}, "sec-websocket-protocol"),
    "protocol is no token": ({"sec-websocket-protocol": "a b"}, "sec-websocket-protocol"),
    "protocols repeated": ({"sec-websocket-protocol": "a, a"}, "sec-websocket-protocol"),
    "empty protocol": ({"sec-websocket-protocol": ""}, "sec-websocket-protocol"),
    "a body": ({"content-length": "1"}, "upgrade"),
    "a body in chunks": ({"transfer-encoding": "chunked"}, "upgrade"),
}


@pytest.mark.parametrize(("changes", "param"), BAD.values(), ids=BAD.keys())
def test_a_bad_upgrade_is_a_400_that_names_the_header(changes: dict[str, str | None], param: str) -> None:
    if not param:
        assert accepted(judge_upgrade(upgrade(changes))).host == "localhost"
        return
    with pytest.raises(RequestError) as caught:
        judge_upgrade(upgrade(changes))
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "invalid_upgrade", param)


def test_only_a_get_of_http_1_1_can_be_upgraded() -> None:
    for request in (upgrade(method="POST"), upgrade(version="1.0")):
        with pytest.raises(RequestError, match=r"must be a GET of HTTP/1\.1"):
            judge_upgrade(request)


def test_two_keys_are_none() -> None:
    headers = [*GOOD.items(), ("sec-websocket-key", KEY)]
    with pytest.raises(RequestError, match="once"):
        judge_upgrade(Request.parse("GET", "/", headers))


def test_an_empty_body_may_be_declared() -> None:
    head = judge_upgrade(upgrade({"content-length": "0", "content-type": "application/json"}))
    assert accepted(head).target == "/v1/responses?x=1"


def test_bytes_before_the_answer_are_refused() -> None:
    with pytest.raises(RequestError, match="before the answer"):
        judge_upgrade(upgrade(), b"\x81")


@pytest.mark.parametrize("version", [None, "8", "13, 8", "013"])
def test_another_version_is_a_426_that_names_ours(version: str | None) -> None:
    with pytest.raises(RequestError) as caught:
        judge_upgrade(upgrade({"sec-websocket-version": version}))
    assert caught.value.status == 426
    assert caught.value.headers == {"upgrade": "websocket", "sec-websocket-version": "13"}


@pytest.mark.parametrize("asked", [None, "h2c"])
def test_no_upgrade_is_a_426_that_says_what_to_do(asked: str | None) -> None:
    with pytest.raises(RequestError, match="ask for a WebSocket upgrade here, or send a POST") as caught:
        judge_upgrade(upgrade({"upgrade": asked}))
    assert caught.value.status == upgrade_required().status == 426


names = st.sampled_from([*GOOD, "sec-websocket-protocol", "sec-websocket-extensions", "content-length", "origin", "x"])
values = st.one_of(
    st.sampled_from([*GOOD.values(), "Upgrade, keep-alive", "a, b", "permessage-deflate", "0", "xn--a\xe4"]),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=30).map(str.strip),
)
targets = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)


@given(st.lists(st.tuples(names, values), max_size=8), targets, st.booleans())
def test_whatever_passes_is_taken_by_the_library(headers: list[tuple[str, str]], target: str, good: bool) -> None:
    changed = {name for name, _ in headers}
    whole = [*headers, *((name, value) for name, value in GOOD.items() if good and name not in changed)]
    request = Request.parse("GET", target, whole)
    head = b""
    with suppress(RequestError):
        head = judge_upgrade(request)
    assert head or not good or headers
    if head:
        assert accepted(head).target == request.origin_target


# Who asks


def asks(host: str | None = None, origin: str | None = None, target: str = "/") -> Request:
    headers = [("host", host)] if host is not None else []
    return Request.parse("GET", target, headers + ([("origin", origin)] if origin is not None else []))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "localhost.",
        "127.0.0.1:8000",
        "[::1]",
        "[::1]:8000",
        "::1",
        "127.0.0.1:",
        "Mine.example",
    ],
)
def test_a_server_goes_by_its_own_names(host: str) -> None:
    check_host(asks(host), default_hosts(["127.0.0.1"], ["Mine.example:80"]))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "",
        "127.0.0.2",
        "localhost:80:80",
        "user@localhost",
        "[::1",
        "\xe4",
        "10.0.0.1",
    ],
)
def test_any_other_name_is_a_403(host: str) -> None:
    with pytest.raises(RequestError) as caught:
        check_host(asks(host), default_hosts(["127.0.0.1"]))
    assert (caught.value.status, caught.value.code, caught.value.param) == (403, "host_not_allowed", "host")


def test_the_targets_host_counts_more_than_the_header() -> None:
    with pytest.raises(RequestError, match=r"evil\.example"):
        check_host(asks("localhost", target="http://evil.example/"), default_hosts(["127.0.0.1"]))


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "::"])
def test_a_server_on_every_address_goes_by_any_address_but_not_by_any_name(everywhere: str) -> None:
    hosts = default_hosts([everywhere])
    check_host(asks("192.0.2.7:8000"), hosts)
    check_host(asks("[2001:db8::7]:8000"), hosts)
    with pytest.raises(RequestError):
        check_host(asks("evil.example"), hosts)


def test_a_unix_socket_goes_by_any_name() -> None:
    check_host(asks("whatever"), default_hosts([]))
    check_host(asks("whatever"), default_hosts(["127.0.0.1"], ["*"]))


def test_no_host_is_no_browser() -> None:
    check_host(asks(), default_hosts(["127.0.0.1"]))


def test_browsers_are_refused_unless_their_origin_is_allowed() -> None:
    check_origin(asks("localhost"))
    check_origin(asks("localhost", "https://Mine.example"), ["https://mine.Example"])
    check_origin(asks("localhost", "https://evil.example"), ["*"])
    for origin in ("https://evil.example", "null", "http://localhost:8000", ""):
        with pytest.raises(RequestError) as caught:
            check_origin(asks("localhost", origin), ["https://mine.example"])
        assert (caught.value.status, caught.value.code) == (403, "origin_not_allowed")


def test_every_origin_is_judged() -> None:
    request = Request.parse("GET", "/", [("origin", "https://mine.example"), ("origin", "https://evil.example")])
    with pytest.raises(RequestError, match=r"evil\.example"):
        check_origin(request, ["https://mine.example"])
