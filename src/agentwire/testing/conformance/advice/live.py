"""Why the cases about the model server behind it, shutdown and restart matter, and what to do; by the case's number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentwire.testing.conformance.advice.model import Advice

__all__ = ["LIVE"]

LIVE: Final[Mapping[int, Advice]] = {
    153: Advice(
        "A model that writes for nobody costs money and a slot.",
        "Read from the socket while you write to it, and cancel the upstream request when the client is gone.",
    ),
    154: Advice(
        "While the model is silent nothing is written, so nothing fails: only a reader notices.",
        "Keep a reader on the socket all the time, and cancel from there.",
    ),
    155: Advice(
        "A polite goodbye is a goodbye.",
        "Cancel on a close frame at once, and do not wait for the turn.",
    ),
    156: Advice(
        "Each lane has an upstream request of its own.",
        "Give the connection one scope for all its turns.",
    ),
    157: Advice(
        "Event streams are left as often as sockets.",
        "Watch for the client's disconnect while the model is silent.",
    ),
    158: Advice(
        "Nobody will read the whole, either.",
        "Watch the connection also when nothing is streamed.",
    ),
    159: Advice(
        "Half an answer that is told as complete is believed, and stored.",
        "Take a reset for a failure, even after the last word, as long as the formal end is missing.",
    ),
    160: Advice(
        "A clean end of the connection is not the end of the answer.",
        "Complete only at the API's own end: `[DONE]`, `finish_reason`, or a terminal event.",
    ),
    161: Advice(
        "Skipping what cannot be read drops words.",
        "End the response with one failure at the first event that makes no sense.",
    ),
    162: Advice(
        "The model server has said what is wrong; the client needs to hear it.",
        "Map its error event to one `error` and `response.failed`.",
    ),
    163: Advice(
        "Turns of other lanes have nothing to do with it.",
        "Contain a failure in its turn's task.",
    ),
    164: Advice(
        "Without the status and `retry-after` clients retry at once, or never.",
        "Pass 429 and `retry-after` on as this turn's error, and keep the connection.",
    ),
    165: Advice(
        "A session must not end because one turn was refused.",
        "Fail the turn, evict its parent as for any failure, and take the next one.",
    ),
    166: Advice(
        "Retries on every floor multiply into storms.",
        "Retry in one place, a few times, with pauses.",
    ),
    167: Advice(
        "A model that is sent something else answers something else: memory must be invisible.",
        "Build the request from the same items, however they came.",
    ),
    168: Advice(
        "What was stored on one transport is continued on another.",
        "Store the whole context, and read it in one place.",
    ),
    169: Advice(
        "The refusal must cost nothing.",
        "Resolve the parent before the model is asked.",
    ),
    170: Advice(
        "The warm-up's message is a part of the conversation.",
        "Send its items with the first real turn, once.",
    ),
    171: Advice(
        "The model has to see how far it had come, and what was said to it.",
        "Put the finished items and the steer into the successor's input.",
    ),
    172: Advice(
        "A client that does not read fills the memory of the server with everybody else's.",
        "Bound what waits for a socket in bytes, and stop reading from the model server when it is reached.",
    ),
    173: Advice(
        "The same over HTTP.",
        "Write with back pressure, and read upstream only when the writer has room.",
    ),
    174: Advice(
        "One slow reader must not be everybody's.",
        "Give every connection a writer of its own.",
    ),
    175: Advice(
        "A client that never reads holds a model server's slot for ever.",
        "Give a connection up that makes no progress in writing within a deadline.",
    ),
    176: Advice(
        "Clients give up a connection that answers no ping.",
        "Answer control frames in the reader's task, whatever the turn does.",
    ),
    177: Advice(
        "A silent model must only be silent for those who asked it.",
        "Run turns in tasks of their own.",
    ),
    178: Advice(
        "A socket that is open and says nothing for ever is the most common report from the field.",
        "Bound the time to the first event and between two, and say so with one failure.",
    ),
    179: Advice(
        "An abandoned answer that is read by the next request is off by one for the rest of the connection.",
        "Bind every upstream answer to its turn, and close the upstream connection of an abandoned one.",
    ),
    180: Advice(
        "A deploy that cuts turns loses them.",
        "On SIGTERM, stop accepting, let running turns finish within a deadline, then end.",
    ),
    181: Advice(
        "The same for event streams.",
        "Count HTTP responses as running turns.",
    ),
    182: Advice(
        "1012 and 1001 tell clients to connect again; 1006 and 1005 look like a fault, and 1000 like an answer.",
        "Close idle connections at once with 1012 or 1001, and busy ones after their turn.",
    ),
    183: Advice(
        "A turn that is accepted and then killed is lost.",
        "Refuse new turns while draining, with a code and before the model is asked.",
    ),
    184: Advice(
        "A process that does not end is killed, with whatever it holds.",
        "End when the last turn has ended, with exit code 0.",
    ),
    185: Advice(
        "A conversation that silently begins anew is worse than an error.",
        "Answer `previous_response_not_found` for what was in memory alone.",
    ),
    186: Advice(
        "A response that was told as stored is relied upon.",
        "Write to the store before the terminal event is sent.",
    ),
    187: Advice(
        "A job that nobody works on is polled for ever.",
        "On start, or when asked, fail background responses whose process is gone.",
    ),
    223: Advice(
        "Clients shorten a conversation at one code and give up at another; a code of your own tells them nothing.",
        "Hand the model server's `code` on, beside your own words.",
    ),
    226: Advice(
        "What is not closed adds up, until no connection can be accepted any more.",
        "Close the socket in whatever way a connection ends, the upstream's too; count descriptors in a test.",
    ),
    228: Advice(
        "Over HTTP there is no ping, so that nobody notices a reader that is stuck.",
        "Hold an event stream to the same deadline for progress in writing as a socket.",
    ),
}
