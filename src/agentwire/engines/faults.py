"""What goes wrong at the model's server, as the client is told.

A fault of the request stays the client's (400, 404, 429, with what the server said); a fault of this server's key or
address, and of the model's server itself, is a 502 or 503 that names the model's server and tells no secret.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from agentwire.protocol.errors import ConnectionEnded, EngineError, RemoteProtocolError
from agentwire.protocol.events import ErrorEvent
from agentwire.protocol.irregular import read_error
from agentwire.transport.complaints import LONGEST_MESSAGE, Complaint, complaint_in, read_complaint, wait_of
from agentwire.transport.http_client import HttpStatusError, ServerSilent

__all__ = [
    "answer_fault",
    "bearer",
    "broken_off",
    "event_fault",
    "no_call",
    "place_of",
    "refused_upgrade",
    "rubbish",
    "server_of",
    "status_fault",
    "stream_fault",
    "unreachable",
]

_log = logging.getLogger("agentwire.engine")

_OURS: Final = (401, 403, 407)
_OVERLOADED: Final = (503, 529)
_NO_WEBSOCKET: Final = (404, 405, 410, 426, 501)
_THE_CLIENTS: Final[Mapping[int, tuple[int, str]]] = {
    400: (400, "invalid_request"),
    402: (429, "insufficient_quota"),
    404: (404, "model_not_found"),
    413: (400, "request_too_large"),
    422: (400, "invalid_request"),
    429: (429, "rate_limit_exceeded"),
}
_STATUS_OF: Final[Mapping[str, int]] = {
    "invalid_prompt": 400,
    "context_length_exceeded": 400,
    "previous_response_not_found": 400,
    "invalid_request_error": 400,
    "model_not_found": 404,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "usage_limit_reached": 429,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "server_is_overloaded": 503,
    "slow_down": 503,
}
"""The status that an error has whose event names none, by its code or its type."""
_NAMES: Final = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "logprobs": "top_logprobs",
    "functions": "tools",
    "function_call": "tool_choice",
    "json_schema": "text.format",
}
"""Members of the chat API that have another name in the client's request."""
_NO_SUCH_PATH: Final = ("", "not found", "file not found", "404 page not found")
_TOO_LONG: Final = (
    "context length",
    "context size",
    "context window",
    "context_length",
    "prompt is too long",
    "maximum number of tokens allowed",
    "maximum input length",
    "maximum context",
    "max context",
    "exceed_context_size",
    "exceeds the available context",
    "longer than the maximum model length",
    "maximum allowed length",
    "input is too long",
    "too many tokens",
    "context_window",
    "`inputs` tokens",
)
"""What servers say of a prompt that is longer than their model's context."""
_MAY_BE_LENGTH: Final = (400, 413, 422, 500)
"""The statuses that they say it with; some take it for a fault of their own."""


def status_fault(server: str, error: HttpStatusError) -> EngineError:
    """The model's server answered with an HTTP error.

    Args:
        server: its scheme, host and port.
        error: its answer.
    """
    return _fault(server, error.status, read_complaint(error.body), wait_of(error.headers))


def stream_fault(server: str, told: Any) -> EngineError:
    """The model's server reported an error in the middle of its answer; ``told`` is what it had under ``error``."""
    complaint = complaint_in(told)
    status = complaint.status or _STATUS_OF.get(complaint.code or "", 500)
    return _fault(server, status, complaint, "", how="reported an error within its answer")


def event_fault(server: str, event: ErrorEvent) -> EngineError:
    """The model's server speaks the client's own protocol, and reported an error: in its own words, as it stands.

    Args:
        server: its scheme, host and port.
        event: what it said.
    """
    named = (code for code in (event.code, event.error_type) if code in _STATUS_OF)
    status = event.status or next((_STATUS_OF[code] for code in named if code is not None), 502)
    wait = wait_of(event.headers)
    if status in _OURS:
        return _fault(server, status, Complaint(event.message, event.code), "")
    _, usual = _THE_CLIENTS.get(status, (status, "upstream_error" if status >= 500 else "invalid_request"))
    code, param = event.code or usual, event.param
    if status == 400 and _is_too_long(f"{event.code} {event.error_type} {event.message}"):
        code, param = "context_length_exceeded", "input"
    headers = {"retry-after": wait} if wait else {}
    message = event.message[:LONGEST_MESSAGE]
    return EngineError(message, code=code, status=status, param=param, headers=headers)


def answer_fault(server: str, error: HttpStatusError) -> EngineError:
    """The model's server speaks the client's own protocol, and answered with an HTTP error.

    What it has against the request is told in its own words.
    """
    try:
        told = msgspec.json.decode(error.body)
    except (ValueError, RecursionError):
        told = None
    said = told.get("error") if isinstance(told, Mapping) else None
    if not isinstance(said, Mapping) or not said.get("message") or error.status in _OURS or error.status >= 500:
        return status_fault(server, error)
    if _is_no_path(error.status, str(said["message"])) and not isinstance(said.get("code"), str):
        return status_fault(server, error)
    headers = {"retry-after": wait} if (wait := wait_of(error.headers)) else {}
    return event_fault(server, read_error({"error": said, "status": error.status, "headers": headers}))


def refused_upgrade(server: str, error: HttpStatusError) -> EngineError:
    """The model's server answered the upgrade with HTTP: nothing that the client asks was sent, so it is not at fault.

    Args:
        server: its scheme, host and port.
        error: its answer.
    """
    if error.status < 400 or error.status in _NO_WEBSOCKET:
        message = f"The model's server {server} takes no WebSocket at this address (HTTP {error.status}); "
        message += "is its base URL right, and does it speak the WebSocket mode?"
        return EngineError(message, code="upstream_not_found", status=502)
    fault = answer_fault(server, error)
    if fault.status >= 500 or fault.status == 429:
        return fault
    message = f"The model's server {server} refused the connection (HTTP {error.status}): {fault.message}"
    return EngineError(message, code="upstream_unreachable", status=502)


def unreachable(server: str, error: ConnectionEnded) -> EngineError:
    """No answer began."""
    if isinstance(error, ServerSilent):
        return _silent(server, error)
    return EngineError(_sentence(server, error.cause), code="upstream_unreachable", status=502)


def broken_off(server: str, error: ConnectionEnded | None = None) -> EngineError:
    """The answer ended in the middle."""
    if isinstance(error, ServerSilent):
        return _silent(server, error)
    cause = "" if error is None else error.cause
    if error is not None and error.received is not None and not cause:
        cause = f"closed its connection with {error.received} before the answer had ended"
    return EngineError(
        _sentence(server, cause or "ended its answer without saying that it had finished"),
        code="upstream_disconnected",
        status=502,
    )


def _silent(server: str, error: ServerSilent) -> EngineError:
    return EngineError(_sentence(server, error.cause), code="upstream_timeout", status=504)


def rubbish(server: str, error: RemoteProtocolError | RecursionError | str) -> EngineError:
    """The answer is none of a server of its kind, or is nested more deeply than it can be read or told."""
    said = "what it sent is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return EngineError(_sentence(server, said), code="upstream_protocol_error", status=502)


def no_call(server: str, error: EngineError) -> EngineError:
    """The model owed a call, and the second request, which this engine made of its own, failed."""
    if error.status != 400:
        return error
    message = f"A tool had to be called; {server} did not enforce that, and it refused a JSON schema: {error.message}"
    return EngineError(message, code="tool_choice_unsupported", status=502)


def _fault(server: str, status: int, complaint: Complaint, wait: str, *, how: str = "") -> EngineError:
    """``how`` the server told it, unless it answered with that status."""
    said, code = complaint.message, complaint.code
    if status in _OURS:
        _log.warning("%s refused this server's key (HTTP %d)", server, status)
        message = (
            f"The model's server {server} refused this server's own key (HTTP {status}); the client's is not used."
        )
        return EngineError(message, code="upstream_unauthorized", status=502)
    if _is_no_path(status, said):
        message = f"The model's server {server} has nothing at this address (HTTP 404); is its base URL right?"
        return EngineError(message, code="upstream_not_found", status=502)
    ours, usual = _THE_CLIENTS.get(status, (503 if status in _OVERLOADED else 502, "upstream_error"))
    param = _clients_name(complaint.param) if ours == 400 else None
    if status in _MAY_BE_LENGTH and _is_too_long(f"{code} {said}"):
        ours, code, param = 400, "context_length_exceeded", "input"
    if status == 404:
        code = usual  # many call it by the name of an exception
    how = how or f"answered with an error (HTTP {status})"
    message = f"The model's server {server} {how}{': ' if said else ''}{said}"
    message += "" if message.endswith((".", "!", "?")) else "."
    hint, headers = (f" Try again in {wait} s.", {"retry-after": wait}) if wait else ("", {})
    return EngineError(message + hint, code=code or usual, status=ours, param=param, headers=headers)


def _is_no_path(status: int, said: str) -> bool:
    """Whether it is this server's base URL that is wrong."""
    said = said.lower()
    return status == 404 and (said.rstrip(".") in _NO_SUCH_PATH or said.startswith("invalid url"))


def _is_too_long(said: str) -> bool:
    return any(words in said.lower() for words in _TOO_LONG)


def _clients_name(param: str | None) -> str | None:
    """What the client calls the member of the chat API that its server complains about."""
    if param is None:
        return None
    name = param.replace("[", ".").partition(".")[0]
    return _NAMES.get(name, param)


def server_of(base_url: str) -> str:
    """Scheme, host and port: what a client may be told, unlike a user name or a query."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def place_of(base_url: str) -> str:
    """The same with the path: what whoever runs this server may read on its screen and in its log."""
    return f"{server_of(base_url)}{urlsplit(base_url).path}"


def bearer(key: str) -> str:
    """The value of ``Authorization`` for this key.

    Raises:
        ValueError: it can stand in no header.
    """
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("the key for the model's server must be printable ASCII without blanks")
    return f"Bearer {key}"


def _sentence(server: str, what: str) -> str:
    """``what``, with the server's name in front of it unless it has it already."""
    text = what if what.startswith(server) else f"{server}: {what}"
    return f"The model's server failed: {text.rstrip('.')}."
