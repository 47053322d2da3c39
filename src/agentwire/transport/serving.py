"""The loop of one HTTP connection: request, answer, and again, whatever the one who answers does.

A request that cannot be served is answered with its error, one whose answer failed with a 500 that tells nothing, and
the connection goes on; it ends where an answer had begun and cannot be finished.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from agentwire.protocol.errors import ConnectionEnded, LocalProtocolError, RequestError
from agentwire.runtime.groups import single
from agentwire.transport.http11 import HttpConnection
from agentwire.transport.requests import Request

__all__ = ["Answer", "serve_requests"]

Answer = Callable[[HttpConnection, Request], Awaitable[object]]
"""Answers one request, or takes the connection over; raises `RequestError` to refuse it."""

_log = logging.getLogger("agentwire.transport")


async def serve_requests(connection: HttpConnection, answer: Answer) -> None:
    """Answer requests until the connection is over, and close it, unless it was taken over.

    What ``answer`` raises after a take-over is raised here. Cancelling closes the connection, in the middle of an
    answer if need be.
    """
    try:
        while not connection.taken and (request := await connection.next_request()) is not None:
            await _serve_one(connection, request, answer)
    finally:
        await connection.aclose()  # noqa: ASYNC102 - cancelled, it closes by force


async def _serve_one(connection: HttpConnection, request: Request, answer: Answer) -> None:
    try:
        await answer(connection, request)
        if not connection.taken and not connection.finished:
            raise LocalProtocolError("a request was not answered in full")
    except Exception as error:
        if connection.taken:
            raise
        await _settle(connection, request, error)


async def _settle(connection: HttpConnection, request: Request, error: Exception) -> None:
    """Bring a request to an end whose answer raised ``error``."""
    if connection.broken:
        _log.debug("%s %s from %s: %s", request.method, request.path, connection.peer, connection.broken)
        return
    told = single(error) if isinstance(error, ExceptionGroup) else error
    if not isinstance(told, RequestError):
        _log.error("%s %s failed", request.method, request.path, exc_info=error)
        told = RequestError(500, "server_error", "the server failed to answer this request")
    if connection.answered:
        await connection.abort("the answer could not be finished")
        return
    with suppress(ConnectionEnded):
        await connection.respond_error(told)
