"""Rules about what only a running system shows: the model server behind it, and its own end and return."""

from __future__ import annotations

from typing import Final

from agentwire.testing.conformance.rules.model import Maker, Topic

__all__ = ["SHUTDOWN", "UPSTREAM"]

_u = Maker("U")

UPSTREAM: Final = Topic(
    "U",
    "The model server behind it",
    (
        _u.should(
            1,
            "A client that goes, with a close frame or without, ends within two seconds all that the model server does "
            "for it, also while the model is silent.",
            "background",
            "field",
            "ours",
        ),
        _u.should(
            2,
            "A client that leaves a request over HTTP, streamed or not, ends within two seconds what the model server "
            "does for it.",
            "background",
            "field",
            "ours",
        ),
        _u.must(
            3,
            "A model server that dies or breaks off in the midst of an answer, or says that it has failed, ends the "
            "response with exactly one terminal event, `response.failed`; half an answer is never a completed one.",
            "types",
            "open",
            "field",
        ),
        _u.must(
            4,
            "A model server that fails one request fails that turn alone: the connection goes on, and so do its other "
            "lanes.",
            "guide",
            "field",
        ),
        _u.should(
            5,
            "A 429 of the model server is a 429 for the client, with its `retry-after`, on the socket and over HTTP.",
            "clients",
            "field",
        ),
        _u.should(
            6,
            "One request of a client is at most five requests to a model server that fails.",
            "field",
            "ours",
        ),
        _u.must(
            7,
            "What the model is sent does not depend on how it was said: a chain of ids on a socket or over HTTP, and "
            "the whole history in one request, are the same to it.",
            "guide",
            "field",
        ),
        _u.must(8, "A request that is refused asks the model nothing.", "guide", "field"),
        _u.should(
            9,
            "A client that does not read what it is sent stops the model server: no more than 24 MiB are taken for it.",
            "field",
            "ours",
        ),
        _u.must(10, "A client that does not read holds up nobody else.", "field"),
        _u.should(
            11,
            "A client that reads nothing for five minutes is given up, and the model server is free again.",
            "field",
            "ours",
        ),
        _u.must(
            12,
            "A model that is silent holds up neither pings, nor the other lanes of the connection, nor other "
            "connections.",
            "rfc6455",
            "guide",
            "field",
        ),
        _u.should(
            13,
            "A response whose model falls silent for ever ends within ten minutes, or gives signs of life.",
            "field",
            "ours",
        ),
        _u.must(
            14,
            "A turn that was left leaves nothing behind: what is asked next, on whatever connection, gets its own "
            "answer.",
            "field",
        ),
        _u.should(
            15,
            "Codes of the model server that clients act upon, such as `context_length_exceeded` and "
            "`insufficient_quota`, arrive as they are.",
            "clients",
            "field",
        ),
        _u.should(
            16,
            "What a model server says that makes no sense is a fault, and not passed over: the text around it is not "
            "the whole answer.",
            "field",
            "ours",
        ),
    ),
)

_d = Maker("D")

SHUTDOWN: Final = Topic(
    "D",
    "Shutdown and restart",
    (
        _d.should(
            1,
            "A server that is asked to leave (SIGTERM) lets the responses that run complete, on sockets and over HTTP.",
            "field",
        ),
        _d.should(
            2,
            "Its connections are closed with 1012 or 1001, at which clients connect again; never without a close "
            "frame, without a code, or with 1000.",
            "clients",
            "field",
        ),
        _d.should(3, "It takes no new request meanwhile: what comes is refused, or its connection is closed.", "field"),
        _d.should(4, "A connection on which nothing runs is closed at once.", "field", "ours"),
        _d.should(5, "Once nothing runs any more, it ends by itself, with exit code 0.", "field", "ours"),
        _d.must(
            6,
            "After a restart a response of `store: false` is `previous_response_not_found`, and not a conversation "
            "that silently begins anew; the server can be started again where it was at once.",
            "guide",
            "field",
        ),
        _d.should(
            7, "A stored response that was told as completed survives the death of its process.", "guide", "field"
        ),
        _d.should(
            8,
            "Clients that come and go, with goodbyes and without, leave no file and no socket of the server open.",
            "field",
            "ours",
        ),
    ),
)
