"""Rules about errors."""

from __future__ import annotations

from typing import Final

from agentwire.testing.conformance.rules.model import OPEN_RESPONSES, Maker, Topic

__all__ = ["ERRORS"]

_e = Maker("E")

ERRORS: Final = Topic(
    "E",
    "Errors",
    (
        _e.must(
            1,
            "An `error` event has its `error` as an object with `type`, `code`, `message` and `param`, all four "
            "present; never the flat form.",
            "guide",
            "openapi",
            "types",
        ),
        _e.must(
            2,
            "An `error` event has a `status`, the one that the same failure has over HTTP: a client takes one "
            "without it for no failure at all.",
            "guide",
            "clients",
            "open",
        ),
        _e.must(3, "The `code` of an error is a string, never null.", "open"),
        _e.must(
            4, "A request that is refused leaves the connection open, and the next one is served.", "guide", "open"
        ),
        _e.must(
            5,
            "A refusal has the `stream_id` of its request, where that is a legal one.",
            "guide",
        ),
        _e.should(
            6,
            "An `error` event has a `sequence_number`: 0 if nothing of a response came before, otherwise the next.",
            "clients",
            "ours",
        ),
        _e.must(
            7,
            "A `previous_response_id` that is neither remembered nor stored is refused with 400 "
            "`previous_response_not_found`, param `previous_response_id`.",
            "guide",
            "open",
        ),
        _e.should(
            8,
            "A refused value has one of the codes `unsupported_parameter`, `unsupported_value`, "
            "`missing_required_parameter`, `invalid_type`, `invalid_value` or `unknown_parameter`, and the path of "
            "the value in `param`.",
            "observed",
            "ours",
        ),
        _e.must(
            9,
            "A model that fails once its response has begun ends it with `response.failed`; a fault of the server's "
            "own is a `server_error`, 500 on the `error` event, and tells nothing of its inside.",
            "openapi",
            "types",
        ),
        _e.should(
            10,
            "Headers that matter, such as `retry-after` with a 429, are in `error.headers` and beside `status` in "
            "`headers`: readers of either exist.",
            "types",
            "clients",
        ),
        _e.should(
            11,
            "A model that does not exist is refused with `model_not_found`, 400 or 404.",
            "openapi",
            "observed",
            departure="Which models there are is the engine's to say; the server takes every name, because clients "
            'insist on theirs. An engine refuses one with `EngineError(code="model_not_found", status=404)`.',
        ),
        _e.must(
            12,
            "A context that is too long, with `truncation` disabled, is refused with 400 `context_length_exceeded`.",
            "openapi",
            "guide",
        ),
        _e.should(
            13,
            "A limit on rates is a 429 with `rate_limit_exceeded`, one on money a 429 with `insufficient_quota`, and "
            "overload a 503 with `server_is_overloaded`; clients read the delay in the message of the first.",
            "clients",
            "openapi",
            proof="tests/engines/chat/test_faults.py::test_each_status_with_the_servers_own_words",
        ),
        _e.must(
            14,
            "The types of errors over HTTP are `server_error`, `invalid_request`, `not_found`, `model_error` and "
            "`too_many_requests`.",
            "open",
            only=OPEN_RESPONSES,
            departure="The types are OpenAI's on every transport (`invalid_request_error`, `rate_limit_error`, ...): "
            "official SDKs tell errors apart by status, and programs by code. The compliance suite checks the code, "
            "and not the type.",
        ),
        _e.must(
            15,
            "An error that an engine's rules make within a response has that error's code in `response.error` as well.",
            "types",
            "open",
        ),
    ),
)
