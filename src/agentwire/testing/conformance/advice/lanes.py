"""Why the cases about lanes matter, and what to do; by the case's number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentwire.testing.conformance.advice.model import Advice

__all__ = ["LANES"]

LANES: Final[Mapping[int, Advice]] = {
    50: Advice(
        "A name that is taken in one place and refused in another mixes up two conversations.",
        "Check `stream_id` with `[A-Za-z0-9_.-]{1,256}`, and answer `invalid_stream_id` without a `stream_id`.",
    ),
    51: Advice(
        "Typed clients send null for what is not set.",
        "Treat null as absent.",
    ),
    52: Advice(
        "Clients sort events by `stream_id`; one that lacks it goes to the wrong conversation.",
        "Put the request's `stream_id` on everything that is said of it, errors too, and never null on the "
        "default lane.",
    ),
    53: Advice(
        "The second turn continues the first: run at once, it continues something older.",
        "Queue requests by lane, first come first served.",
    ),
    54: Advice(
        "Sub-agents share a connection; one after the other they take as long as all together.",
        "Run lanes in tasks of their own, with one writer for the socket.",
    ),
    55: Advice(
        "Names without bound are memory without bound, and a bound that breaks known lanes breaks conversations.",
        "Count the names of a connection, refuse the 33rd, and never forget a known one.",
    ),
    56: Advice(
        "Refusing the seventeenth makes clients retry in storms.",
        "Run sixteen at once, and let the others wait.",
    ),
    57: Advice(
        "A bound by lane instead of by connection lets one client take everything.",
        "Share the sixteen places among all lanes, first come first served.",
    ),
    58: Advice(
        "An unbounded queue grows until the process dies; a closed connection loses all that waits.",
        "Bound the queue by count and bytes, and answer 429 with `retry-after`.",
    ),
    59: Advice(
        "One sub-agent's mistake must not end the others.",
        "Answer an error on its lane, and touch nothing else.",
    ),
    60: Advice(
        "A client without lanes relies on order alone.",
        "Treat the default lane as a lane: one at a time, in order.",
    ),
}
