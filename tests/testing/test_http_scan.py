"""HTTP is followed through heads, bodies and event streams, however the bytes come, and never believed."""

from __future__ import annotations

import pytest

from agentwire.testing.http_scan import Body, Head, HttpScanner, Talk

POST = b"POST /v1/responses HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n" + b'{"input":1}'
GET = b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n"
UPGRADE = b"GET /v1/responses HTTP/1.1\r\nupgrade: websocket\r\n\r\n"
OK = b'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n{"a"'
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENTS = b"9\r\ndata: one\r\nb;x=y\r\n\n\ndata: two\r\n2\r\n\n\n\r\n0\r\ntrailer: x\r\n\r\n"


def both(keep: int = 1000) -> tuple[HttpScanner, HttpScanner]:
    talk = Talk()
    return HttpScanner("client", talk, keep=keep), HttpScanner("server", talk, keep=keep)


def fed(scanner: HttpScanner, data: bytes, step: int) -> list[Head | Body]:
    return [found for start in range(0, len(data), step) for found in scanner.feed(data[start : start + step])]


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_requests_and_their_answers(step: int) -> None:
    client, server = both()
    first, body, second = fed(client, POST + GET, step)
    assert isinstance(first, Head)
    assert (first.exchange, first.method, first.target, first.header("host")) == (0, "POST", "/v1/responses", "h")
    assert body == Body(0, "body", 11, b'{"input":1}')
    assert isinstance(second, Head)
    assert (second.exchange, second.target) == (1, "/x")
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    found = fed(server, interim + OK + CHUNKED + EVENTS + OK, step)
    assert [(one.exchange, one.status) for one in found if isinstance(one, Head)] == [
        (0, 100),
        (0, 200),
        (1, 200),
        (2, 200),
    ]
    assert [one for one in found if isinstance(one, Body)] == [
        Body(0, "body", 4, b'{"a"'),
        Body(1, "sse", 3, b"one", final=False),
        Body(1, "sse", 3, b"two", final=False),
        Body(1, "sse", 0),
        Body(2, "body", 4, b'{"a"'),
    ]


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    client, server = both()
    client.feed(GET)
    assert len(server.feed(b"HTTP/1.0 200 OK\r\n\r\nall of it")) == 1
    assert server.finish() == [Body(0, "body", 9, b"all of it")]


def test_what_was_cut_off_is_told_as_a_part() -> None:
    client, _ = both()
    client.feed(POST[:-3])
    assert client.finish() == [Body(0, "body", 8, b'{"input"', final=False)]
    assert client.finish() == []


@pytest.mark.parametrize("answer", [b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\n\r\n"])
def test_some_answers_have_no_body(answer: bytes) -> None:
    client, server = both()
    client.feed(GET + GET)
    assert [one.exchange for one in server.feed(answer + answer)] == [0, 1]
    client, server = both()
    client.feed(b"HEAD / HTTP/1.1\r\n\r\n" + GET)
    assert len(server.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n" + OK)) == 3


def test_after_an_upgrade_there_is_no_http() -> None:
    client, server = both()
    (asked,) = client.feed(UPGRADE + b"\x81\x80abcd")
    (granted,) = server.feed(b"HTTP/1.1 101 Switching\r\n\r\n\x81\x00")
    assert isinstance(asked, Head)
    assert isinstance(granted, Head)
    assert asked.upgrades
    assert granted.upgrades
    assert client.feed(GET) == server.feed(OK) == []


def test_a_refused_upgrade_leaves_http() -> None:
    client, server = both()
    client.feed(UPGRADE)
    server.feed(b"HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\ncontent-length: 0\r\n\r\n")
    assert [one.exchange for one in client.feed(GET)] == [1]
    assert [one.exchange for one in server.feed(OK)] == [1, 1]


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x16\x03\x01",
        b"NONSENSE\r\n\r\n",
        b"A" * 70_000,
        b"",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_rubbish_is_left_alone(rubbish: bytes) -> None:
    client, _ = both()
    client.feed(rubbish)
    assert all(isinstance(one, Head) for one in client.feed(GET))


def test_large_bodies_and_events_are_counted_and_not_kept() -> None:
    client, server = both(keep=10)
    client.feed(b"POST / HTTP/1.1\r\ncontent-length: 50\r\n\r\n")
    assert client.feed(b"x" * 50) == [Body(0, "body", 50, b"x" * 10)]
    server.feed(CHUNKED)
    assert server.feed(b"20\r\ndata: " + b"y" * 26 + b"\r\n") == []
