"""Why the cases about handshake and frames matter, and what to do; by the case's number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentwire.testing.conformance.advice.model import Advice

__all__ = ["OPENING"]

OPENING: Final[Mapping[int, Advice]] = {
    1: Advice(
        "It is the door. A client that cannot open it falls back to HTTP at best, and retries for minutes at worst.",
        "Serve the upgrade on the same path as `POST`, on both `ws` and `wss`, and ask for no header but "
        "`Authorization`.",
    ),
    2: Advice(
        "A socket that opens and then closes hides the reason: clients show the status of a refused upgrade, "
        "and retry a close.",
        'Check the key before the upgrade is answered, and answer 401 with `{"error": {...}}`.',
    ),
    3: Advice(
        "Gateways and SDKs add parameters such as `api-version` to every URL.",
        "Ignore query parameters that you do not know, on the upgrade as well.",
    ),
    4: Advice(
        "HTTP libraries put their defaults on the upgrade, too; a strict check refuses honest clients.",
        "Do not look at `Accept` and `Content-Type` of a GET, and let clients without `Origin` in.",
    ),
    5: Advice(
        "Clients send dates there that change from release to release.",
        "Take any value of `OpenAI-Beta`, and none.",
    ),
    6: Advice(
        "Every SDK and agent has headers of its own, and adds more.",
        "Ignore headers that you have no use for; set no allow-list.",
    ),
    7: Advice(
        "A server that selects one breaks clients that did not expect an answer, and requiring one locks the "
        "others out.",
        "Leave `Sec-WebSocket-Protocol` out of the 101.",
    ),
    8: Advice(
        "Frames that are compressed without agreement cannot be read.",
        "Decline `permessage-deflate`, or answer with it alone and use it only then. Declining saves some 300"
        " KiB a connection.",
    ),
    9: Advice(
        "It is what a person quotes when something went wrong.",
        "Set `x-request-id` on the 101 and on every HTTP answer, and log it.",
    ),
    10: Advice(
        "The client learns from the answer which version to speak.",
        "Answer 426 with `Sec-WebSocket-Version: 13`. Most WebSocket libraries need to be told.",
    ),
    11: Advice(
        "A 426 at once lets clients switch to HTTP in a millisecond; 404, 400 and silence cost them seconds "
        "of retries.",
        "Answer a GET without an upgrade with 426 and `Upgrade: websocket`.",
    ),
    12: Advice(
        "A socket that opens anywhere hides a wrong base URL until the first request is lost.",
        "Route upgrades by path as you route requests, and answer 404 elsewhere.",
    ),
    13: Advice(
        "One agent client adds this to whatever base URL it was given.",
        "Serve the same resource there, or document another base URL for that client.",
    ),
    14: Advice(
        "Clients drop binary messages, or take them for the end.",
        "Send each event as one text message of one JSON object, never two, and never as binary.",
    ),
    15: Advice(
        "Some WebSocket libraries send binary unless told otherwise.",
        "Read the payload as UTF-8 JSON, or refuse it with an `error` event and go on.",
    ),
    16: Advice(
        "Text that is not UTF-8 is a fault of the framing; what came of it would be guessed.",
        "Let your WebSocket library close with 1007, and do not decode with replacement characters.",
    ),
    17: Advice(
        "Clients give a connection up after 20 s without a pong, and healthy long thinking dies of it.",
        "Read from the socket in a task of its own, always, also while a response runs.",
    ),
    18: Advice(
        "Proxies cut messages into fragments where they like.",
        "Join fragments before decoding, and answer control frames between them.",
    ),
    19: Advice(
        "An unmasked frame comes from no WebSocket client; reading it opens the door to cache poisoning.",
        "Fail the connection with 1002.",
    ),
    20: Advice(
        "What is not understood must not be guessed.",
        "Fail the connection with 1002 at reserved bits and opcodes.",
    ),
    21: Advice(
        "Without a bound one message fills the memory; with a silent one nobody knows why the connection broke.",
        "Bound messages at 16 MiB or more, since images come as base64, and close with 1009.",
    ),
    22: Advice(
        "A peer behind a dead NAT says nothing, and holds memory and a slot for ever.",
        "Ping after 20 s of silence, and cut off after 60 s without a sign of life. Any frame is one.",
    ),
    23: Advice(
        "Some clients and proxies count data alone as life, and cut a model that thinks for minutes.",
        'Send `{"type": "keepalive"}` every 15 to 30 s while a response is silent, with the next `sequence_number`.',
    ),
    224: Advice(
        "A browser lets every page open a WebSocket to a user's own machine, and only `Origin` says which page it is.",
        "Refuse an upgrade whose `Origin` is not on a list, with 403; requests without one are no browser's.",
    ),
    225: Advice(
        "Without a bound the server dies of its connections, and with a silent one clients storm.",
        "Answer 503 with `Retry-After` before the upgrade, and let go of the place when a connection ends.",
    ),
}
