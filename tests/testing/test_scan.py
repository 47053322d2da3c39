"""Frames are found wherever they begin, however the bytes come, behind any HTTP."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.testing.scan import Frame, FrameScanner, Mark
from agentwire.transport.frames import client_frame, server_frame

REQUEST = b"GET /v1/responses HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n"
PLAIN = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"

payloads = st.lists(st.binary(max_size=200) | st.sampled_from([bytes(300), bytes(66_000)]), max_size=6)


def ended(marks: list[Mark]) -> list[Frame]:
    return [mark.ended for mark in marks if mark.ended is not None]


def test_positions_without_http() -> None:
    scanner = FrameScanner()
    marks = scanner.feed(server_frame(b"abcd") + server_frame(b""))
    assert [(mark.frame, mark.position, mark.middle) for mark in marks] == [
        (0, 0, False),
        (0, 3, True),
        (1, 6, False),
        (1, 8, True),
        (2, 8, False),
    ]
    assert ended(marks) == [Frame(0, 1, True, 4, b"abcd"), Frame(1, 1, True, 0)]


def test_positions_before_they_are_reached() -> None:
    scanner = FrameScanner()
    marks = scanner.feed(server_frame(bytes(1000))[:4])
    assert marks == [Mark(0, 0), Mark(0, 502, middle=True)]
    assert (scanner.frames, scanner.position) == (0, 4)


@pytest.mark.parametrize("head", [REQUEST, ACCEPTED, PLAIN + REQUEST])
def test_http_comes_first(head: bytes) -> None:
    scanner = FrameScanner()
    assert scanner.feed(head[:10]) == []
    marks = scanner.feed(head[10:] + server_frame(b"x"))
    assert scanner.began
    assert marks[0] == Mark(0, len(head))
    assert [frame.payload for frame in ended(marks)] == [b"x"]


def test_http_without_an_upgrade_has_no_frames() -> None:
    scanner = FrameScanner()
    assert scanner.feed(PLAIN + b"HTTP/1.1 200 OK\r\n\r\n" + server_frame(b"x") * 100_000) == []
    assert scanner.frames == 0


def test_payloads_are_left_out_on_request() -> None:
    assert ended(FrameScanner(keep=False).feed(server_frame(b"abc"))) == [Frame(0, 1, True, 3)]


@given(payloads, st.booleans(), st.sampled_from([b"", REQUEST]), st.data())
def test_any_chunking_finds_the_same(payloads: list[bytes], masked: bool, head: bytes, data: st.DataObject) -> None:
    frames = [client_frame(payload, b"\1\2\3\4") if masked else server_frame(payload) for payload in payloads]
    wire = head + b"".join(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    scanner = FrameScanner()
    marks = [
        mark
        for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)
        for mark in scanner.feed(wire[start:end])
    ]
    assert [frame.payload for frame in ended(marks)] == payloads
    starts = [mark.position for mark in marks if not mark.middle]
    expected = [len(head)]
    for frame in frames:
        expected.append(expected[-1] + len(frame))
    assert starts == (expected if wire else [])
    assert scanner.position == len(wire)
