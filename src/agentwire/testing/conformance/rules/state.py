"""Rules about what a connection remembers, and about warm-ups."""

from __future__ import annotations

from typing import Final

from agentwire.testing.conformance.rules.model import OPENAI, Maker, Topic

__all__ = ["STATE", "WARM_UP"]

_s = Maker("S")

STATE: Final = Topic(
    "S",
    "State",
    (
        _s.must(
            1,
            "`previous_response_id` continues a response on the connection that made it, with `store: false` too: "
            "the model sees that response's whole input, its output, then the new input.",
            "guide",
            "open",
        ),
        _s.must(
            2,
            "Another connection does not know a response of `store: false`: it is `previous_response_not_found` "
            "there, and that connection goes on.",
            "guide",
            "open",
        ),
        _s.must(
            3,
            "A response of `store: true` can be continued from another connection.",
            "guide",
        ),
        _s.should(4, "A response made on the socket with `store: true` can be continued over HTTP.", "guide"),
        _s.must(
            5,
            "Each lane remembers its latest response, and no older one: with `store: false` an older id is not found.",
            "guide",
            "observed",
            only=OPENAI,
        ),
        _s.must(
            6,
            "The latest response of any lane can be continued on any other: that is a fork, and the lane that it "
            "came from keeps it.",
            "guide",
            only=OPENAI,
        ),
        _s.must(
            7,
            "A continuation of the lane's own response that is refused or fails evicts that response: with `store: "
            "false` it is not found afterwards.",
            "guide",
            "open",
        ),
        _s.must(
            8,
            "A fork that is refused or fails evicts nothing.",
            "guide",
            only=OPENAI,
        ),
        _s.choice(9, "A refused request that continued nothing leaves the lane's response as it was."),
        _s.choice(10, "`previous_response_not_found` itself evicts nothing."),
        _s.choice(
            11,
            "What is refused before it reaches a lane (an invalid lane name, bad JSON, an unknown event) changes "
            "nothing.",
        ),
        _s.choice(12, "A response that ends `incomplete` is remembered, and can be continued.", "steering"),
        _s.must(13, "A failed response is not remembered.", "open", "guide"),
        _s.must(
            14,
            "What is continued is looked up when the request starts, not when it comes: a queued fork whose parent "
            "has been overtaken is not found.",
            "guide",
            only=OPENAI,
        ),
        _s.must(
            15,
            "From `response.in_progress` of a fork on, its parent is safe: the source lane may go on.",
            "guide",
            only=OPENAI,
        ),
        _s.must(
            16, "`instructions` hold for one response, and are not inherited by what continues it.", "openapi", "guide"
        ),
        _s.must(
            17,
            "No other setting is inherited either: tools, tool choice, text format, reasoning and metadata are those "
            "of the request at hand.",
            "guide",
            "observed",
        ),
        _s.must(18, "A request without `previous_response_id` starts from nothing, on a used lane as well.", "guide"),
        _s.must(
            19,
            "The output of a call that is not in the conversation is refused with 400, and counts as a failed "
            "continuation.",
            "observed",
            "open",
        ),
        _s.must(
            20,
            "A continuation that leaves a call without its output is refused with 400, and counts as a failed "
            "continuation.",
            "observed",
        ),
        _s.must(21, "Two outputs for one call are refused with 400.", "observed"),
        _s.choice(
            22,
            "These refusals have the codes `tool_call_not_found`, `tool_output_missing` and `duplicate_tool_output`, "
            "and `input` or a path below it as their param.",
            "observed",
        ),
        _s.should(23, "What was evicted from memory and is stored can still be continued.", "guide", "ours"),
        _s.should(
            24,
            "A stored response whose parents were not stored is whole: another connection continues it.",
            "ours",
        ),
        _s.should(25, "A response of another owner's key is not found.", "ours"),
        _s.should(
            26,
            "`item_reference` stands for an item of a stored response of the same owner; one that names nothing is a "
            "400 or 404.",
            "openapi",
            "types",
        ),
        _s.choice(
            27,
            "A response that still runs, or waits, cannot be continued yet: it is `previous_response_not_found`.",
        ),
        _s.choice(
            28,
            "A server may keep more than the hosted service does, as an option: what strict memory forgets is then "
            "found. The default is strict, because the other hides faults of clients.",
            proof="tests/protocol/test_desk.py::test_each_lane_of_a_generous_desk_remembers_its_last_responses",
        ),
    ),
)

_w = Maker("W")

WARM_UP: Final = Topic(
    "W",
    "Warm-up",
    (
        _w.must(
            1,
            "`generate: false` runs no model: the response completes with an empty output and no output tokens.",
            "guide",
            "observed",
            only=OPENAI,
        ),
        _w.choice(
            2,
            "The events of a warm-up are `response.created`, `response.in_progress` and `response.completed`.",
            "observed",
            only=OPENAI,
        ),
        _w.must(
            3,
            "What was warmed up can be continued by its id, with input or with none at all.",
            "guide",
            "observed",
            only=OPENAI,
        ),
        _w.must(
            4,
            "`prompt_cache_options.prewarm: true` makes a warm-up of a request, whatever `generate` says.",
            "types",
            only=OPENAI,
        ),
        _w.must(5, "A warm-up may have no input and no tools.", "clients", only=OPENAI),
        _w.must(6, "A warm-up is remembered by its lane as any response is.", "guide", only=OPENAI),
    ),
)
