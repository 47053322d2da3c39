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

_NAMES: Final = ("object", "id", "created_at", "previous_response_id")
_CHANGES: Final = ("status", "model", "service_tier", "error", "incomplete_details", "usage", "completed_at")
_APART: Final = (*_NAMES, *_CHANGES, "output", "extra")
_STAYS: Final = tuple(field.name for field in attrs.fields(Response) if field.name not in _APART)
_get_names: Final = attrgetter(*_NAMES)
_get_changes: Final = attrgetter(*_CHANGES)
_get_rest: Final = attrgetter(*_STAYS)
_KEPT: Final = 64 * 1024
"""The most bytes of JSON that are kept for the next response."""


class _Echo:
    """What is shown of a request, and of every other one that says the same.

    Attributes:
        said: that.
        blank: the response to it, without names.
        stays: what never changes of its JSON, up to its end.
        begun: all that its names are followed by when it begins.
    """

    __slots__ = ("begun", "blank", "said", "stays")

    def __init__(self, request: CreateRequest) -> None:
        self.said = echoed(request)
        self.blank = Response.begin(request, id="", created_at=0)
        self.stays = encode_json(dict(zip(_STAYS, _get_rest(self.blank), strict=True)))[1:]
        self.begun = b"%b,%b" % (_changes(self.blank, b"[]"), self.stays)


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
    names = {"id": id, "created_at": created_at, "previous_response_id": request.previous_response_id}
    begun = changed(echo.blank, names)
    return begun, Shown(begun, echo)


class Shown:
    """How one response is shown; made by `begin`."""

    __slots__ = ("_echo", "_names")

    def __init__(self, begun: Response, echo: _Echo) -> None:
        self._echo = echo
        self._names = encode_wire(dict(zip(_NAMES, _get_names(begun), strict=True)))[:-1]

    def begun(self) -> bytes:
        """The JSON of the response as it was when it began."""
        return b"%b,%b" % (self._names, self._echo.begun)

    def text(self, response: Response, output: bytes) -> bytes:
        """The JSON of the response as it is now.

        Args:
            response: it; what it echoes of the request is as it was when it began.
            output: the JSON of its items.
        """
        return b"%b,%b,%b" % (self._names, _changes(response, output), self._echo.stays)


def _changes(response: Response, output: bytes) -> bytes:
    """What of its JSON changes while it is made."""
    changes: dict[str, Any] = dict(zip(_CHANGES, _get_changes(response), strict=True))
    if response.usage is not None:
        changes["usage"] = write_usage(response.usage)
    changes |= response.extra
    return b'%b,"output":%b' % (encode_wire(changes)[1:-1], output)
