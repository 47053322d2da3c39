"""Why the cases about the framing of any WebSocket server matter, and what to do; by the case's number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentwire.testing.conformance.advice.model import Advice

__all__ = ["FRAMING"]

FRAMING: Final[Mapping[int, Advice]] = {
    188: Advice(
        "The accept value proves that the server has read this key, and is no cache.",
        "Compute `base64(sha1(key + GUID))` for each handshake.",
    ),
    189: Advice(
        "Proxies rewrite letters and lists.",
        "Compare names and tokens without regard to case, and split lists at commas.",
    ),
    190: Advice(
        "What is no handshake must not become a socket: browsers can be made to send almost one.",
        "Check each required header before the 101.",
    ),
    191: Advice(
        "Only GET in HTTP/1.1 can be upgraded.",
        "Refuse other methods and HTTP/1.0.",
    ),
    192: Advice(
        "The client learns the right version from the answer.",
        "Answer 426 with `Sec-WebSocket-Version: 13`.",
    ),
    193: Advice(
        "A client must fail the connection if something is selected that it did not offer.",
        "Select from the offer alone, or nothing.",
    ),
    194: Advice(
        "Bytes behind the head are easily lost between the HTTP parser and the WebSocket parser.",
        "Hand what the HTTP parser has read too much to the WebSocket parser.",
    ),
    195: Advice(
        "TCP has no messages: a head may come in any pieces.",
        "Parse what has come so far, and wait for the rest.",
    ),
    196: Advice(
        "A head without bound is memory without bound.",
        "Bound the head, some 64 KiB, and refuse with 431.",
    ),
    197: Advice(
        "Half a handshake holds a connection for ever.",
        "Give the handshake a deadline.",
    ),
    198: Advice(
        "The edges of the three encodings are where parsers are wrong by one.",
        "Read 7, 16 and 64 bits of length.",
    ),
    199: Advice(
        "Two spellings of one length let a proxy and a server see different frames.",
        "Fail the connection at a length that is not the shortest.",
    ),
    200: Advice(
        "Masking protects proxies from what a page can send; an unmasked frame comes from no client.",
        "Fail with 1002.",
    ),
    201: Advice(
        "A bit without an agreed meaning means another protocol.",
        "Fail with 1002.",
    ),
    202: Advice(
        "An opcode without a meaning cannot be skipped: nobody knows what it changes.",
        "Fail with 1002.",
    ),
    203: Advice(
        "A key of zeros is rare, and legal.",
        "Do not take a zero mask for no mask.",
    ),
    204: Advice(
        "Reads end anywhere.",
        "Parse from a buffer, and take all frames that are in it.",
    ),
    205: Advice(
        "Proxies fragment, and pings come in between.",
        "Join fragments, empty ones included, and answer control frames meanwhile.",
    ),
    206: Advice(
        "Fragments out of order would be joined to the wrong message.",
        "Fail with 1002.",
    ),
    207: Advice(
        "Clients measure life with payloads of their own.",
        "Echo the ping's payload exactly, in the midst of fragments too.",
    ),
    208: Advice(
        "Some clients send pongs as heartbeats.",
        "Ignore pongs that nobody asked for.",
    ),
    209: Advice(
        "Control frames must fit between others at any time.",
        "Fail at more than 125 bytes, and at fragments.",
    ),
    210: Advice(
        "A pong for a ping that never was confuses the measurement.",
        "Answer each ping, or the latest of several.",
    ),
    211: Advice(
        "Text that is no UTF-8 would be replaced in silence.",
        "Validate across fragments, and fail with 1007.",
    ),
    212: Advice(
        "A character may be split at any byte.",
        "Decode incrementally.",
    ),
    213: Advice(
        "Clients fail the connection at a server's frame that is masked or too long in its encoding.",
        "Use a WebSocket library for what you send.",
    ),
    214: Advice(
        "One bad client must not be everybody's fault.",
        "Contain a failure in its connection.",
    ),
    215: Advice(
        "Without the answer the client waits for its timeout at every goodbye.",
        "Answer a close frame with a close frame, then end the connection.",
    ),
    216: Advice(
        "A code is optional.",
        "Answer an empty close frame, too.",
    ),
    217: Advice(
        "Applications use the range from 3000 on, and clients close with it.",
        "Accept every code that may be sent.",
    ),
    218: Advice(
        "Reserved codes are signs between a library and its user, and never on the wire.",
        "Answer them with 1002.",
    ),
    219: Advice(
        "A broken close frame is a broken peer.",
        "Answer with 1002, or 1007 for the reason's text.",
    ),
    220: Advice(
        "A client has stopped reading: what comes later is lost or confuses it.",
        "Stop the writer before the close frame is sent.",
    ),
    221: Advice(
        "After its close frame a client says nothing that counts.",
        "Stop reading at a close frame.",
    ),
    222: Advice(
        "Proxies and servers use them at every restart.",
        "Accept 1012 to 1014 like the others.",
    ),
    227: Advice(
        "A client that is told nothing takes its own mistake for a broken network, and makes it again.",
        "Send a close frame with 1002 or 1007 and a reason before the connection is ended.",
    ),
}
