"""Why the cases about HTTP, stored responses and the end matter, and what to do; by the case's number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentwire.testing.conformance.advice.model import Advice

__all__ = ["HTTP"]

HTTP: Final[Mapping[int, Advice]] = {
    131: Advice(
        "Clients that say nothing rely on being able to come back.",
        "Store unless `store` is false, on both transports, and give back what was said.",
    ),
    132: Advice(
        "What was not to be stored must not be there.",
        "Answer 404 to both alike.",
    ),
    133: Advice(
        "Somebody has asked for it to be gone.",
        "Delete it with everything that continues it by id, and answer 404 from then on.",
    ),
    134: Advice(
        "Dashboards and recoveries page through the input.",
        "Latest first, 20 at a time, with `after`, `order` and `limit`, and stable ids.",
    ),
    135: Advice(
        "A record that is in progress for ever is polled for ever.",
        "End the record when the turn is cut off, or remove it.",
    ),
    136: Advice(
        "`Accept` is set by libraries, and says nothing.",
        "Stream if, and only if, the body says `stream: true`.",
    ),
    137: Advice(
        "Over HTTP a lane would be ignored in silence.",
        "Refuse `stream_id` with `unknown_parameter`.",
    ),
    138: Advice(
        "Clients decide by it when to compact.",
        "Count with the model's tokenizer, or a fair estimate, at `input_tokens`.",
    ),
    139: Advice(
        "A 404 for a wrong method sends people to look for the wrong fault.",
        "Answer 405 with `Allow`.",
    ),
    140: Advice(
        "A 500 is retried; a 400 is mended.",
        "Answer 400 with the nested error.",
    ),
    141: Advice(
        "Parsers of event streams are line by line, and proxies buffer what they may.",
        "`event:` and `data:` lines, `[DONE]` at the end, `Cache-Control: no-cache` and `X-Accel-Buffering: no`.",
    ),
    142: Advice(
        "A stream that just ends is read as a complete answer, or retried.",
        "Send `error`, then `response.failed`; without a stream, answer with the error's status.",
    ),
    143: Advice(
        "The client goes away and comes back for the answer.",
        "Answer at once, run the turn in the server's own scope, and store it.",
    ),
    144: Advice(
        "Without a record nobody could ask for it.",
        "Refuse `background` with `store: false`.",
    ),
    145: Advice(
        "A job that cannot be cancelled costs money until it ends.",
        "Cancel the turn, answer with the response, and let it be said again.",
    ),
    146: Advice(
        "Somebody else's connection is not to be ended from here.",
        "Refuse with 400, and 404 for what is not there.",
    ),
    147: Advice(
        "Long answers outlive connections.",
        "Keep the events of background streams, and give those after `starting_after`, then the live ones.",
    ),
    148: Advice(
        "The events of other responses are not kept.",
        "Refuse with 400.",
    ),
    149: Advice(
        "Clients tell a clean end from a broken one by the code.",
        "Echo the client's close code, and wait for nothing.",
    ),
    150: Advice(
        "A cut without a word in the midst of a turn is a lost turn.",
        "Say `websocket_connection_limit_reached`, let turns end, and close with 1001.",
    ),
    151: Advice(
        "Mobile clients vanish all the time.",
        "Tie everything to the connection's scope, and touch nothing outside of it.",
    ),
    152: Advice(
        "Agents wait minutes for a tool, and come back to the same connection.",
        "Judge a peer by its pongs, not by its requests.",
    ),
}
