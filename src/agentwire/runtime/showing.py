"""A response object as JSON, time and again while it is made: what it echoes of its request becomes JSON once.

A client often says the same settings turn after turn: what its responses show of them is made for the first, if they
are short.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final

import attrs

from agentwire.protocol.checks import EMPTY
from agentwire.protocol.copying import changed
from agentwire.protocol.irregular import write_usage
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.response import Response, echoed
from agentwire.protocol.transcript import Memo
from agentwire.protocol.writing import encode_json, encode_wire

__all__ = ["Shown"]

_CHANGES: Final = ("status", "model", "service_tier", "error", "incomplete_details", "usage", "completed_at")
_APART: Final = ("id", "created_at", "previous_response_id", *_CHANGES, "output", "extra")
_STAYS: Final = tuple(field.name for field in attrs.fields(Response) if field.name not in _APART)
_get_stays: Final = attrgetter(*_STAYS)
_KEPT: Final = 4 * 1024
"""The most bytes of a response's JSON, as it begins, that are kept for the next one."""


class _Echo:
    """What is shown of a request, and of every other one that says the same.

    Attributes:
        said: that; None if it is not for keeping.
        blank: the response to it, without names.
        stays: what never changes of its JSON, up to its end.
        changes: what may change, as it is when a response begins.
        begun: both as JSON: what stands behind the names of a response that begins.
    """

    __slots__ = ("begun", "blank", "changes", "said", "stays")

    def __init__(self, request: CreateRequest, said: tuple[Any, ...] | None) -> None:
        self.said = said
        self.blank = Response.begin(request, id="", created_at=0)
        self.stays = encode_json(dict(zip(_STAYS, _get_stays(self.blank), strict=True)))[1:]
        self.changes = {name: getattr(self.blank, name) for name in _CHANGES}
        self.begun = b'%b,"output":[],%b' % (encode_wire({**self.changes, **self.blank.extra})[1:-1], self.stays)


class Shown:
    """A response while it is made, and how it is shown.

    Args:
        request: what was asked.
        memo: a cell for what it has in common with the next one, such as its lane's.
        id: the new response's id.
        created_at: whole seconds since the epoch.
    """

    __slots__ = ("_echo", "_json", "_names")

    def __init__(
        self,
        request: CreateRequest,
        memo: Memo,
        *,
        id: str,  # noqa: A002 - the wire's own name
        created_at: int,
    ) -> None:
        echo, said = memo.value, echoed(request)
        if said is None or not isinstance(echo, _Echo) or echo.said != said:
            echo = _Echo(request, said)
            memo.value = echo if said is not None and len(echo.begun) <= _KEPT else None
        self._echo = echo
        self._names = {"id": id, "created_at": created_at, "previous_response_id": request.previous_response_id}
        self._json = encode_wire({"object": Response.object, **self._names})[:-1]

    def response(self, changes: Mapping[str, Any] = EMPTY) -> Response:
        """The response with what has changed since it began."""
        return changed(self._echo.blank, {**self._names, **changes})

    def told(self, members: Mapping[str, Any]) -> dict[str, Any]:
        """See `Response.told`."""
        return self._echo.blank.told(members)

    def begun(self) -> bytes:
        """The JSON of the response as it was when it began."""
        return b"%b,%b" % (self._json, self._echo.begun)

    def ended(self, changes: Mapping[str, Any], output: bytes) -> bytes:
        """The JSON of the response with what has changed since it began.

        Args:
            changes: none of what it echoes of its request.
            output: the JSON of its items.
        """
        now = {**self._echo.changes, **changes}
        extra = now.pop("extra", self._echo.blank.extra)
        now.pop("output", None)
        if now["usage"] is not None:
            now["usage"] = write_usage(now["usage"])
        return b'%b,%b,"output":%b,%b' % (self._json, encode_wire({**now, **extra})[1:-1], output, self._echo.stays)
