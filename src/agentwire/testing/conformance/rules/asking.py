"""Rules about what a client may send, and how requests share a connection."""

from __future__ import annotations

from typing import Final

from agentwire.testing.conformance.rules.model import OPENAI, Maker, Topic

__all__ = ["EVENTS", "LANES"]

_c = Maker("C")

EVENTS: Final = Topic(
    "C",
    "Client events",
    (
        _c.must(
            1,
            "`response.create` is the body of `POST /v1/responses`, flat beside `type`; `input` is a string, which "
            "stands for one user message, or a list of items.",
            "guide",
            "types",
            "open",
        ),
        _c.must(2, "Members of an event may come in any order, `type` last included.", "clients"),
        _c.must(
            3,
            "`stream` in a `response.create` changes nothing, whatever its value: the socket always streams. Several "
            "clients send it although none should.",
            "clients",
            "guide",
        ),
        _c.should(4, "`stream_options` in a `response.create` is accepted.", "clients"),
        _c.should(5, "`background` that is false or null in a `response.create` changes nothing.", "guide", "ours"),
        _c.choice(
            6,
            "`background: true` in a `response.create` is refused with 400 `unsupported_parameter`, param "
            "`background`.",
            "guide",
        ),
        _c.choice(7, "`background_options` is refused with 400 `unsupported_parameter`."),
        _c.must(
            8,
            "A request is not acknowledged: the first that is said of it is `response.created`, or the `error` that "
            "refuses it.",
            "guide",
        ),
        _c.should(
            9,
            "Members of a request that the server does not know are ignored, `client_metadata` among them: clients "
            "grow faster than servers.",
            "clients",
            "ours",
        ),
        _c.should(
            10,
            "A member of the wrong type is refused with 400 and named in `param`; nothing is coerced.",
            "types",
            "ours",
        ),
        _c.should(
            11,
            "Numbers are within their bounds, or refused with 400 and their name: `max_output_tokens` at least 16, "
            "`temperature` 0 to 2, `top_p` 0 to 1, `top_logprobs` 0 to 20.",
            "openapi",
        ),
        _c.should(
            12,
            "`metadata` has at most 16 pairs of strings, keys of at most 64 and values of at most 512 characters; "
            "more is a 400.",
            "openapi",
        ),
        _c.should(13, "`truncation` is `auto` or `disabled`; anything else is a 400.", "openapi"),
        _c.should(14, "`safety_identifier` of 128 characters is accepted, and a longer one refused.", "types"),
        _c.must(15, "Every documented value of `include` is accepted, whatever the model.", "openapi", "clients"),
        _c.must(
            16,
            "`text` with a `verbosity` and no `format`, and `reasoning` with any of its documented members, are "
            "accepted.",
            "types",
            "clients",
        ),
        _c.choice(
            17,
            "A server that has no conversations and no stored prompts refuses `conversation` and `prompt` with 400, "
            "and names them; what goes with them (the exclusion of `previous_response_id`, for one) has no meaning "
            "there.",
        ),
        _c.choice(18, "`previous_response_id` that is null counts as absent, and one that is empty is a 400.", "types"),
        _c.should(
            19, "A request without a model is refused with 400 `missing_required_parameter`, param `model`.", "openapi"
        ),
        _c.must(
            20,
            "Tools of every type are accepted in `tools`, those that the server cannot run included: `custom`, "
            "`namespace`, `web_search`, `tool_search`, `mcp` and so on, with `strict` true, false, null or absent.",
            "clients",
            "types",
        ),
        _c.must(
            21,
            "Items are accepted in every shape in which clients send them: messages without `type`, content as a "
            "string or in parts, the roles user, assistant, system and developer, replayed assistant messages, ids "
            "made by clients, `function_call_output` with `status` or `id`.",
            "clients",
            "types",
        ),
        _c.must(
            22,
            "What a response put out is accepted back as input, unchanged.",
            "guide",
            "clients",
        ),
        _c.should(
            23,
            "Items that the server does not model are carried along, and not refused; so is the item "
            "`additional_tools`, which offers tools late.",
            "clients",
            "types",
        ),
        _c.must(24, "`response.processed` is ignored in silence.", "clients"),
        _c.should(
            25,
            "An event that does not exist here, `response.cancel` and `response.append` among them, is refused with "
            "400 `unknown_event_type`, param `type`; so is one without a usable `type`.",
            "guide",
            "ours",
        ),
        _c.choice(26, "A message that is no JSON object is refused with 400 `invalid_json`."),
        _c.choice(
            27,
            "`response.inject` that nothing waits for is answered with `response.inject.failed`, code "
            "`response_not_found` or `response_already_completed`, and hands the input back.",
            "types",
        ),
        _c.choice(
            28,
            "A request that would cost much more to read than its size says, by its depth or its number of values, "
            "is refused with 400.",
        ),
        _c.should(
            29,
            "Published bounds on single values hold: a `call_id` of at most 64 characters, texts and outputs of at "
            "most 10 485 760, data URLs of images of 20 971 520.",
            "openapi",
            departure="One bound on the whole message stands for all of them: what fits is carried, because what a "
            "model's server takes is its own business.",
        ),
        _c.choice(
            30,
            "`client_metadata.traceparent` puts the turn into the client's trace.",
            "clients",
            departure="The server makes no traces. What a client says about itself reaches the engine with the "
            "request, which may use it.",
        ),
        _c.must(
            31,
            "Settings that a server does not act on are accepted and change nothing: `service_tier`, "
            "`prompt_cache_key`, `prompt_cache_options`, `prompt_cache_retention`, `user`, `moderation`, `image` and "
            "the like.",
            "types",
            "clients",
        ),
        _c.must(
            32,
            "With `truncation` auto the oldest items of a context that is too long are left out, and the request runs.",
            "openapi",
        ),
    ),
)

_l = Maker("L")

LANES: Final = Topic(
    "L",
    "Lanes",
    (
        _l.must(
            1,
            "A `stream_id` has 1 to 256 characters of `A-Z a-z 0-9 _ . -`; any other value is refused with 400 "
            "`invalid_stream_id`, param `stream_id`, in an event without a `stream_id`.",
            "guide",
            "types",
            only=OPENAI,
        ),
        _l.choice(2, "A `stream_id` that is null counts as absent.", only=OPENAI),
        _l.must(
            3,
            "Every event of a request that named a lane has its `stream_id`: terminal events, refusals and errors "
            "too. Events of other requests have none, and never null.",
            "guide",
            "types",
            only=OPENAI,
        ),
        _l.must(4, "On one lane requests run one at a time, in the order in which they came.", "guide", only=OPENAI),
        _l.must(
            5, "Requests on different lanes run at the same time, and their events interleave.", "guide", only=OPENAI
        ),
        _l.must(
            6,
            "The default lane, which has no name, is a lane like any other, and is not counted among the named ones.",
            "guide",
            only=OPENAI,
        ),
        _l.must(
            7,
            "Sixteen responses run at once on a connection, over all its lanes; a further request is accepted, and "
            "waits.",
            "guide",
            only=OPENAI,
        ),
        _l.must(
            8,
            "A connection has at most 32 different lane names in its life; the next new one is refused with 400 "
            "`websocket_stream_limit_reached` on its lane, and those that are known go on.",
            "guide",
            "types",
            only=OPENAI,
        ),
        _l.choice(
            9,
            "A refused lane name is not counted, and a used one is never released.",
            only=OPENAI,
        ),
        _l.choice(
            10,
            "What waits on a connection is bounded, by count and by bytes; a request beyond that is refused with 429 "
            "`websocket_queue_full` and a `retry-after`, and the connection stays open.",
        ),
        _l.must(11, "What goes wrong on one lane leaves the others alone.", "guide", only=OPENAI),
        _l.must(
            12,
            "A client that never names a lane has one response at a time: a request that comes while one runs waits "
            "for its end.",
            "open",
            "guide",
        ),
        _l.choice(
            13,
            "Lanes that have much to say share the connection fairly: a fat response does not hold up a small one.",
            proof="tests/server/test_slow.py::test_a_fat_turn_does_not_hold_up_a_small_one",
        ),
    ),
)
