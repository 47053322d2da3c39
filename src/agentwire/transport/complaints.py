"""What a model's server says is wrong, in the shape of OpenAI, vLLM, llama.cpp, Ollama, TGI, Google or a gateway.

Message, code, status and offending member are dug out as far as they are there; a page of HTML says nothing. When to
come back is read in all the forms that HTTP has for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import attrs
import msgspec

__all__ = ["LONGEST_MESSAGE", "Complaint", "complaint_in", "is_complaint", "read_complaint", "wait_of"]

LONGEST_MESSAGE: Final = 1000
DEEPEST: Final = 5
MOST: Final = 10
"""Complaints in one list that are read."""

_MESSAGES: Final = ("message", "detail", "msg", "error_message")
_WRAPPINGS: Final = ("error", "detail", "errors")
_CODES: Final = ("code", "type", "error_type", "error_code", "status")
_TELLTALES: Final = ("error", "detail", "errors", "error_type", "error_code", "error_message")
"""Members that only an error has."""
_FINE: Final = ("", "0", "200", "ok", "success")
"""Codes of messages that are no errors."""
_STATUSES: Final = ("code", "status", "status_code", "http_status_code")

_bad: Final = re.compile("error|exception|fail|unavailable|overload|limit|timeout|invalid|denied", re.IGNORECASE).search


@attrs.frozen
class Complaint:
    """What a server said.

    Attributes:
        message: in words; may be empty.
        code: its name for it.
        status: the HTTP status that it names itself, if it does.
        param: the member of the request that it is about.
    """

    message: str = ""
    code: str | None = None
    status: int | None = None
    param: str | None = None


def read_complaint(body: bytes) -> Complaint:
    """What the body of an answer complains about."""
    try:
        return complaint_in(msgspec.json.decode(body))
    except (ValueError, RecursionError):
        text = body.decode(errors="replace").strip()
        return Complaint("" if text.startswith("<") else text[:LONGEST_MESSAGE])


def complaint_in(told: Any, *, depth: int = DEEPEST) -> Complaint:
    """What a JSON value complains about; errors may be wrapped in each other, in lists, or be plain text.

    Args:
        told: the value.
        depth: how many wrappings are looked through.
    """
    if isinstance(told, str):
        return Complaint(told[:LONGEST_MESSAGE].strip())
    if depth and isinstance(told, list):
        return _of_list(told, depth - 1)
    if not depth or not isinstance(told, Mapping):
        return Complaint()
    own = Complaint(
        _text(told, _MESSAGES)[:LONGEST_MESSAGE].strip(), _text(told, _CODES) or None, _status(told), _param(told)
    )
    inner = next(filter(_may_complain, map(told.get, _WRAPPINGS)), None)
    if inner is None and not isinstance(told.get("message"), str):
        inner = told.get("message")  # Mistral's, around FastAPI's list
    if inner is None:
        return _with_raw(own, told)
    found = complaint_in(inner, depth=depth - 1)
    return Complaint(
        found.message or own.message,
        found.code or own.code,
        found.status if found.status is not None else own.status,
        found.param or own.param,
    )


def is_complaint(told: Mapping[str, Any]) -> bool:
    """Whether an object with a message is an error, where others may be, too: progress, or a word of success."""
    found = complaint_in(told)
    if not found.message:
        return False
    if found.status is not None or any(told.get(name) for name in _TELLTALES):
        return True
    code = told.get("code")
    if isinstance(code, int | str) and str(code).lower() not in _FINE:
        return True
    return any(isinstance(kind := told.get(name), str) and _bad(kind) for name in ("type", "status"))


def _with_raw(own: Complaint, told: Mapping[str, Any]) -> Complaint:
    """With the words of whoever is behind a gateway, which OpenRouter has as they came."""
    metadata = told.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    behind = read_complaint(raw.encode(errors="replace")).message if isinstance(raw, str) else ""
    if not behind:
        return own
    said = f"{own.message.rstrip('.')}: {behind}" if own.message else behind
    return attrs.evolve(own, message=said[:LONGEST_MESSAGE])


def wait_of(headers: Mapping[str, str]) -> str:
    """In how many seconds to come back, as ``retry-after`` says it; empty if it is not said.

    A date counts from the answer's own ``date``, whoever's clock is wrong.
    """
    for read in (_in_milliseconds, _in_seconds_or_until):
        try:
            if wait := _seconds(read(headers)):
                return wait
        except (ValueError, TypeError, OverflowError):  # a date with and one without a zone cannot be compared
            continue
    return ""


def _in_milliseconds(headers: Mapping[str, str]) -> float:
    return float(headers.get("retry-after-ms", "")) / 1000


def _in_seconds_or_until(headers: Mapping[str, str]) -> float:
    said = headers.get("retry-after", "").strip()
    if said.replace(".", "", 1).isdecimal():
        return float(said)
    until, now = parsedate_to_datetime(said), parsedate_to_datetime(headers.get("date", ""))
    return (until - now).total_seconds()


def _seconds(wait: float) -> str:
    return str(max(0, math.ceil(wait))) if math.isfinite(wait) else ""


def _may_complain(value: Any) -> bool:
    return isinstance(value, str | Mapping | list) and bool(value)


def _of_list(told: list[Any], depth: int) -> Complaint:
    """Several: the first names the code, and all of them what is wrong (FastAPI)."""
    found = [complaint_in(each, depth=depth) for each in told[:MOST]]
    if not found:
        return Complaint()
    said = "; ".join(each.message for each in found if each.message)
    return attrs.evolve(found[0], message=said[:LONGEST_MESSAGE])


def _text(told: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((text for name in names if isinstance(text := told.get(name), str) and text), "")


def _status(told: Mapping[str, Any]) -> int | None:
    return next((status for name in _STATUSES for status in _statuses(told.get(name))), None)


def _statuses(value: Any) -> Iterator[int]:
    if isinstance(value, str) and value.isdecimal() and len(value) == 3:
        value = int(value)
    if isinstance(value, int) and 400 <= value <= 599:
        yield value


def _param(told: Mapping[str, Any]) -> str | None:
    """``param``, or FastAPI's path of where it is (``["body", "tools", 0]``)."""
    param, path = told.get("param"), told.get("loc")
    if isinstance(param, str) and param:
        return param
    if isinstance(path, list) and path[:1] == ["body"] and len(path) > 1:
        return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path[1:])[1:]
    return None
