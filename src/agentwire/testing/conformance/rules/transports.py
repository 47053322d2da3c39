"""Rules about what is stored, about HTTP, and about the end of connections."""

from __future__ import annotations

from typing import Final

from agentwire.testing.conformance.rules.model import OPENAI, Maker, Topic

__all__ = ["BACKGROUND", "CLOSES", "EVENT_STREAMS", "HTTP", "STORED"]

_r = Maker("R")

STORED: Final = Topic(
    "R",
    "Stored responses",
    (
        _r.must(1, "`store` is true unless the request says otherwise.", "openapi", "guide"),
        _r.must(
            2,
            "A stored response, made over either transport, is what `GET /v1/responses/{id}` shows.",
            "openapi",
            "guide",
        ),
        _r.must(3, "A response of `store: false` is not there to be got: 404.", "openapi", "guide"),
        _r.must(4, "An id that does not exist is a 404 with a JSON error.", "openapi"),
        _r.should(5, "A response of another owner's key is a 404.", "ours"),
        _r.must(
            6,
            "`DELETE /v1/responses/{id}` forgets a response: it answers with success, `deleted: true` by convention, "
            "and the id is a 404 from then on.",
            "openapi",
        ),
        _r.must(
            7,
            '`GET /v1/responses/{id}/input_items` lists the input as `object: "list"`, with `data`, `first_id`, '
            "`last_id` and `has_more`; 20 of them, the latest first, unless `limit` (1 to 100), `order` and `after` "
            "say otherwise.",
            "openapi",
        ),
        _r.choice(
            8,
            "A stored turn that is cut off leaves no record that is `in_progress` for ever.",
        ),
        _r.must(
            9,
            "Where nothing may be retained, `store` is false in every response, and nothing is written.",
            "guide",
            proof="tests/cli/test_store.py::test_zero_retention_writes_nothing",
        ),
        _r.must(10, "A deleted response cannot be continued.", "openapi"),
        _r.should(
            11,
            "A stored response is kept for 30 days, as far as there is room.",
            "openapi",
            proof="tests/stores/test_sqlite.py::test_what_is_too_old_goes_without_any_write",
        ),
    ),
)

_p = Maker("P")

HTTP: Final = Topic(
    "P",
    "HTTP",
    (
        _p.must(1, "`POST /v1/responses` answers with the whole response object, as JSON.", "openapi", "open"),
        _p.must(
            2,
            "Whether the answer is streamed follows from `stream` in the body, and not from `Accept`.",
            "clients",
        ),
        _p.must(
            3,
            'A refused request is an HTTP error with its status and the body `{"error": {message, type, param, '
            "code}}`.",
            "openapi",
        ),
        _p.should(4, "`stream_id` over HTTP is a 400 `unknown_parameter`.", "guide", "ours"),
        _p.should(
            5,
            "A member that the server does not know is a 400 `unknown_parameter` over HTTP.",
            "observed",
            departure="Unknown members are ignored on both transports: the same body must mean the same on either, "
            "and clients that fall back from one to the other send the same.",
        ),
        _p.must(
            6,
            '`POST /v1/responses/input_tokens` answers with `object: "response.input_tokens"` and the number of '
            "tokens that the request's input would have.",
            "openapi",
        ),
        _p.should(7, "Answers have an `x-request-id`.", "observed", "ours"),
        _p.should(8, "A method that a path does not have is a 405 that names those it has in `Allow`.", "rfc9110"),
        _p.should(9, "A body that is no JSON object is a 400.", "openapi", "ours"),
        _p.should(10, "A failed turn without a stream is an HTTP error of its status.", "openapi", "ours"),
    ),
)

_v = Maker("V")

EVENT_STREAMS: Final = Topic(
    "V",
    "Server-sent events",
    (
        _v.must(1, "The stream's type is `text/event-stream`.", "openapi", "html"),
        _v.must(
            2,
            "Each event is a line `event:` with its type, a line `data:` with its JSON, and an empty line; there are "
            "no ids.",
            "openapi",
            "open",
        ),
        _v.must(3, "After the terminal event comes `data: [DONE]`, and the stream ends.", "open"),
        _v.should(
            4,
            "The stream is kept out of caches and buffers: `Cache-Control: no-cache`, `X-Accel-Buffering: no`.",
            "ours",
        ),
        _v.must(
            5,
            "A request that is refused before its response begins is an HTTP error, and not a stream.",
            "openapi",
            "clients",
        ),
        _v.must(
            6,
            "An error within the stream has the nested form, and `response.failed` follows.",
            "observed",
            "open",
        ),
        _v.should(
            7,
            "A client that drops the connection cancels its turn.",
            "background",
            "ours",
            proof="tests/server/test_disconnect.py::test_cancel_everything_ends_with_its_connection",
        ),
    ),
)

_b = Maker("B")

BACKGROUND: Final = Topic(
    "B",
    "Background",
    (
        _b.must(
            1,
            "`background: true` over HTTP answers at once with a response that is `queued` or `in_progress`, and the "
            "turn goes on without the client.",
            "background",
            only=OPENAI,
        ),
        _b.must(2, "`background: true` needs `store: true`; it is a 400 without.", "background", only=OPENAI),
        _b.must(
            3,
            "`GET /v1/responses/{id}` shows how far it is, and in the end the whole response.",
            "background",
            only=OPENAI,
        ),
        _b.must(
            4,
            "`POST /v1/responses/{id}/cancel` ends it with the status `cancelled`, answers with the response, and "
            "may be said again.",
            "background",
            "openapi",
            only=OPENAI,
        ),
        _b.must(
            5, "`cancel` of a response that is not in the background is a 400.", "openapi", "background", only=OPENAI
        ),
        _b.must(
            6,
            "`GET /v1/responses/{id}?stream=true&starting_after=N` gives the events with a greater "
            "`sequence_number`, those to come included.",
            "background",
            "openapi",
            only=OPENAI,
        ),
        _b.must(
            7,
            "Only a response that was made with `background` and `stream` can be streamed again.",
            "background",
            only=OPENAI,
        ),
        _b.must(8, "The stream of a background response goes on without its first reader.", "background", only=OPENAI),
        _b.choice(
            9,
            "A background response that no process works on any more is `failed`, and not `in_progress` for ever.",
            only=OPENAI,
            proof="tests/stores/test_sqlite.py::test_what_ran_in_a_process_that_has_stopped_has_failed",
        ),
    ),
)

_x = Maker("X")

CLOSES: Final = Topic(
    "X",
    "The end of a connection",
    (
        _x.must(1, "The connection stays open after a terminal event.", "guide", "open"),
        _x.must(2, "A close of the client is answered with its code.", "rfc6455"),
        _x.must(
            3,
            "After 60 minutes an `error` event says `websocket_connection_limit_reached`, status 400, on no lane; "
            "then the connection is closed. A server may set another bound.",
            "guide",
            "open",
        ),
        _x.choice(
            4,
            "At that age what runs has a grace to finish, new requests are refused with the same code, and the close "
            "code is 1001, at which SDKs reconnect.",
        ),
        _x.choice(
            5,
            "A server that shuts down lets what runs finish, and closes with 1012.",
            proof="tests/server/test_life.py::test_a_drain_lets_turns_finish_and_closes_with_1012",
        ),
        _x.choice(
            6,
            "A fault of the server's own closes with 1011.",
            proof="tests/server/test_server.py::test_a_sessions_own_failure_is_not_the_servers",
        ),
        _x.choice(
            7,
            "A connection whose rights have ended is closed with 1008.",
            proof="tests/server/test_extensions.py::test_revoked_a_principal_is_put_out_and_kept_out",
        ),
        _x.should(
            8,
            "A client that goes, with a close frame or without, ends the work that runs for it, unless the server "
            "lets it resume.",
            "background",
            "ours",
            proof="tests/server/test_disconnect.py::test_cancel_everything_ends_with_its_connection",
        ),
        _x.should(
            9,
            "Nothing that a client cuts off is lost for others: a cut in the midst of a response leaves the server "
            "as it was.",
            "clients",
        ),
        _x.should(
            10,
            "There is no idle timeout: a connection on which nothing happens, but whose client answers pings, stays "
            "open until its age ends it.",
            "observed",
            "ours",
        ),
        _x.choice(
            11,
            "A connection that is shed for overload is closed with 1013.",
            departure="An overloaded server refuses new connections, and keeps those that it has.",
        ),
    ),
)
