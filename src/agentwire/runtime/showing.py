"""A response object as JSON, time and again while it is made: what it echoes of its request becomes JSON once."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

import attrs

from agentwire.protocol.irregular import write_usage
from agentwire.protocol.response import Response
from agentwire.protocol.writing import encode_json, encode_wire

__all__ = ["Shown"]

_CHANGES: Final = (
    "id", "created_at", "completed_at", "status", "error", "incomplete_details", "model", "service_tier", "usage",
)  # fmt: skip
_APART: Final = ("output", "extra")
_STAYS: Final = tuple(
    field.name for field in attrs.fields(Response) if field.name not in _CHANGES and field.name not in _APART
)
_get_changes: Final = attrgetter(*_CHANGES)
_get_rest: Final = attrgetter(*_STAYS)


class Shown:
    """How one response is shown.

    Args:
        response: as it is when it begins.
    """

    __slots__ = ("_begun", "_stays")

    def __init__(self, response: Response) -> None:
        self._begun = response
        self._stays = b""  # until it is shown

    def begun(self) -> bytes:
        """The JSON of the response as it was when it began."""
        return self.text(self._begun)

    def text(self, response: Response, output: bytes = b"[]") -> bytes:
        """The JSON of the response as it is now.

        Args:
            response: it; what it echoes of the request is as it was when it began.
            output: the JSON of its items.
        """
        if not self._stays:
            self._stays = encode_json(dict(zip(_STAYS, _get_rest(self._begun), strict=True)))[1:]
        changes: dict[str, Any] = {"object": response.object}
        changes |= zip(_CHANGES, _get_changes(response), strict=True)
        if response.usage is not None:
            changes["usage"] = write_usage(response.usage)
        changes |= response.extra
        return b'%b,"output":%b,%b' % (encode_wire(changes)[:-1], output, self._stays)
