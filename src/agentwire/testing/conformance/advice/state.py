"""Why the cases about what a connection remembers matter, and what to do; by the case's number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentwire.testing.conformance.advice.model import Advice

__all__ = ["STATE"]

STATE: Final[Mapping[int, Advice]] = {
    92: Advice(
        "It is what the mode is for: each turn sends only what is new.",
        "Keep each lane's latest response with its whole input in memory, whatever `store` says.",
    ),
    93: Advice(
        "An id that works anywhere is a store that nobody asked for; one that is accepted without its history"
        " is worse.",
        "Keep what is not stored with the connection, and answer `previous_response_not_found` elsewhere.",
    ),
    94: Advice(
        "Clients reconnect, and fall back to HTTP, in the midst of a chain.",
        "Store the whole context of a response, not a pointer to parents that may not be stored.",
    ),
    95: Advice(
        "An older id that is still found works in tests and fails in production.",
        "Remember the latest response of a lane alone, unless you say that you keep more.",
    ),
    96: Advice(
        "Agents fork a conversation for each sub-agent.",
        "Look parents up over all lanes, and leave them where they are.",
    ),
    97: Advice(
        "What failed half-way must not be built upon.",
        "Evict the parent when its continuation is refused or fails, and keep the connection.",
    ),
    98: Advice(
        "A refusal for any reason ends the chain, so that both sides agree on what there is.",
        "Evict on validation errors as well, once the request names its parent.",
    ),
    99: Advice(
        "A chain that goes on behind a failure has a hole.",
        "Remember neither the failed response nor, on its own lane, its parent; leave other lanes' parents alone.",
    ),
    100: Advice(
        "A sub-agent's mistake would otherwise end the main conversation.",
        "Evict only on the lane that made the response.",
    ),
    101: Advice(
        "A slip that continues nothing is no reason to lose the cache.",
        "Evict only if the request named the lane's own response.",
    ),
    102: Advice(
        "A long answer in pieces is continued piece by piece.",
        "Remember incomplete responses like completed ones.",
    ),
    103: Advice(
        "Looked up too early, a fork would run from a conversation that has moved on.",
        "Resolve `previous_response_id` when the request starts.",
    ),
    104: Advice(
        "Looked up too late, a fork that runs would lose its parent.",
        "Take the context when the response starts, as a value.",
    ),
    105: Advice(
        "Instructions that stick change turns that did not ask for them.",
        "Inherit the items and nothing else.",
    ),
    106: Advice(
        "A call without output makes models repeat it; two outputs make them contradict themselves.",
        "Check that calls and outputs match one to one, name the code, and evict.",
    ),
    107: Advice(
        "A replayed history with orphans fails at the model with an error that nobody understands.",
        "Check full histories as you check continuations.",
    ),
    108: Advice(
        "What is stored was promised to last.",
        "Fall back to the store after an eviction from memory.",
    ),
    109: Advice(
        "A response id is no secret: it is in logs and URLs.",
        "Make the owner a part of every key of cache and store, and answer as if there were nothing.",
    ),
    110: Advice(
        "Clients refer to items instead of sending them again.",
        "Resolve references among the owner's stored items, and refuse one that names nothing.",
    ),
    111: Advice(
        "Half a response is no context.",
        "Answer `previous_response_not_found` until it has ended.",
    ),
    112: Advice(
        "A warm-up that runs the model costs what it should save.",
        "Take the input into memory, and complete with an empty output and no output tokens.",
    ),
    113: Advice(
        "The same, where it would show: a slow model.",
        "Do not call the model for `generate: false`.",
    ),
    114: Advice(
        "The warm-up is state: tools and instructions that are lost change the first answer.",
        "Make it a response like any other, to be continued by its id, with empty input as well.",
    ),
    115: Advice(
        "Two settings ask for the same thing.",
        "Treat `prompt_cache_options.prewarm: true` as `generate: false`.",
    ),
    116: Advice(
        "Clients warm the connection before they know what will be asked.",
        "Accept a warm-up without input and tools.",
    ),
}
