from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.transport import bodies
from agentwire.transport.bodies import Body, ChunkedBody, EndlessBody, SizedBody


def feed(body: Body, *parts: bytes) -> bytes:
    return b"".join(body.feed(part) for part in parts)


def chunked(*parts: bytes) -> tuple[ChunkedBody, bytes]:
    body = ChunkedBody(100)
    return body, feed(body, *parts)


def test_a_body_of_a_known_length() -> None:
    body = SizedBody(5)
    assert (feed(body, b"ab", b"cde"), body.complete, body.excess, body.end()) == (b"abcde", True, False, True)
    body = SizedBody(5)
    assert (feed(body, b"ab"), body.complete, body.end()) == (b"ab", False, False)
    body = SizedBody(2)
    assert (feed(body, b"abc"), body.complete, body.excess) == (b"ab", True, True)
    assert SizedBody(0).complete


def test_a_body_that_ends_with_the_connection() -> None:
    body = EndlessBody()
    assert (feed(body, b"ab", b"c"), body.complete) == (b"abc", False)
    assert body.end()
    assert body.complete


def test_chunks_that_arrive_together_are_one_piece() -> None:
    body = ChunkedBody(100)
    assert body.feed(b"1\r\na\r\n02\r\nbc\r\nA ; x=y\r\n0123456789\r\n") == b"abc0123456789"
    assert not body.complete
    assert body.feed(b"0\r\nx-trailer: 1\r\n") == b""
    assert not body.complete
    assert body.feed(b"\r\n") == b""
    assert (body.complete, body.excess, body.end()) == (True, False, True)


def test_what_comes_behind_the_last_chunk_belongs_to_nobody() -> None:
    body, data = chunked(b"1\r\na\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert (data, body.complete, body.excess) == (b"a", True, True)


@pytest.mark.parametrize(
    "broken",
    [
        b"zz\r\n", b"\r\n", b"-1\r\n", b"+1\r\n", b"0x1\r\n", b"1_0\r\n", b" 1\r\n", b";a\r\n",
        b"12345678901234567\r\n",
        b"1\r\nab\r\n", b"1\r\na\n\r\n", b"2\r\nab\rx", b"2\r\nabx", b"1" * 101, b"1;" + b"x" * 100 + b"\r\n",
        b"0\r\n" + b"x" * 101, b"0\r\n" + b"x: y\r\n" * 20,
    ],
)  # fmt: skip
def test_broken_framing_is_a_fault_behind_what_came_before(broken: bytes) -> None:
    body, data = chunked(b"3\r\nabc\r\n" + broken)
    assert data.startswith(b"abc")
    assert body.fault is not None
    assert not body.complete
    body, data = chunked(b"3\r\nabc\r\n", *(broken[i : i + 1] for i in range(len(broken))))
    assert body.fault is not None


@pytest.mark.parametrize("size", [b"7fffffffffffffff", b"8000000000000000", b"ffffffffffffffff"])
def test_a_chunk_larger_than_any_memory_is_waited_for(size: bytes) -> None:
    body, data = chunked(b"3\r\nabc\r\n" + size + b"\r\nde")
    assert data == b"abcde"
    assert body.fault is None
    assert not body.complete


def test_of_a_peers_lines_only_small_ones_are_kept() -> None:
    """What is remembered for all streams must not grow by what a peer writes behind a size."""
    bodies._usual_size.cache_clear()
    for number in range(100):
        body, data = chunked(b"3;x=%s%d\r\nabc\r\n" % (b"y" * 80, number))
        assert (body.fault, data) == (None, b"abc")
    assert bodies._usual_size.cache_info().currsize <= 5


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.lists(st.integers(1, 9), max_size=60),
    st.sampled_from([b"", b"x: y\r\n"]),
)
def test_cuts_make_no_difference_and_another_parser_agrees(
    chunks: list[bytes], cuts: list[int], trailer: bytes
) -> None:
    raw = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailer + b"\r\n"
    parts, rest = [], raw
    for cut in cuts:
        parts.append(rest[:cut])
        rest = rest[cut:]
    body, data = chunked(*parts, rest)
    assert (data, body.complete, body.excess, body.fault) == (b"".join(chunks), True, False, None)
    other = h11.Connection(h11.CLIENT)
    other.receive_data(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + raw)
    other.next_event()
    seen = b""
    while isinstance(event := other.next_event(), h11.Data):
        seen += event.data
    assert (seen, type(event)) == (data, h11.EndOfMessage)
