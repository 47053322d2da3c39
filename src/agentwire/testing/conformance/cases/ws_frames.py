"""Cases about the frames of any WebSocket server: what is taken, and what fails the connection."""

from __future__ import annotations

from typing import Final

from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.strict import StrictSocket, opened
from agentwire.testing.conformance.turns import check
from agentwire.testing.conformance.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from agentwire.transport.frames import unmask

__all__ = [
    "a_character_may_be_split",
    "a_fault_is_named_by_its_code",
    "a_faulty_connection_harms_no_other",
    "a_mask_of_zeros_is_a_mask",
    "a_pong_that_nobody_asked_for_is_no_fault",
    "control_frames_are_short_and_whole",
    "every_frame_of_a_client_is_masked",
    "every_length_is_read",
    "fragments_are_a_message_with_control_frames_between",
    "fragments_out_of_order_fail_the_connection",
    "frames_may_be_cut_anywhere",
    "lengths_are_encoded_in_the_shortest_way",
    "pings_are_answered_whatever_they_hold",
    "reserved_bits_fail_the_connection",
    "reserved_opcodes_fail_the_connection",
    "several_pings_are_answered_in_order",
    "text_must_be_utf8",
    "the_servers_frames_are_as_they_must_be",
]

PROTOCOL: Final = 1002
FAULTS: Final = (1002, 1007, 1009)
LATE: Final = b"late"
NONE: Final = 1005
"""Stands for a close frame without a code."""


def text_of(size: int) -> bytes:
    """A text of so many bytes that is a JSON object where that is possible."""
    bare = b'{"type":""}'
    return b'{"type":"%b"}' % (b"x" * (size - len(bare))) if size >= len(bare) else b"{}"[: size % 3]


async def fails(peer: Peer, data: bytes, what: str, *codes: int, at_once: bool = True) -> None:
    """These bytes end the connection, with one of these codes or without any; nothing behind them is read."""
    async with opened(peer) as socket:
        await socket.send(data + frame(PING, LATE))
        end = await socket.end()
        check(not end.open, f"{what} did not end the connection")
        check(end.code in (None, NONE, *codes), f"{what} ended the connection with {end.code}, and not {codes[0]}")
        check(not at_once or LATE not in end.pongs, f"what came after {what} was read")


async def taken(socket: StrictSocket, data: bytes, what: str) -> None:
    """These bytes are no fault."""
    await socket.send(data)
    await socket.alive(what)


async def returned(socket: StrictSocket, data: bytes, message: bytes, what: str) -> None:
    """These bytes are no fault, and what they say comes back whole if the server is one that echoes."""
    echoes = await socket.echoes()
    socket.messages.clear()
    await taken(socket, data, what)
    if echoes:
        check(await socket.heard(message), f"{what} came back as {b''.join(socket.messages)[:80]!r}")


@case(198, "AW-N-009")
async def every_length_is_read(peer: Peer) -> None:
    """Send texts and binary messages of 0, 1, 125, 126, 127, 128, 65535 and 65536 bytes."""
    async with opened(peer) as socket:
        for size in (0, 1, 125, 126, 127, 128, 65535, 65536):
            message = text_of(size)
            await returned(socket, frame(TEXT, message), message, f"a text of {len(message)} bytes")
            await taken(socket, frame(BINARY, message), f"a binary message of {len(message)} bytes")


@case(199, "AW-N-010")
async def lengths_are_encoded_in_the_shortest_way(peer: Peer) -> None:
    """Encode a length of 2 in 16 bits and in 64, and one of 300 in 64; then set the highest bit."""
    for size, flag, width in ((2, 126, 2), (2, 127, 8), (300, 127, 8)):
        head = bytes((0x80 | TEXT, 0x80 | flag)) + size.to_bytes(width, "big") + bytes(4)
        await fails(peer, head + text_of(size).ljust(size), f"a length of {size} in {width * 8} bits", PROTOCOL)
    head = bytes((0x80 | TEXT, 0x80 | 127)) + (1 << 63 | 2).to_bytes(8, "big") + bytes(4)
    await fails(peer, head + b"{}", "a length with its highest bit set", PROTOCOL, 1009)


@case(200, "AW-N-011")
async def every_frame_of_a_client_is_masked(peer: Peer) -> None:
    """Send a text, a ping and a close frame without a mask."""
    for opcode, name in ((TEXT, "text"), (PING, "ping"), (CLOSE, "close frame")):
        payload = b"\x03\xe8" if opcode == CLOSE else b"{}"
        await fails(peer, frame(opcode, payload, masked=False), f"an unmasked {name}", PROTOCOL)


@case(201, "AW-N-012")
async def reserved_bits_fail_the_connection(peer: Peer) -> None:
    """Set each of the three bits on a text, on a ping, and on a continuation."""
    for bit in (0x40, 0x20, 0x10):
        await fails(peer, frame(TEXT, b"{}", reserved=bit), f"a text with bit {bit:#x}", PROTOCOL)
        await fails(peer, frame(PING, b"x", reserved=bit), f"a ping with bit {bit:#x}", PROTOCOL)
    begun = frame(TEXT, b"{", final=False)
    await fails(peer, begun + frame(CONTINUATION, b"}", reserved=0x40), "a continuation with bit 0x40", PROTOCOL)


@case(202, "AW-N-013")
async def reserved_opcodes_fail_the_connection(peer: Peer) -> None:
    """Send frames with the opcodes 3 to 7 and 11 to 15."""
    for opcode in (*range(3, 8), *range(11, 16)):
        await fails(peer, frame(opcode, b"x"), f"opcode {opcode}", PROTOCOL)


@case(203, "AW-N-014")
async def a_mask_of_zeros_is_a_mask(peer: Peer) -> None:
    """Send a text whose masking key is four zeros."""
    message = text_of(20)
    async with opened(peer) as socket:
        data = bytes((0x80 | TEXT, 0x80 | len(message))) + bytes(4) + unmask(message, bytes(4))
        await returned(socket, data, message, "a mask of zeros")


@case(204, "AW-N-015")
async def frames_may_be_cut_anywhere(peer: Peer) -> None:
    """Send a text byte by byte, then many frames in one piece."""
    message = text_of(200)
    async with opened(peer) as socket:
        data = frame(TEXT, message)
        await socket.echoes()
        await socket.send(data[:-1], drip=True)
        await returned(socket, data[-1:], message, "a text byte by byte")
        many = b"".join(frame(PING, b"%d" % number) for number in range(20))
        await taken(socket, many + frame(TEXT, message) * 3, "many frames in one piece")


@case(205, "AW-N-016")
async def fragments_are_a_message_with_control_frames_between(peer: Peer) -> None:
    """Send a text in fragments, some of them empty, with pings and pongs between them; then one in 100 fragments."""
    message = text_of(60)
    async with opened(peer) as socket:
        data = (
            frame(TEXT, message[:20], final=False)
            + frame(PING, b"between")
            + frame(CONTINUATION, b"", final=False)
            + frame(PONG, b"nobody asked")
            + frame(CONTINUATION, message[20:40], final=False)
            + frame(CONTINUATION, message[40:])
        )
        await returned(socket, data, message, "a text in fragments")
        check(b"between" in socket.pongs, "a ping between fragments was not answered")
        empty = frame(TEXT, b"", final=False) + frame(CONTINUATION, message, final=False) + frame(CONTINUATION, b"")
        await returned(socket, empty, message, "a text whose first and last fragments are empty")
        long = text_of(1100)
        parts = [long[at : at + 11] for at in range(0, 1100, 11)]
        sent = frame(TEXT, parts[0], final=False) + b"".join(
            frame(CONTINUATION, part, final=number == len(parts) - 2) for number, part in enumerate(parts[1:])
        )
        await returned(socket, sent, long, "a text in 100 fragments")


@case(206, "AW-N-017")
async def fragments_out_of_order_fail_the_connection(peer: Peer) -> None:
    """Continue what was not begun, and begin a message within another one."""
    begun = frame(TEXT, b"{", final=False)
    await fails(peer, frame(CONTINUATION, b"{}"), "a continuation of nothing", PROTOCOL)
    await fails(peer, frame(CONTINUATION, b"{}", final=False), "an unfinished continuation of nothing", PROTOCOL)
    await fails(peer, begun + frame(TEXT, b"{}"), "a text within a text", PROTOCOL)
    await fails(peer, begun + frame(BINARY, b"{}", final=False), "a binary message within a text", PROTOCOL)
    whole = frame(TEXT, b"{}") + frame(CONTINUATION, b"{}")
    await fails(peer, whole, "a continuation of a message that had ended", PROTOCOL)


@case(207, "AW-N-018")
async def pings_are_answered_whatever_they_hold(peer: Peer) -> None:
    """Ping with 0, 1 and 125 bytes, with bytes that are no text, and within a fragmented message."""
    async with opened(peer) as socket:
        for payload in (b"", b"x", b"y" * 125, bytes(range(100))):
            before = len(socket.pongs)
            await taken(socket, frame(PING, payload), f"a ping of {len(payload)} bytes")
            told = socket.pongs[before:]
            check(payload in told, f"a ping of {len(payload)} bytes was answered with {told}")
        await taken(socket, frame(TEXT, b"{", final=False), "the beginning of a text")
        await taken(socket, frame(CONTINUATION, b"}"), "the end of a text")


@case(208, "AW-N-019")
async def a_pong_that_nobody_asked_for_is_no_fault(peer: Peer) -> None:
    """Send pongs, empty and with a payload."""
    async with opened(peer) as socket:
        await taken(socket, frame(PONG, b"") + frame(PONG, b"unasked"), "a pong that nobody asked for")


@case(209, "AW-N-020")
async def control_frames_are_short_and_whole(peer: Peer) -> None:
    """Send a ping and a pong of 126 bytes, and a ping and a close frame in fragments."""
    await fails(peer, frame(PING, b"x" * 126), "a ping of 126 bytes", PROTOCOL)
    await fails(peer, frame(PONG, b"x" * 126), "a pong of 126 bytes", PROTOCOL)
    await fails(peer, frame(PING, b"x", final=False), "a ping in fragments", PROTOCOL)
    await fails(peer, frame(CLOSE, b"\x03\xe8", final=False), "a close frame in fragments", PROTOCOL)


@case(210, "AW-N-021")
async def several_pings_are_answered_in_order(peer: Peer) -> None:
    """Send ten pings at once."""
    payloads = [b"ping %d" % number for number in range(10)]
    async with opened(peer) as socket:
        await socket.send(b"".join(frame(PING, payload) for payload in payloads))
        await socket.answered(payloads[-1], "the last of ten pings at once")
        await socket.alive("ten pings at once")
        told = [pong for pong in socket.pongs if pong.startswith(b"ping")]
        check(told == [payload for payload in payloads if payload in told], f"ten pings were answered with {told}")
        check(len(socket.pongs) <= len(payloads) + 1, "there are more pongs than pings")


BAD_TEXT: Final = {
    "a byte that no character has": b"\xff",
    "a continuation byte alone": b"\x80",
    "an overlong form": b"\xc0\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "a code point beyond the last": b"\xf4\x90\x80\x80",
    "half a character": b"\xc3",
}


@case(211, "AW-N-022")
async def text_must_be_utf8(peer: Peer) -> None:
    """Send texts that are no UTF-8, in one frame, and in two of which the second spoils a character of the first."""
    for name, spoilt in BAD_TEXT.items():
        await fails(peer, frame(TEXT, b'{"a":"' + spoilt + b'"}'), f"text with {name}", 1007, at_once=False)
    await fails(peer, frame(TEXT, b'{"a":"\xc3'), "text that ends with half a character", 1007, at_once=False)
    split = frame(TEXT, b'{"a":"\xc3', final=False) + frame(CONTINUATION, b'\xc3"}')
    await fails(peer, split, "text whose second fragment spoils a character", 1007, at_once=False)


@case(227, "AW-N-035")
async def a_fault_is_named_by_its_code(peer: Peer) -> None:
    """Send an unmasked frame, a reserved opcode, and text that is no UTF-8: the close frame says which fault it was."""
    for data, code, what in (
        (frame(TEXT, b"{}", masked=False), PROTOCOL, "an unmasked text"),
        (frame(0x3, b"x"), PROTOCOL, "a reserved opcode"),
        (frame(TEXT, b"\xff"), 1007, "text that is no UTF-8"),
    ):
        async with opened(peer) as socket:
            await socket.send(data)
            end = await socket.end()
            check(end.code == code, f"{what} ended the connection {end}, and not with {code}")


@case(212, "AW-N-023")
async def a_character_may_be_split(peer: Peer) -> None:
    """Split a text within characters of two, three and four bytes."""
    message = '{"type":"ü€😀"}'.encode()
    async with opened(peer) as socket:
        for at in range(9, len(message) - 2):
            data = frame(TEXT, message[:at], final=False) + frame(CONTINUATION, message[at:])
            await returned(socket, data, message, f"a text that is split at byte {at}")


@case(213, "AW-N-031")
async def the_servers_frames_are_as_they_must_be(peer: Peer) -> None:
    """Have the server say something: pongs, whatever it says to messages of several sizes, and a goodbye."""
    async with opened(peer) as socket:
        for size in (100, 200, 70_000):
            await taken(socket, frame(PING, b"z" * 125) + frame(TEXT, text_of(size)), f"a text of {size} bytes")
        await socket.send(frame(CLOSE, b"\x03\xe8"))
        await socket.end()


@case(214, "AW-N-032")
async def a_faulty_connection_harms_no_other(peer: Peer) -> None:
    """Let connections fail, and cut some off in the midst of a frame, while another one is open."""
    async with opened(peer) as other:
        for data in (frame(TEXT, b"{}", masked=False), frame(0x3, b""), frame(TEXT, b"\xff"), frame(PING, b"x" * 126)):
            async with opened(peer) as socket:
                await socket.send(data)
            async with opened(peer) as socket:
                await socket.send(frame(TEXT, text_of(1000))[:500])
        await other.alive("a quiet connection")
        async with opened(peer) as socket:
            await socket.alive("a new connection")
