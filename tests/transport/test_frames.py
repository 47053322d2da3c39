"""Frames against wsproto: what we make it can read, what it makes we can read, and what it refuses so do we."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import ConnectionType
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from agentwire.protocol.errors import RemoteProtocolError
from agentwire.transport.frames import (
    Control,
    FrameParser,
    client_frame,
    server_frame,
    server_header,
    unmask,
)

KEY = b"\x01\xfe\x3c\x80"
SIZES = [0, 1, 125, 126, 127, 511, 512, 513, 1022, 1023, 1024, 65535, 65536, 100_000]


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """One frame, as plainly as possible."""
    first = (0x80 if final else 0) | reserved << 4 | opcode
    size, more = len(payload), b""
    if size > 65535:
        size, more = 127, struct.pack("!Q", size)
    elif size > 125:
        size, more = 126, struct.pack("!H", size)
    if not masked:
        return bytes((first, size)) + more + payload
    veiled = bytes(byte ^ KEY[place % 4] for place, byte in enumerate(payload))
    return bytes((first, size | 0x80)) + more + KEY + veiled


def parse(data: bytes, *, masked: bool = True, most: int = 1 << 20, chunks: int | None = None) -> list[object]:
    """Everything that a parser finds, and the error that stopped it."""
    parser = FrameParser(masked=masked, max_message=most)
    found: list[object] = []
    for start in range(0, len(data), chunks or len(data) or 1):
        try:
            found.extend(parser.feed(data[start : start + (chunks or len(data))]))
        except RemoteProtocolError as error:
            found.append((error.close_code, str(error)))
    return found


@pytest.mark.parametrize("size", SIZES)
def test_our_frames_are_read_by_wsproto(size: int) -> None:
    payload = b"a" * size
    for side, data in (
        (ConnectionType.CLIENT, server_frame(payload)),
        (ConnectionType.SERVER, client_frame(payload, KEY)),
    ):
        protocol = FrameProtocol(client=side is ConnectionType.CLIENT, extensions=[])
        protocol.receive_bytes(data)
        read = list(protocol.received_frames())
        assert "".join(str(part.payload) for part in read) == payload.decode()
        assert read[-1].message_finished
        assert read[0].opcode is Opcode.TEXT
    assert server_header(size) + payload == server_frame(payload) == frame(1, payload, masked=False)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("chunks", [None, 1, 1000])
def test_frames_of_every_size_are_read(size: int, masked: bool, chunks: int | None) -> None:
    payload = bytes(place % 251 for place in range(size))
    assert parse(frame(2, payload, masked=masked), masked=masked, chunks=chunks) == [payload]


@given(st.binary(max_size=2000), st.binary(min_size=4, max_size=4))
def test_a_mask_is_its_own_opposite(payload: bytes, key: bytes) -> None:
    veiled = unmask(payload, key)
    assert veiled == bytes(byte ^ key[place % 4] for place, byte in enumerate(payload))
    assert unmask(veiled, key) == payload


@pytest.mark.parametrize("chunks", [None, 1])
def test_fragments_are_joined_with_control_frames_between(chunks: int | None) -> None:
    data = b"".join(
        (
            frame(1, b"one ", final=False),
            frame(9, b"ping"),
            frame(0, b"", final=False),
            frame(0, b"two ", final=False),
            frame(10),
            frame(0, b"three"),
            frame(1, b"next"),
            frame(1, b"", final=False),
            frame(0, b""),
        )
    )
    ping, pong = Control(frame(9, b"ping"), 9, b"ping"), Control(frame(10), 10, b"")
    expected = [ping, pong, b"one two three", b"next", b""]
    assert parse(data, chunks=chunks) == expected


VIOLATIONS = [
    (frame(1, reserved=1), "reserved bits"),
    (frame(1, reserved=2), "reserved bits"),
    (frame(9, reserved=4), "reserved bits"),
    *((frame(opcode), "reserved opcode") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    (frame(1, masked=False), "client frames must be masked"),
    (frame(9, masked=False), "client frames must be masked"),
    (frame(9, b"x" * 126), "control frames must be whole"),
    (frame(8, b"x" * 70000), "control frames must be whole"),
    (frame(9, b"x", final=False), "control frames must be whole"),
    (frame(0, b"x"), "fragments out of order"),
    (frame(0, b"x", final=False), "fragments out of order"),
    (frame(1, b"x", final=False) + frame(1, b"y"), "fragments out of order"),
    (frame(1, b"x", final=False) + frame(2, b"y", final=False), "fragments out of order"),
    (frame(1, b"x", final=False) + frame(0, b"y") + frame(0, b"z"), "fragments out of order"),
    (b"\x81\xfe\x00\x7d" + KEY + bytes(125), "shortest form"),
    (b"\x81\xff" + struct.pack("!Q", 65535) + KEY + bytes(65535), "shortest form"),
    (b"\x81\xff" + struct.pack("!Q", 1 << 63) + KEY, "63 bits"),
    (frame(8, b"\x03"), "close frame"),
    *((frame(8, struct.pack("!H", code)), "close code") for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000)),
]


@pytest.mark.parametrize("chunks", [None, 1])
@pytest.mark.parametrize(("data", "message"), VIOLATIONS)
def test_violations_are_told_once_and_nothing_follows(data: bytes, message: str, chunks: int | None) -> None:
    found = parse(data + frame(1, b"never") + frame(8), chunks=chunks)
    errors = [one for one in found if isinstance(one, tuple) and isinstance(one[0], int)]
    assert len(errors) == 1
    assert errors[0][0] == 1002
    assert message in errors[0][1]
    assert found[-1] == errors[0]


@pytest.mark.parametrize(("data", "message"), VIOLATIONS)
def test_wsproto_refuses_them_too(data: bytes, message: str) -> None:
    protocol = FrameProtocol(client=False, extensions=[])
    protocol.receive_bytes(data)
    with pytest.raises(ParseFailed):
        list(protocol.received_frames())


def test_a_close_reason_is_text() -> None:
    assert parse(frame(8, b"\x03\xe8\xff")) == [(1007, "the reason of a close frame must be UTF-8")]
    raw = frame(8, b"\x03\xe8d\xc3\xa9j\xc3\xa0")
    assert parse(raw) == [Control(raw, 8, "\x03è".encode("latin-1") + "déjà".encode())]


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999])
def test_close_codes_that_may_be_sent(code: int) -> None:
    raw = frame(8, struct.pack("!H", code) + b"why")
    assert parse(raw) == [Control(raw, 8, struct.pack("!H", code) + b"why")]


def test_servers_frames_must_not_be_masked() -> None:
    assert parse(frame(1, b"x"), masked=False) == [(1002, "server frames must not be masked")]
    assert parse(frame(1, b"x", masked=False), masked=False) == [b"x"]


@pytest.mark.parametrize("chunks", [None, 1, 7])
@pytest.mark.parametrize(
    "data",
    [
        frame(1, bytes(101)),
        frame(1, bytes(60), final=False) + frame(0, bytes(41)),
        frame(1, bytes(100), final=False) + frame(9, b"") + frame(0, bytes(1), final=False) + frame(0),
    ],
)
def test_a_message_that_is_too_large_is_refused_and_its_end_is_found(data: bytes, chunks: int | None) -> None:
    parser = FrameParser(masked=True, max_message=100)
    found: list[object] = []
    wire = data + frame(1, b"skipped") + frame(8)
    for start in range(0, len(wire), chunks or len(wire)):
        try:
            found.extend(parser.feed(wire[start : start + (chunks or len(wire))]))
        except RemoteProtocolError as error:
            found.append(error.close_code)
    found.extend(parser.feed(b""))
    kinds = [one if isinstance(one, int) else one.opcode for one in found if isinstance(one, int | Control)]
    assert [kind for kind in kinds if kind != 9] == [1009, 8]
    assert not any(isinstance(one, bytes) for one in found)


def test_a_large_message_is_refused_by_its_header_alone() -> None:
    assert parse(b"\x81\xff" + struct.pack("!Q", 1 << 40) + KEY, most=100) == [(1009, "message larger than 100 bytes")]
    assert parse(frame(1, bytes(100)), most=100) == [bytes(100)]
    assert parse(frame(1, bytes(50), final=False) + frame(0, bytes(50)), most=100) == [bytes(100)]


def test_what_is_discarded_is_not_kept_but_its_end_is_found() -> None:
    parser = FrameParser(masked=True, max_message=100)
    assert list(parser.feed(frame(1, b"begin", final=False) + frame(0, bytes(50))[:20])) == []
    parser.discard()
    data = frame(0, bytes(50))[20:] + frame(1, bytes(10_000)) + frame(1, b"x") + frame(8)
    assert list(parser.feed(data)) == [Control(frame(8), 8, b"")]


messages = st.lists(
    st.tuples(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.binary(max_size=125)), max_size=6
)


@given(messages, st.booleans(), st.data())
def test_any_chunking_of_any_legal_frames_gives_the_same_messages(
    messages: list[tuple[list[bytes], bytes]], masked: bool, data: st.DataObject
) -> None:
    frames: list[bytes] = []
    for fragments, ping in messages:
        for number, fragment in enumerate(fragments):
            frames.append(frame(0 if number else 2, fragment, final=number == len(fragments) - 1, masked=masked))
            if data.draw(st.booleans()):
                frames.append(frame(9, ping, masked=masked))
    wire = b"".join(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    parser = FrameParser(masked=masked, max_message=1 << 20)
    found = [
        one for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True) for one in parser.feed(wire[start:end])
    ]
    assert [one for one in found if isinstance(one, bytes)] == [b"".join(parts) for parts, _ in messages]
    assert b"".join(one.raw for one in found if isinstance(one, Control)) == b"".join(
        raw for raw in frames if raw[0] == 0x89
    )


@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_bytes_are_messages_or_a_violation(data: bytes, chunks: int) -> None:
    for one in parse(data, most=50, chunks=chunks):
        assert isinstance(one, bytes | Control) or one[0] in (1002, 1007, 1009)  # type: ignore[index]
