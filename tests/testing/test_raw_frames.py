"""Frames that are made bit by bit, as the parser of the transport reads them."""

from __future__ import annotations

import pytest

from agentwire.protocol.errors import RemoteProtocolError
from agentwire.testing.raw_frames import raw_frame
from agentwire.transport.frames import PING, TEXT, FrameParser

KEY = b"\x01\x80\xff\x00"


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("key", [None, KEY, bytes(4)])
def test_what_is_legal_is_read(length: int, key: bytes | None) -> None:
    payload = b"x" * length
    parser = FrameParser(masked=key is not None, max_message=1 << 20)
    assert list(parser.feed(raw_frame(TEXT, payload, key=key))) == [payload]


def test_a_message_in_two_frames_is_one() -> None:
    parser = FrameParser(masked=False, max_message=100)
    assert list(parser.feed(raw_frame(TEXT, b"he", final=False) + raw_frame(0, b"llo"))) == [b"hello"]


@pytest.mark.parametrize("frame", [raw_frame(TEXT, b"x", reserved=0x40), raw_frame(PING, b"x", final=False)])
def test_what_is_not_legal_can_be_made(frame: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        list(FrameParser(masked=False, max_message=100).feed(frame))
