"""Why the cases about what a client may send matter, and what to do; by the case's number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentwire.testing.conformance.advice.model import Advice

__all__ = ["ASKING"]

ASKING: Final[Mapping[int, Advice]] = {
    24: Advice(
        "These are the three forms that clients use; each of them must work on its own.",
        "Read `response.create` as the body of `POST` beside `type`: a string stands for one user message.",
    ),
    25: Advice(
        "JSON objects have no order, and some encoders sort or shuffle.",
        "Decode first, then look at `type`.",
    ),
    26: Advice(
        "Clients reuse the body that they have for HTTP.",
        "Accept these members on the socket, and let them change nothing.",
    ),
    27: Advice(
        "A request that is taken and then is not in the background is lost when the connection is.",
        "Refuse `background: true` on the socket with 400 and its name, or keep the promise.",
    ),
    28: Advice(
        "A window that is not kept is a promise broken in silence.",
        "Refuse `background_options` with 400 unless you honour it.",
    ),
    29: Advice(
        "Clients take the first event for the answer to their request.",
        "Say nothing before `response.created`, and for a refusal exactly one `error`.",
    ),
    30: Advice(
        "Clients grow faster than servers; strict parsing breaks with their next release.",
        "Ignore members that you do not know, at the top of a request at least.",
    ),
    31: Advice(
        "A value that is coerced does something other than what was asked.",
        "Check types, and refuse with 400 and the path in `param`.",
    ),
    32: Advice(
        "A value out of range otherwise fails at the model, late and with another shape.",
        "Check bounds before the model is asked, and name the member.",
    ),
    33: Advice(
        "Metadata ends up in stores and dashboards with bounds of their own.",
        "Hold 16 pairs, keys of 64 and values of 512 characters, strings alone.",
    ),
    34: Advice(
        "A policy that is not known would be guessed: history would be cut, or not.",
        "Take `auto` and `disabled`, and refuse the rest.",
    ),
    35: Advice(
        "It identifies a person to those who look for abuse; a cut one identifies nobody.",
        "Take 128 characters, and refuse more.",
    ),
    36: Advice(
        "SDKs send the list whatever the model is.",
        "Accept every documented value, and include what you have.",
    ),
    37: Advice(
        "Agents send the same settings to every model.",
        "Accept `text.verbosity` without a format and every documented member of `reasoning`; ignore what the"
        " model has not.",
    ),
    38: Advice(
        "Ignoring them drops the history or the instructions that the client relies on.",
        "Refuse `conversation` and `prompt` by name, unless you have them.",
    ),
    39: Advice(
        "An empty id is a bug of the client; taking it begins a new chain in silence.",
        "Treat null as absent, and refuse the empty string.",
    ),
    40: Advice(
        "Without it, some other model than the client's would answer.",
        "Refuse with `missing_required_parameter`, param `model`.",
    ),
    41: Advice(
        "A client offers all its tools to every server, and calls for `tool_choice: none` when it wants words.",
        "Accept tools of any type; offer the model those it can use.",
    ),
    42: Advice(
        "Clients replay histories from other servers and SDKs, each in its own spelling.",
        "Accept messages without `type`, content as text or parts, all four roles, items with and without ids.",
    ),
    43: Advice(
        "A full-context retry sends back exactly what you said.",
        "Accept your own output unchanged, and carry items that you do not model.",
    ),
    44: Advice(
        "One client acknowledges each response; an error in answer would be read as the next turn's.",
        "Ignore `response.processed` without a word.",
    ),
    45: Advice(
        "Silence lets a client wait for ever, and a close costs it the cache.",
        "Answer with one `error`, code `unknown_event_type`, and go on.",
    ),
    46: Advice(
        "The connection's cache is worth more than the one bad message.",
        "Answer with `invalid_json`, and go on.",
    ),
    47: Advice(
        "An output that nobody waits for would be lost.",
        "Answer with `response.inject.failed`, and hand the input back.",
    ),
    48: Advice(
        "A few kilobytes of brackets can cost seconds and hundreds of megabytes.",
        "Bound depth and number of values while you parse, and refuse with 400.",
    ),
    49: Advice(
        "Clients send these to every server; they must not decide whether it answers.",
        "Accept settings that you do not act on.",
    ),
}
