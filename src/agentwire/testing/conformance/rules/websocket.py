"""Rules about the WebSocket itself, which hold for any server of RFC 6455, whatever is said on it."""

from __future__ import annotations

from typing import Final

from agentwire.testing.conformance.rules.model import Maker, Topic

__all__ = ["WEBSOCKET"]

_n = Maker("N")

WEBSOCKET: Final = Topic(
    "N",
    "WebSocket",
    (
        # the opening handshake
        _n.must(
            1,
            "A correct upgrade is answered with 101, `Upgrade: websocket`, `Connection: Upgrade`, and the "
            "`Sec-WebSocket-Accept` that belongs to the key (section 4.2.2).",
            "rfc6455",
        ),
        _n.must(
            2,
            "Names and values in the handshake that are case-insensitive are read as such, and lists as lists: "
            "`connection: keep-alive, UPGRADE` asks for an upgrade (section 4.2.1).",
            "rfc6455",
        ),
        _n.must(
            3,
            "A request that lacks `Upgrade`, `Connection: Upgrade`, the key, or a key of 16 bytes in base64 is not "
            "answered with 101 (section 4.2.1).",
            "rfc6455",
        ),
        _n.must(
            4,
            "An upgrade by another method than GET, or in HTTP/1.0, is not answered with 101 (section 4.1).",
            "rfc6455",
        ),
        _n.must(
            5,
            "Another version than 13 is not answered with 101; the answer names 13 in `Sec-WebSocket-Version`, and is "
            "best a 426 (section 4.4).",
            "rfc6455",
        ),
        _n.must(
            6,
            "No subprotocol and no extension is selected that the client has not offered (section 4.2.2).",
            "rfc6455",
        ),
        _n.should(
            7,
            "A client has to wait for the answer (section 4.1); one that does not is refused, or what it has sent is "
            "read: nothing is lost in silence.",
            "rfc6455",
            "ours",
        ),
        _n.should(8, "A handshake that comes byte by byte is read as one that comes at once.", "rfc6455", "ours"),
        # frames
        _n.must(
            9,
            "Payload lengths are read in all three encodings, at their edges: 0, 125, 126, 127, 65535, 65536 "
            "(section 5.2).",
            "rfc6455",
        ),
        _n.should(
            10,
            "A length that is not encoded in the shortest way, or has the highest bit of its 64 set, fails the "
            "connection (section 5.2).",
            "rfc6455",
        ),
        _n.must(
            11, "An unmasked frame of a client fails the connection, with 1002 if with a code (section 5.1).", "rfc6455"
        ),
        _n.must(
            12,
            "Reserved bits that no extension has explained fail the connection, in data and in control frames "
            "(section 5.2).",
            "rfc6455",
        ),
        _n.must(13, "Reserved opcodes, 3 to 7 and 11 to 15, fail the connection (section 5.2).", "rfc6455"),
        _n.must(14, "A mask of zeros is a mask like any other (section 5.3).", "rfc6455"),
        _n.must(15, "Frames are read wherever their bytes are cut, and however many come at once.", "rfc6455"),
        # fragments
        _n.must(
            16,
            "A message is read from its fragments, empty ones among them, with control frames in between "
            "(section 5.4).",
            "rfc6455",
        ),
        _n.must(
            17,
            "A continuation without a beginning, and a new message within one that has not ended, fail the connection "
            "(section 5.4).",
            "rfc6455",
        ),
        # control frames
        _n.must(
            18,
            "A ping is answered by a pong with the same payload, up to 125 bytes, in the midst of a fragmented message "
            "as well (section 5.5.2).",
            "rfc6455",
        ),
        _n.must(19, "A pong that nobody asked for is no fault (section 5.5.3).", "rfc6455"),
        _n.must(
            20,
            "A control frame of more than 125 bytes, or one in fragments, fails the connection (section 5.5).",
            "rfc6455",
        ),
        _n.must(
            21,
            "Of several pings the latest is answered, and no pong has a payload that was not asked for "
            "(section 5.5.3).",
            "rfc6455",
        ),
        # text
        _n.must(
            22,
            "Text that is not UTF-8 fails the connection, with 1007 if with a code: also where a fragment ends within "
            "a character, and for overlong forms and surrogates (section 8.1).",
            "rfc6455",
        ),
        _n.must(23, "A character that is split over two fragments is no fault (section 8.1).", "rfc6455"),
        # the end
        _n.must(
            24,
            "A close frame is answered by a close frame, and the server ends the connection (sections 5.5.1, 7.1.1).",
            "rfc6455",
        ),
        _n.must(25, "A close frame without a code is answered, too (section 7.1.5).", "rfc6455"),
        _n.must(
            26,
            "Codes that may be sent, 1000 to 1003, 1007 to 1011, 3000 to 4999, are answered as a goodbye "
            "(section 7.4).",
            "rfc6455",
        ),
        _n.should(
            27,
            "Codes that must not be sent (below 1000, 1004, 1005, 1006, 1015 and other reserved ones, 5000 and more) "
            "are a fault (section 7.4).",
            "rfc6455",
        ),
        _n.should(
            28,
            "A close frame of one byte, with a reason that is not UTF-8, or of more than 125 bytes is a fault "
            "(sections 5.5.1 and 8.1).",
            "rfc6455",
        ),
        _n.must(29, "Nothing comes after the server's close frame (section 5.5.1).", "rfc6455"),
        _n.must(30, "What a client sends after its close frame is not read (section 5.5.1).", "rfc6455"),
        _n.must(
            31,
            "The server's own frames are unmasked, have no reserved bits but agreed ones, the shortest length, and "
            "whole control frames of at most 125 bytes (sections 5.1, 5.2 and 5.5).",
            "rfc6455",
        ),
        _n.must(
            32,
            "A connection that has failed, or was cut off, leaves the others and the server as they were.",
            "rfc6455",
            "ours",
        ),
        _n.should(
            33,
            "A handshake that never ends, and a head of 1 MiB and more, do not hold a connection for ever.",
            "ours",
            "field",
        ),
        _n.should(
            34,
            "Codes that were registered since, 1012 to 1014, are answered as a goodbye (IANA, WebSocket Close Code "
            "Number Registry).",
            "rfc6455",
            "ours",
        ),
        _n.should(
            35,
            "A connection that fails says why in a close frame: 1002 for the framing, 1007 for text (section 7.1.7).",
            "rfc6455",
            "field",
        ),
    ),
)
