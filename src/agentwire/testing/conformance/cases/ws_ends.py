"""Cases about the closing handshake of any WebSocket server."""

from __future__ import annotations

from typing import Final

from agentwire.testing.conformance.cases.ws_frames import FAULTS, LATE, NONE
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.strict import End, opened
from agentwire.testing.conformance.turns import check
from agentwire.testing.conformance.wire import CLOSE, PING, TEXT, frame

__all__ = [
    "a_close_frame_is_answered_and_ends_the_connection",
    "a_close_frame_without_a_code_is_answered",
    "a_malformed_close_frame_is_a_fault",
    "codes_that_may_be_sent_are_taken",
    "codes_that_must_not_be_sent_are_a_fault",
    "codes_that_were_registered_later_are_taken",
    "nothing_is_read_after_a_close_frame",
    "nothing_is_said_after_a_close_frame",
]

LEGAL: Final = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
REGISTERED: Final = (1012, 1013, 1014)
ILLEGAL: Final = (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535)


async def closed(peer: Peer, payload: bytes, *, before: bytes = b"", after: bytes = b"") -> End:
    """How the server ends the connection at a close frame with this payload."""
    async with opened(peer) as socket:
        socket.answers = False
        await socket.send(before + frame(CLOSE, payload) + after)
        return await socket.end()


def goodbye(code: int, reason: bytes = b"") -> bytes:
    """What is in a close frame."""
    return code.to_bytes(2, "big") + reason


@case(215, "AW-N-024")
async def a_close_frame_is_answered_and_ends_the_connection(peer: Peer) -> None:
    """Say goodbye with 1000, with a reason of 123 bytes too: a close frame comes, and then the end."""
    for reason in (b"", b"bye", b"x" * 123):
        end = await closed(peer, goodbye(1000, reason))
        check(end.code is not None, "a close frame was answered by none")
        check(end.code not in FAULTS, f"a goodbye was answered with {end.code}")
        check(not end.open, "after both close frames the server left the connection open")


@case(216, "AW-N-025")
async def a_close_frame_without_a_code_is_answered(peer: Peer) -> None:
    """Send an empty close frame."""
    end = await closed(peer, b"")
    check(end.code is not None, "an empty close frame was answered by none")
    check(end.code not in FAULTS, f"an empty close frame was answered with {end.code}")


@case(217, "AW-N-026")
async def codes_that_may_be_sent_are_taken(peer: Peer) -> None:
    """Say goodbye with every code that has a meaning, and with the edges of the free ranges."""
    for code in LEGAL:
        end = await closed(peer, goodbye(code))
        check(end.code is not None, f"{code} was answered by no close frame")
        check(end.code == code or end.code not in FAULTS, f"{code} was answered with {end.code}")


@case(222, "AW-N-034")
async def codes_that_were_registered_later_are_taken(peer: Peer) -> None:
    """Say goodbye with 1012, 1013 and 1014."""
    for code in REGISTERED:
        end = await closed(peer, goodbye(code))
        check(end.code is not None and end.code not in FAULTS, f"{code} was answered with {end.code}")


@case(218, "AW-N-027")
async def codes_that_must_not_be_sent_are_a_fault(peer: Peer) -> None:
    """Send codes that are reserved, or out of range."""
    for code in ILLEGAL:
        end = await closed(peer, goodbye(code))
        check(end.code in (None, NONE, 1002), f"the code {code}, which must not be sent, was answered with {end.code}")


@case(219, "AW-N-028")
async def a_malformed_close_frame_is_a_fault(peer: Peer) -> None:
    """Send a close frame of one byte, one whose reason is no UTF-8, and one of 126 bytes."""
    for payload, what, codes in (
        (b"\x03", "of one byte", (1002,)),
        (goodbye(1000, b"\xff\xfe"), "whose reason is no UTF-8", (1007, 1002)),
        (goodbye(1000, b"x" * 124), "of 126 bytes", (1002,)),
    ):
        end = await closed(peer, payload)
        check(end.code in (None, NONE, *codes), f"a close frame {what} was answered with {end.code}")


@case(220, "AW-N-029")
async def nothing_is_said_after_a_close_frame(peer: Peer) -> None:
    """Ask for much and say goodbye at once: after the server's close frame comes nothing."""
    asked = b"".join(frame(TEXT, b'{"type":"x"}') + frame(PING, b"%d" % number) for number in range(20))
    end = await closed(peer, goodbye(1000), before=asked)
    check(end.code is not None, "a close frame was answered by none")
    check(end.after == 0, f"{end.after} frames came after the close frame")


@case(221, "AW-N-030")
async def nothing_is_read_after_a_close_frame(peer: Peer) -> None:
    """Send a ping behind a close frame: it is not answered."""
    end = await closed(peer, goodbye(1000), after=frame(PING, LATE))
    check(LATE not in end.pongs, "a ping behind the close frame was answered")
    check(end.code not in FAULTS, f"what came behind a close frame was judged, and answered with {end.code}")
