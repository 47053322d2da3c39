from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.protocol.errors import RemoteProtocolError
from agentwire.transport.sse import SseParser


def parse(*chunks: bytes, max_event: int = 1000) -> list[bytes]:
    parser = SseParser(max_event)
    return [payload for chunk in chunks for payload in parser.feed(chunk)]


def test_payloads_come_out_of_everything_else() -> None:
    stream = (
        b': a comment\n\nevent: response.created\nid: 1\nretry: 3\ndata: {"a": 1}\n\n'
        b"data:no space\n\ndata:  two spaces\n\ndatabase: x\n\nunknown\n\ndata: [DONE]\n\n"
    )  # fmt: skip
    assert parse(stream) == [b'{"a": 1}', b"no space", b" two spaces", b"[DONE]"]


def test_lines_of_data_are_joined() -> None:
    assert parse(b"data: one\ndata\ndata:two\n\n") == [b"one\n\ntwo"]


def test_an_event_without_data_is_none() -> None:
    assert parse(b"event: x\n\ndata\n\ndata:\n\n\n\n") == []


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_an_error_in_a_field_of_its_own_is_an_event(end: bytes) -> None:
    lines = (b'data: {"a":1}', b"", b'error: {"code":400}', b"", b"error: none", b"", b"data: [DONE]", b"", b"")
    assert parse(end.join(lines)) == [b'{"a":1}', b'{"error":{"code":400}}', b"[DONE]"]


def test_an_event_that_is_cut_off_is_none() -> None:
    assert parse(b"data: whole\n\ndata: cut\n") == [b"whole"]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_lines_end_in_any_way(end: bytes) -> None:
    assert parse(end.join([b"data: a", b"data: b", b"", b"data: c", b"", b""])) == [b"a\nb", b"c"]


def test_a_line_end_may_be_cut_in_two() -> None:
    assert parse(b"data: a\r", b"\ndata: b\r\n\r", b"\n", b"data: c\r\r") == [b"a\nb", b"c"]


def test_an_event_is_known_at_once_when_its_last_line_ends_with_cr() -> None:
    parser = SseParser(100)
    assert parser.feed(b"data: a\r\n\r") == [b"a"]
    assert parser.feed(b"") == []
    assert parser.feed(b"\n") == []
    assert parser.feed(b"data: b\r\n\r\n") == [b"b"]


def test_a_byte_order_mark_is_skipped_once() -> None:
    mark = b"\xef\xbb\xbf"
    assert parse(mark[:1], mark[1:] + b"data: a\n\n" + mark + b"data: b\n\ndata: c\n\n") == [b"a", b"c"]


def test_other_separators_of_unicode_do_not_end_a_line() -> None:
    payload = "\u2028 \u0085 \x0b \x0c \x1c".encode()
    assert parse(b"data: " + payload + b"\n\n") == [payload]


@pytest.mark.parametrize(
    "chunks",
    [
        [b"data: " + b"x" * 101 + b"\n\n"],
        [b"data: " + b"x" * 40] * 3,
        [b"data: " + b"x" * 40 + b"\n"] * 3,
        [b": " + b"x" * 101],
        [b"data: x", b"x" * 200 + b"\n\n"],
    ],
)
def test_an_event_has_a_bound(chunks: list[bytes]) -> None:
    with pytest.raises(RemoteProtocolError, match="larger than 100 bytes"):
        parse(*chunks, max_event=100)


def test_the_bound_is_on_one_event() -> None:
    assert len(parse(b"data: 12345\n\n" * 100, max_event=12)) == 100
    assert parse(b"data: " + b"x" * 100 + b"\n\n", max_event=100) == [b"x" * 100]


lines = st.sampled_from(
    [b"data: a", b"data:b", b"data", b": c", b"event: e", b"", b"", b"data: \xc3\xa4", b"id", b"datax: 1"]
)
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(lines, ends)), st.lists(st.integers(0, 8)))
def test_cuts_make_no_difference(parts: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    stream = b"".join(line + end for line, end in parts)
    chunks = []
    rest = stream
    for cut in cuts:
        chunks.append(rest[:cut])
        rest = rest[cut:]
    assert parse(*chunks, rest) == parse(stream) == parse(*(stream[i : i + 1] for i in range(len(stream))))


@given(st.lists(st.tuples(lines, ends)))
def test_payloads_are_what_the_standard_says(parts: list[tuple[bytes, bytes]]) -> None:
    text = b"".join(line + end for line, end in parts).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    expected = []
    data: list[bytes] = []
    for line in text.split(b"\n")[:-1]:
        name, _, value = line.partition(b":")
        if not line:
            if any(data) or len(data) > 1:
                expected.append(b"\n".join(data))
            data = []
        elif name == b"data":
            data.append(value.removeprefix(b" "))
    assert parse(b"".join(line + end for line, end in parts)) == expected


NAMED = {
    b'event: a.b_c\ndata: {"x":1}\n\n': b'{"type":"a.b_c","x":1}',
    b"event:a\ndata: { }\n\n": b'{"type":"a"}',
    b'event: a\ndata: {"type":"b"}\n\n': b'{"type":"b"}',
    b"event: a\ndata: [1]\n\n": b"[1]",
    b'event: "\ndata: {"x":1}\n\n': b'{"x":1}',
    b'event: a\n\ndata: {"x":1}\n\n': b'{"x":1}',
}


@pytest.mark.parametrize("sent", NAMED)
def test_a_name_is_the_type_of_a_payload_that_has_none(sent: bytes) -> None:
    parser = SseParser(1000)
    parser.named = True
    assert parser.feed(sent + b'data: {"y":1}\n\n') == [NAMED[sent], b'{"y":1}']


def test_names_are_left_out_where_nobody_asked_for_them() -> None:
    assert SseParser(1000).feed(b'event: a\ndata: {"x":1}\n\n') == [b'{"x":1}']
