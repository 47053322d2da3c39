"""Rules about the events that a server sends, and the objects in them."""

from __future__ import annotations

from typing import Final

from agentwire.testing.conformance.rules.model import OPEN_RESPONSES, OPENAI, Maker, Topic

__all__ = ["OBJECTS", "ORDER"]

_o = Maker("O")

ORDER: Final = Topic(
    "O",
    "Order of events",
    (
        _o.must(
            1,
            "A response begins with `response.created`, whose response is `in_progress` (`queued` in the background) "
            "and has no output yet.",
            "openapi",
            "open",
        ),
        _o.must(2, "`response.in_progress` may follow, once, before anything else of the response.", "openapi", "open"),
        _o.must(
            3,
            "`sequence_number` is on every event of a response; it begins at 0, and grows by 1 with each.",
            "types",
            "openapi",
        ),
        _o.must(
            4,
            "A response has exactly one terminal event, `response.completed`, `response.incomplete` or "
            "`response.failed` by name, and nothing of it follows but `response.steer.pending` and "
            "`response.steer.failed`.",
            "guide",
            "open",
            "clients",
        ),
        _o.must(
            5,
            "An item is told from `response.output_item.added` to `response.output_item.done`, everything about it "
            "between the two, and every item is done when its response completes.",
            "open",
            "openapi",
        ),
        _o.must(6, "`output_index` counts the items as they are added, from 0 and without a gap.", "open", "openapi"),
        _o.must(
            7,
            "`content_index`, `summary_index` and `command_index` count from 0, each within its item.",
            "open",
            "openapi",
        ),
        _o.must(
            8,
            "An item is added with nothing in it yet (no content, empty arguments) and the status `in_progress`.",
            "open",
            "clients",
        ),
        _o.must(
            9,
            "The deltas of a text add up to what its `done` event, its part, its item and the terminal event repeat.",
            "openapi",
            "open",
        ),
        _o.must(
            10,
            "Text is sent as deltas, even if it comes in one piece: some clients read nothing else.",
            "clients",
        ),
        _o.must(
            11,
            "A message's part is told as `response.content_part.added`, deltas, `response.output_text.done`, "
            "`response.content_part.done`.",
            "open",
            "openapi",
        ),
        _o.must(
            12,
            "The terminal event of a response that was not refused lists all its items, as they were when they were "
            "done: the same ids, the same content.",
            "openapi",
            "clients",
        ),
        _o.must(13, "Ids do not change: the response's, an item's, and the `item_id` of the item's events.", "openapi"),
        _o.must(14, "Every message has a `type`, a string that is not empty.", "types", "clients"),
        _o.must(
            15,
            "No event is called `raw`, `close`, `event`, `open`, `reconnecting` or `reconnected`: an SDK keeps these "
            "names for itself.",
            "clients",
        ),
        _o.must(16, "Text events carry `logprobs`, an empty list where there are none.", "types"),
        _o.must(
            17,
            "An error within a response is an `error` event with the next `sequence_number`, and `response.failed` "
            "follows at once.",
            "open",
            "observed",
        ),
        _o.must(
            18,
            "An item that a limit cuts off is `incomplete`, the last one, and its response is `incomplete`.",
            "open",
        ),
        _o.must(
            19,
            "A function call is told as `response.function_call_arguments.delta` events, if any, and one `.done` "
            "with all of the arguments.",
            "openapi",
            "open",
        ),
        _o.must(
            20,
            "A custom tool call is told as `response.custom_tool_call_input.delta` events and one `.done` with all "
            "of the input.",
            "types",
            only=OPENAI,
        ),
        _o.must(
            21,
            "A summary of reasoning is told in parts: `response.reasoning_summary_part.added`, text deltas, text "
            "`.done`, part `.done`.",
            "types",
            "open",
        ),
        _o.must(
            22,
            "Raw reasoning is told as `response.reasoning_text.delta` and `.done` within a content part.",
            "types",
            only=OPENAI,
            proof="tests/runtime/test_out.py::test_kinds_of_text_open_and_close_each_other",
        ),
        _o.must(
            23,
            "Raw reasoning is told as `response.reasoning.delta` and `.done`.",
            "open",
            only=OPEN_RESPONSES,
            departure="One stream serves both dialects, and it uses the names of the official SDKs, whose clients "
            "read nothing else. The grammar accepts either. Only an engine that shows raw reasoning makes the "
            "difference visible.",
        ),
        _o.must(
            24,
            "A refusal is told as `response.refusal.delta` and `.done` within a content part.",
            "openapi",
            "open",
            proof="tests/runtime/test_out.py::test_kinds_of_text_open_and_close_each_other",
        ),
        _o.must(
            25,
            "Tools that the server runs are told stage by stage in the order of the event reference (searches, code, "
            "images, `mcp_list_tools`, `mcp_call`, shell), or as a whole item alone.",
            "openapi",
            "types",
            only=OPENAI,
            proof="tests/protocol/test_mutations.py::test_what_a_server_sent_is_legal_in_both_opinions",
        ),
        _o.must(
            26,
            "Annotations are told within their text, `annotation_index` counting from 0 in its part.",
            "openapi",
            "open",
            proof="tests/protocol/test_grammar.py::test_annotations_count_within_their_part",
        ),
        _o.should(
            27,
            "An event that the reference does not know is an extension, its type has a prefix and a colon, and no "
            "client gets one that it did not ask for.",
            "open",
            "ours",
        ),
        _o.must(28, "A `keepalive` event within a response takes the response's next `sequence_number`.", "observed"),
        _o.must(
            29,
            "The same request gives the same events on the socket and as server-sent events, and the same response.",
            "guide",
            "open",
        ),
        _o.should(
            30,
            "Usage is told in the terminal event alone.",
            "openapi",
            "clients",
        ),
        _o.should(
            31,
            "Side events without a number, such as rate limits, belong to no response, and may come between any two "
            "events.",
            "observed",
            proof="tests/protocol/test_grammar.py::test_events_without_a_number_belong_to_no_response",
        ),
        _o.choice(
            32,
            "How long the server took is told in an event, to clients that ask for it.",
            "clients",
            departure="Times are in the server's statistics and its log, where the operator looks for them; no "
            "client of this protocol needs the event.",
        ),
    ),
)

_j = Maker("J")

OBJECTS: Final = Topic(
    "J",
    "Response objects",
    (
        _j.must(
            1,
            'A response has `id`, `object: "response"`, `created_at`, `model`, `output`, `parallel_tool_calls`, '
            "`tool_choice`, `tools`, `status`, and, null where they do not apply, `error`, `incomplete_details`, "
            "`instructions`, `metadata`, `temperature`, `top_p`.",
            "types",
            "openapi",
        ),
        _j.must(
            2,
            "A response has all 31 members of the Open Responses schema, filled in with defaults or null: a strict "
            "client rejects one that lacks any.",
            "open",
        ),
        _j.must(3, "`created_at` and `completed_at` are whole numbers of seconds.", "open"),
        _j.must(4, "`completed_at` is null unless the response completed.", "open", "openapi"),
        _j.must(5, "`usage` is null until the response ends.", "openapi"),
        _j.must(
            6,
            "`usage` counts `input_tokens`, `output_tokens` and their sum `total_tokens`, with `cached_tokens` and "
            "`reasoning_tokens` in their details.",
            "types",
            "open",
        ),
        _j.must(7, "`service_tier` is a string.", "open"),
        _j.must(
            8,
            "A function tool is echoed with `type`, `name`, `description`, `parameters` and `strict`, null where the "
            "request had none.",
            "open",
        ),
        _j.should(
            9,
            "Ids are unlike each other, opaque, and have the usual prefixes: `resp_`, `msg_`, `fc_`, `call_` and so "
            "on.",
            "types",
            "observed",
        ),
        _j.must(
            10,
            "The request's settings are repeated in the response: instructions, metadata, temperature, "
            "`previous_response_id`, `store`, tools and the rest.",
            "openapi",
            "open",
        ),
        _j.must(11, "Every item of the output has an `id`, a `type` and a `status`.", "open"),
        _j.must(
            12,
            "A response cut off by `max_output_tokens` is `incomplete`, with `incomplete_details.reason` saying "
            "`max_output_tokens`.",
            "openapi",
        ),
        _j.must(
            13,
            "A failed response says why in `error`, with a `code` and a `message`.",
            "types",
            "open",
        ),
        _j.must(
            14,
            "`usage.input_tokens` counts the whole context, what came from memory included; that share is "
            "`cached_tokens`.",
            "openapi",
        ),
        _j.choice(15, "`output_text` is no member of the wire's response: SDKs make it themselves.", "types"),
        _j.must(16, "`background` is false in a response that is not in the background.", "openapi", "open"),
        _j.must(
            17,
            "Settings that the request leaves out have their defaults in the response: `tool_choice` auto, "
            "`parallel_tool_calls` true, `truncation` disabled, `text.format` of type text, `store` true.",
            "openapi",
            "open",
        ),
    ),
)
