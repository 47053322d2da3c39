"""Why the cases about tools, formats and errors matter, and what to do; by the case's number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentwire.testing.conformance.advice.model import Advice

__all__ = ["TOOLS"]

TOOLS: Final[Mapping[int, Advice]] = {
    75: Advice(
        "A client that forbids tools is not ready to run one.",
        "Pass `none` on, or do not offer tools to the model at all.",
    ),
    76: Advice(
        "Frameworks fail a turn without the call that they have demanded.",
        "Constrain the model; if it refuses, fail the response rather than answer in words.",
    ),
    77: Advice(
        "The client runs what was called; another tool may have effects.",
        "Constrain the model to the one function.",
    ),
    78: Advice(
        "A list that is only a hint lets a tool run that was excluded.",
        "Offer the model the listed tools alone.",
    ),
    79: Advice(
        "A choice that cannot be met otherwise fails late, or is ignored.",
        "Refuse it with 400 before the model is asked.",
    ),
    80: Advice(
        "A client that runs one tool at a time loses the second call.",
        "Pass the setting on, or cut the response after its first call.",
    ),
    81: Advice(
        "A turn that ends in a call is a finished turn: clients continue only what completed.",
        "End with `response.completed`, and accept the output as string or parts, on forks too.",
    ),
    82: Advice(
        "Tools finish in any order.",
        "Match outputs by `call_id`, and take them in one request in any order.",
    ),
    83: Advice(
        "The text is parsed at once; prose around the JSON is a crash.",
        "Constrain the model by the schema, and send the JSON as ordinary text.",
    ),
    84: Advice(
        "A name that the model's own server refuses fails the whole turn later.",
        "Check names against `[A-Za-z0-9_-]{1,128}`.",
    ),
    85: Advice(
        "Without it the client cannot tell two tools of one name apart.",
        "Keep `namespace` on calls, and accept it back.",
    ),
    86: Advice(
        "Free text is not JSON; forced into arguments it is escaped twice.",
        "Send `custom_tool_call` with `input`, and take `custom_tool_call_output`.",
    ),
    87: Advice(
        "Clients name server tools, lists and modes in every documented shape.",
        "Read all shapes; refuse only what names a tool that is not offered.",
    ),
    88: Advice(
        "Clients decide by code and status whether to retry. The flat form is read as no error, or with no code.",
        "Nest `type`, `code`, `message` and `param` in `error`, all four, with `status` beside it.",
    ),
    89: Advice(
        "Clients recover the same way on both transports.",
        "Make the error once, and send its status as the HTTP status.",
    ),
    90: Advice(
        "It is the one code at which clients send their history again; renamed or swallowed, the conversation"
        " begins anew.",
        "Answer exactly `previous_response_not_found`, status 400, and pass it through gateways unchanged.",
    ),
    91: Advice(
        "A context that is cut without a word forgets its instructions.",
        "Refuse with `context_length_exceeded`, or drop the oldest items if `truncation` is `auto`.",
    ),
}
