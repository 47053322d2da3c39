"""Why the cases about events and response objects matter, and what to do; by the case's number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentwire.testing.conformance.advice.model import Advice

__all__ = ["TELLING"]

TELLING: Final[Mapping[int, Advice]] = {
    61: Advice(
        "SDKs rebuild the answer from these events; a gap or a missing part is a lost word or a crash.",
        "Number events from 0 without a gap, add and finish every item and part, and send text as deltas even"
        " in one piece.",
    ),
    62: Advice(
        "Clients start tools from these events: a call that is told wrongly runs wrongly or twice.",
        "Add the call with empty arguments, stream deltas, repeat them whole in `done`, and keep ids stable.",
    ),
    63: Advice(
        "The summary is shown while it comes; out of order it is shown as the answer.",
        "Tell parts of the summary like parts of a message, each with its index.",
    ),
    64: Advice(
        "A cut answer that is told as complete is believed.",
        "End with `response.incomplete`, `reason: max_output_tokens`, and mark the last item alone as incomplete.",
    ),
    65: Advice(
        "A turn without a terminal event is waited for until a timeout; two of them end the next turn.",
        "Send one `error` with the next number, then `response.failed` with the same code, and keep the connection.",
    ),
    66: Advice(
        "Clients show each stage; a stage of another item ends the wrong one.",
        "Send the stages in the order of the reference, or the finished item alone.",
    ),
    67: Advice(
        "Clients fall back from one transport to the other in the midst of a conversation.",
        "Make events once, and let transports only frame them.",
    ),
    68: Advice(
        "Typed SDKs fail on a member that is missing, not on one that is null.",
        "Fill in every member, null where it does not apply, in each lifecycle event.",
    ),
    69: Advice(
        "Strict clients validate against the schema of Open Responses.",
        "Send all 31 members, with defaults.",
    ),
    70: Advice(
        "Clients bill by `usage` and measure by times; a number in a float, or too early, is counted twice.",
        "Whole seconds; null until the end; `total_tokens` is the sum.",
    ),
    71: Advice(
        "Agents compare what they asked for with what was done.",
        "Echo settings as they were read, defaults filled in.",
    ),
    72: Advice(
        "Two items of one id are one item for a client.",
        "Make ids random, with the usual prefixes, and never reuse one.",
    ),
    73: Advice(
        "A context that looks small is a bill, or a limit, that comes as a surprise.",
        "Count everything that the model read, and say in `cached_tokens` what came from memory.",
    ),
    74: Advice(
        "Clients read the settings that are in force from the response.",
        "Put the defaults into the response.",
    ),
}
