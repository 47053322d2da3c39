"""Rules about how a connection begins, and about what may be in its frames."""

from __future__ import annotations

from typing import Final

from agentwire.testing.conformance.rules.model import Maker, Topic

__all__ = ["FRAMES", "HANDSHAKE"]

_h = Maker("H")

HANDSHAKE: Final = Topic(
    "H",
    "Handshake",
    (
        _h.must(
            1,
            "A GET on the responses resource (`/v1/responses`) that asks for an upgrade to `websocket`, version 13, "
            "is answered with 101: the same path as that of POST, over `ws` or `wss`.",
            "guide",
            "rfc6455",
        ),
        _h.must(2, "The 101 proves with `Sec-WebSocket-Accept` that the server has read the key.", "rfc6455"),
        _h.must(
            3,
            "Who asks is told by `Authorization: Bearer KEY` on the upgrade request; nothing else is needed.",
            "guide",
        ),
        _h.should(
            4,
            "A missing or unknown key is a 401 in answer to the upgrade, with a JSON error, and not a socket that "
            "opens and closes: clients show the status.",
            "clients",
            "ours",
        ),
        _h.should(5, "Query parameters that the server does not know are ignored.", "clients"),
        _h.must(
            6,
            "`Accept` and `Content-Type: application/json` on the upgrade's GET, and the absence of `Origin`, are no "
            "hindrance.",
            "clients",
        ),
        _h.should(
            7, "Any value of `OpenAI-Beta` is accepted, and none is needed for what this table says.", "clients", "ours"
        ),
        _h.should(
            8,
            "Headers that a client sends for its own purposes (`originator`, `session_id`, `x-codex-...`, "
            "`x-stainless-...`) are ignored.",
            "clients",
        ),
        _h.should(
            9,
            "No subprotocol is required, and of those that a client offers none is selected.",
            "guide",
            "ours",
        ),
        _h.must(
            10,
            "An offer of permessage-deflate may be accepted or declined; what was not agreed is not used.",
            "rfc6455",
            "clients",
        ),
        _h.choice(11, "The answer to an upgrade has an `x-request-id`."),
        _h.must(
            12,
            "An upgrade to a version of the WebSocket protocol other than 13 is refused with 426, which names 13 in "
            "`Sec-WebSocket-Version`.",
            "rfc6455",
        ),
        _h.should(
            13,
            "A GET on the resource without an upgrade is a 426 that names `websocket` in `Upgrade`.",
            "rfc9110",
            "ours",
        ),
        _h.should(14, "An upgrade on a path where there is no such resource is a 404.", "rfc9110"),
        _h.choice(
            15,
            "A server that has as many connections as it may have answers an upgrade with 503 and `Retry-After`: no "
            "event's code says so without being misread.",
            proof="tests/server/test_socket_door.py::test_connections_are_bounded",
        ),
        _h.choice(
            16,
            "The same resource is served at `/v1/codex/responses`, because clients exist that add this to a base URL.",
            "clients",
        ),
        _h.choice(
            17,
            "Compression is an option of the server, and off unless it is asked for: it costs much for each small "
            "frame.",
            departure="It is no option yet, and always off: every offer is declined, which all clients take well.",
        ),
        _h.should(
            18,
            "A page from anywhere opens no socket: an upgrade with a browser's `Origin` that was not allowed is "
            "refused, best with 403.",
            "rfc6455",
            "field",
            "ours",
        ),
    ),
)

_f = Maker("F")

FRAMES: Final = Topic(
    "F",
    "Frames",
    (
        _f.must(
            1,
            "Every message of the server is a text message that holds one JSON object: clients drop a binary one, or "
            "take it for a fatal error.",
            "guide",
            "clients",
        ),
        _f.choice(
            2, "A binary message of the client is read as UTF-8 JSON, or refused with an `error` event of status 400."
        ),
        _f.must(3, "A text message that is not UTF-8 closes the connection with 1007.", "rfc6455"),
        _f.must(
            4,
            "A ping is answered by a pong with the same payload, in the midst of a response as well: clients give a "
            "connection up after 20 s without it.",
            "rfc6455",
            "clients",
        ),
        _f.must(5, "A message that comes in fragments, with control frames between them, is one message.", "rfc6455"),
        _f.must(
            6, "A frame of the client that is not masked fails the connection, with 1002 if it says why.", "rfc6455"
        ),
        _f.must(
            7,
            "A frame with reserved bits or a reserved opcode fails the connection, with 1002 if it says why.",
            "rfc6455",
        ),
        _f.should(
            8,
            "A message of more than 16 MiB closes the connection with 1009 and without an `error` event (the hosted "
            "service takes even 16 MiB for too much); servers may set another bound.",
            "observed",
            "ours",
        ),
        _f.should(9, "A message just within the bound is served.", "observed", "ours"),
        _f.choice(
            10,
            "A peer that is silent for 20 s is pinged, and cut off after 60 s without a sign of life; nothing that "
            "the protocol promises depends on the client's answer to any one ping.",
        ),
        _f.choice(
            11,
            "While a response runs and has nothing to say, a `keepalive` event comes every 15 to 30 s as a data "
            "frame: some clients count no control frame as a sign of life.",
            "observed",
        ),
    ),
)
