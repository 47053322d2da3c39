"""A response object as JSON, time and again while it is made: what it echoes of its request becomes JSON once.

A client that works on says the same settings turn after turn: what its responses show of them is made for the first.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

import attrs

from agentwire.protocol.copying import changed
from agentwire.protocol.irregular import write_usage
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.response import Response, echoed
from agentwire.protocol.transcript import Memo
from agentwire.protocol.writing import encode_json, encode_wire

__all__ = ["Shown", "begin"]

_CHANGES: Final = (
    "id", "created_at", "completed_at", "status", "error", "incomplete_details", "model", "previous_response_id",
    "service_tier", "usage",
)  # fmt: skip
_APART: Final = ("output", "extra")
_STAYS: Final = tuple(
    field.name for field in attrs.fields(Response) if field.name not in _CHANGES and field.name not in _APART
)
_get_changes: Final = attrgetter(*_CHANGES)
_get_rest: Final = attrgetter(*_STAYS)
_KEPT: Final = 64 * 1024
"""The most bytes of JSON that are kept for the next response."""


class _Echo:
    """What is shown of a request, and of every other one that says the same."""

    __slots__ = ("blank", "said", "stays")

    def __init__(self, request: CreateRequest) -> None:
        self.said = echoed(request)
        self.blank = Response.begin(request, id="", created_at=0)
        self.stays = encode_json(dict(zip(_STAYS, _get_rest(self.blank), strict=True)))[1:]


def begin(
    request: CreateRequest,
    memo: Memo,
    *,
    id: str,  # noqa: A002 - the wire's own name
    created_at: int,
) -> tuple[Response, Shown]:
    """The response to a request as it begins, and how it is shown from then on.

    Args:
        request: what was asked.
        memo: a cell for what it has in common with the next one, such as its lane's.
        id: the new response's id.
        created_at: whole seconds since the epoch.
    """
    echo = memo.value
    if not isinstance(echo, _Echo) or echo.said != echoed(request):
        echo = _Echo(request)
        memo.value = echo if len(echo.stays) <= _KEPT else None
    names = {"model": request.model, "previous_response_id": request.previous_response_id}
    begun = changed(echo.blank, {"id": id, "created_at": created_at, **names})
    return begun, Shown(begun, echo.stays)


class Shown:
    """How one response is shown.

    Args:
        begun: the response as it is when it begins.
        stays: what never changes of its JSON.
    """

    __slots__ = ("_begun", "_stays")

    def __init__(self, begun: Response, stays: bytes) -> None:
        self._begun = begun
        self._stays = stays

    def begun(self) -> bytes:
        """The JSON of the response as it was when it began."""
        return self.text(self._begun)

    def text(self, response: Response, output: bytes = b"[]") -> bytes:
        """The JSON of the response as it is now.

        Args:
            response: it; what it echoes of the request is as it was when it began.
            output: the JSON of its items.
        """
        changes: dict[str, Any] = {"object": response.object}
        changes |= zip(_CHANGES, _get_changes(response), strict=True)
        if response.usage is not None:
            changes["usage"] = write_usage(response.usage)
        changes |= response.extra
        return b'%b,"output":%b,%b' % (encode_wire(changes)[:-1], output, self._stays)
