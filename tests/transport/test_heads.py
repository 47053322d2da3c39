from __future__ import annotations

import pytest

from agentwire.protocol.errors import LocalProtocolError, RemoteProtocolError
from agentwire.transport.bodies import ChunkedBody, EndlessBody, SizedBody
from agentwire.transport.heads import HeadReader, RequestHeads, ResponseHead

HEADERS = {"host": "x", "accept": "*/*"}


def read(*parts: bytes, max_bytes: int = 1000) -> tuple[ResponseHead | None, bytes]:
    reader = HeadReader(max_bytes)
    heads = [reader.feed(part) for part in parts]
    return heads[-1], reader.rest


def head(*lines: bytes) -> ResponseHead:
    found, _ = read(b"\r\n".join((*lines, b"", b"")))
    assert found is not None
    return found


def test_a_requests_head() -> None:
    heads = RequestHeads()
    for _ in range(2):
        assert heads.head("POST", "/a?b", HEADERS, 12) == (
            b"POST /a?b HTTP/1.1\r\nhost: x\r\naccept: */*\r\ncontent-length: 12\r\n\r\n"
        )
        assert heads.head("GET", "/", HEADERS, None) == b"GET / HTTP/1.1\r\nhost: x\r\naccept: */*\r\n\r\n"
    assert b"accept: text/plain\r\n" in heads.head("GET", "/", {**HEADERS, "accept": "text/plain"}, None)


def test_what_is_remembered_of_heads_has_a_bound() -> None:
    heads = RequestHeads()
    for number in range(1000):
        assert heads.head("GET", f"/{number}", HEADERS, None).startswith(b"GET /%d " % number)
    assert len(heads._known) <= 64


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/", {**HEADERS, "x": "a\r\nb: c"}),
        ("GET", "/", {**HEADERS, "x y": "a"}),
        ("GET", "/", {**HEADERS, "x": "\u2028"}),
        ("GET", "/", {**HEADERS, "\xe4": "a"}),
        ("GET", "/a b", HEADERS),
        ("G T", "/", HEADERS),
        ("GET", "/", {}),
        ("GET", "/", {**HEADERS, "content-length": "1"}),
        ("GET", "/", {**HEADERS, "transfer-encoding": "chunked"}),
    ],
)
def test_a_head_that_cannot_be_sent(method: str, target: str, headers: dict[str, str]) -> None:
    with pytest.raises(LocalProtocolError, match="this request cannot be sent"):
        RequestHeads().head(method, target, headers, None)


def test_a_responses_head_and_what_follows_it() -> None:
    raw = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 3\r\n\r\nabc"
    for parts in ((raw,), (raw[:10], raw[10:]), (*(raw[i : i + 1] for i in range(len(raw) - 3)), b"abc")):
        reader = HeadReader(1000)
        heads = [reader.feed(part) for part in parts if part != b"abc"]
        assert heads[-1] == ResponseHead(200, {"x-a": "1, 2", "content-length": "3"}, reusable=True)
        assert reader.rest in (b"abc", b"")


def test_information_before_the_head_is_skipped_but_not_for_ever() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    found, rest = read(b"HTTP/1.1 100 Continue\r\n\r\n", hints + b"HTTP/1.1 204 No\r\n\r\n")
    assert (found, rest) == (ResponseHead(204, {}, reusable=True), b"")
    with pytest.raises(RemoteProtocolError, match="over and over"):
        read(*[hints] * 100)


@pytest.mark.parametrize(
    "raw",
    [
        b"hello\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nname : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: \x00\r\n\r\n",
        b"HTTP/1.1 99 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 2000,
    ],
)
def test_what_is_no_head(raw: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read(raw)


@pytest.mark.parametrize(
    ("lines", "reusable"),
    [
        ((b"HTTP/1.1 200 OK",), True),
        ((b"HTTP/1.1 200 OK", b"Connection: keep-alive"), True),
        ((b"HTTP/1.1 200 OK", b"Connection: x, Close"), False),
        ((b"HTTP/1.0 200 OK",), False),
        ((b"HTTP/1.1 200 OK", b"Content-Length: 1", b"Transfer-Encoding: chunked"), False),
    ],
)
def test_whether_the_connection_may_be_used_again(lines: tuple[bytes, ...], reusable: bool) -> None:
    assert head(*lines).reusable is reusable


def test_how_the_body_ends() -> None:
    ok = b"HTTP/1.1 200 OK"
    assert isinstance(head(ok, b"transfer-encoding: chunked").body("GET", 100), ChunkedBody)
    assert isinstance(head(ok, b"transfer-encoding: chunked", b"content-length: 3").body("GET", 100), ChunkedBody)
    assert isinstance(head(ok, b"content-length: 3").body("GET", 100), SizedBody)
    assert isinstance(head(ok).body("GET", 100), EndlessBody)
    for bodiless in (
        head(ok, b"content-length: 3").body("HEAD", 100),
        head(b"HTTP/1.1 204 No", b"transfer-encoding: chunked").body("GET", 100),
        head(b"HTTP/1.1 304 Same", b"content-length: 3").body("GET", 100),
        head(ok, b"content-length: 0").body("GET", 100),
    ):
        assert bodiless.complete


def test_a_head_like_an_earlier_one_is_the_same_and_what_is_behind_it_is_not() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx-test: again\r\n\r\n"
    for behind in (b"abc", b"", b"xyz"):
        reader = HeadReader(1000)
        found = reader.feed(head + behind)
        assert found is not None
        assert (found.status, found.headers["x-test"], reader.rest) == (200, "again", behind)


def test_a_head_that_was_announced_is_not_taken_for_its_announcement() -> None:
    announced = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    for _ in range(2):
        reader = HeadReader(1000)
        assert reader.feed(announced) is None
        found = reader.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        assert found is not None
        assert found.status == 200
