"""Why the cases about steering and compaction matter, and what to do; by the case's number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentwire.testing.conformance.advice.model import Advice

__all__ = ["STEERING"]

STEERING: Final[Mapping[int, Advice]] = {
    117: Advice(
        "The client must be able to follow the answer into its successor.",
        "Accept on the response's lane and in its numbering, then make the successor with all its settings.",
    ),
    118: Advice(
        "A message of a person that is lost in a race is the worst kind of loss.",
        "Answer `response.steer.failed` with the input in it, and no `error`.",
    ),
    119: Advice(
        "What is no message cannot be said to a model in the midst of an answer.",
        "Take a string or user messages; refuse the rest with `invalid_input`, and let the response go on.",
    ),
    120: Advice(
        "A steer that is taken and never acts is lost.",
        "Refuse with `steering_not_supported` where you cannot.",
    ),
    121: Advice(
        "Cut in the midst of an item, half a call or half a sentence becomes history.",
        "Finish the current item, end with `incomplete`, reason `steered`, and start the successor at once.",
    ),
    122: Advice(
        "The outputs of calls come first, or the history has a hole.",
        "Say `response.steer.pending`, and put the steer in front of the next request's input.",
    ),
    123: Advice(
        "The person who steers is waiting; what is queued is not.",
        "Start the successor before the lane's queue.",
    ),
    124: Advice(
        "Every steer is memory, and every successor is a turn.",
        "Bound the steers that wait, hand back what is too many, and make one successor of all.",
    ),
    125: Advice(
        "A steer that waits for a request which fails would wait for ever.",
        "Answer `successor_creation_failed`, and hand the input back.",
    ),
    126: Advice(
        "What was compacted must stand for the conversation.",
        "Answer with one `compaction` item that is accepted as input, and sealed for its owner.",
    ),
    127: Advice(
        "Some model has to read it.",
        "Refuse without `model`.",
    ),
    128: Advice(
        "A context that grows without end ends in an error, late in a long job.",
        "Compact beyond the threshold within the response, and tell the item in its output.",
    ),
    129: Advice(
        "A threshold that is never met looks like one that works.",
        "Check the settings, and refuse with 400.",
    ),
    130: Advice(
        "A trigger in the middle leaves open what is to be compacted.",
        "Compact at a trigger that comes last, and refuse it elsewhere.",
    ),
}
