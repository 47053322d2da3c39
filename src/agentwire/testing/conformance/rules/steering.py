"""Rules about steering and compaction."""

from __future__ import annotations

from typing import Final

from agentwire.testing.conformance.rules.model import OPENAI, Maker, Topic

__all__ = ["COMPACTION", "STEERING"]

_g = Maker("G")
_steers = "tests/runtime/test_steering.py"

STEERING: Final = Topic(
    "G",
    "Steering",
    (
        _g.must(
            1,
            "A `response.steer` for a running response that can be steered is answered by `response.steer.accepted`, "
            "with the steer's id and the response's, on that response's lane and in its numbering.",
            "steering",
            "types",
            only=OPENAI,
        ),
        _g.must(
            2,
            "A steer that cannot be taken is answered by `response.steer.failed`, which hands the input back; there "
            "is no `error` event, and the response goes on.",
            "steering",
            "types",
            only=OPENAI,
        ),
        _g.must(3, "A steer for a response that is not known is `response_not_found`.", "steering", only=OPENAI),
        _g.must(4, "A steer for a response that has ended is `response_already_completed`.", "steering", only=OPENAI),
        _g.must(
            5,
            "A steer takes a string, or a list of user messages that is not empty; anything else is `invalid_input`.",
            "steering",
            "types",
            only=OPENAI,
        ),
        _g.must(
            6,
            "A steer for a model that cannot be steered is `steering_not_supported`; so is one for a response that "
            "compacts by itself.",
            "steering",
            "types",
            only=OPENAI,
            proof=f"{_steers}::test_a_steer_for_what_cannot_be_steered_goes_back",
        ),
        _g.must(
            7,
            "A steered response ends with `response.incomplete`, reason `steered`, once its current item is done; "
            "its successor follows on the same lane, continues it, and has the steer's input.",
            "steering",
            only=OPENAI,
        ),
        _g.must(
            8,
            "If the response completes before the steer takes effect, the successor is made all the same.",
            "steering",
            only=OPENAI,
            proof=f"{_steers}::test_a_message_is_finished_and_a_response_that_ends_by_itself_is_followed_too",
        ),
        _g.must(
            9,
            "If the response ends with calls for the client to answer, `response.steer.pending` follows its terminal "
            "event, with the reason `waiting_for_required_input` and a stub for each answer; once for each steer, "
            "and not if the answer is here already.",
            "steering",
            "types",
            only=OPENAI,
        ),
        _g.must(
            10,
            "Pending steers are put in front of the input of the request that continues the response, in their order.",
            "steering",
            only=OPENAI,
        ),
        _g.choice(
            11,
            "Steer events take their numbers from the response that they are about; a successor counts from 0.",
            "steering",
            only=OPENAI,
        ),
        _g.choice(12, "A successor runs before the requests that wait on its lane.", "steering", only=OPENAI),
        _g.must(13, "A successor inherits all settings of the response that was steered.", "steering", only=OPENAI),
        _g.must(
            14,
            "Limits such as `max_output_tokens` count for each response by itself.",
            "steering",
            only=OPENAI,
            proof=f"{_steers}::test_limits_count_for_each_response_by_itself",
        ),
        _g.must(
            15,
            "Too many steers that wait for one response are `too_many_pending_steers`.",
            "steering",
            "types",
            only=OPENAI,
            proof=f"{_steers}::test_too_many_are_refused_and_the_others_stay",
        ),
        _g.should(16, "The id of a steer is `steer_` and 32 hexadecimal digits.", "observed", only=OPENAI),
        _g.must(
            17,
            "A steer whose successor cannot be made is `successor_creation_failed`, and is handed back.",
            "steering",
            "types",
            only=OPENAI,
            proof=f"{_steers}::test_a_successor_that_cannot_open_is_told_as_a_failed_steer_only",
        ),
    ),
)

_k = Maker("K")

COMPACTION: Final = Topic(
    "K",
    "Compaction",
    (
        _k.must(
            1,
            '`POST /v1/responses/compact` answers with `object: "response.compaction"`, an id that is no '
            "response's, `created_at`, `usage`, and an `output` that holds one item of type `compaction`.",
            "compaction",
            "open",
        ),
        _k.must(2, "`POST /v1/responses/compact` without a model is a 400 or 422.", "open"),
        _k.must(
            3,
            "What a compaction put out begins a new chain: it is accepted as the input of a request without "
            "`previous_response_id`, with more items behind it.",
            "compaction",
            "open",
        ),
        _k.must(
            4,
            "`context_management` with a `compact_threshold` compacts, within the response, a context that has grown "
            "beyond it: an item of type `compaction` comes in the output.",
            "compaction",
            only=OPENAI,
        ),
        _k.should(
            5,
            "`context_management` has at least one entry, of type `compaction`, with a threshold of 1000 or more; "
            "anything else is a 400.",
            "openapi",
            only=OPENAI,
        ),
        _k.must(
            6,
            "An input item of type `compaction_trigger` compacts now; it must be the last one, or is refused with 400.",
            "types",
            "compaction",
            only=OPENAI,
        ),
        _k.must(
            7,
            "A `compaction` item comes back as it went: its `encrypted_content` is opaque to clients.",
            "compaction",
            "openapi",
        ),
        _k.must(
            8,
            "After a compaction the client goes on by the id, with new items alone.",
            "compaction",
            only=OPENAI,
        ),
        _k.must(
            9,
            "An item of type `compaction` may be told with `response.compaction.compacting` before it is done.",
            "types",
            only=OPENAI,
            proof="tests/protocol/test_grammar.py::test_every_state_of_a_flow_leads_to_an_end",
        ),
    ),
)
