"""An error that came instead of a response: what it says of the connection, and of what was to be continued.

Only what is this connection's own is for whoever sent the request to put right; all the rest is the client's.
"""

from __future__ import annotations

from typing import Final, Self

import attrs
import msgspec

from agentwire.link import Exchange, Fate

__all__ = ["Refusal"]

NOT_FOUND: Final = "previous_response_not_found"
_WORN_OUT: Final = frozenset(("websocket_connection_limit_reached", "websocket_stream_limit_reached"))


class _Told(msgspec.Struct):
    code: str | None = None
    param: str | None = None


class _Error(msgspec.Struct):
    type: str
    error: _Told | None = None
    code: str | None = None


@attrs.frozen
class Refusal:
    """A refused request.

    Attributes:
        code: machine-readable code, if there is one.
        param: the offending member, if there is one.
    """

    code: str | None
    param: str | None

    @classmethod
    def of(cls, exchange: Exchange, frames: list[bytes]) -> Self | None:
        """What these events say, if they are an error that answers the request instead of a response."""
        if not frames or exchange.response_id is not None or exchange.fate is not Fate.FINISHED:
            return None
        error = msgspec.json.decode(frames[-1], type=_Error)
        told = error.error or _Told(error.code)
        return cls(told.code, told.param)

    @property
    def forgotten(self) -> bool:
        """The server does not know what was to be continued."""
        return self.code == NOT_FOUND

    @property
    def worn_out(self) -> bool:
        """The connection takes no more requests."""
        return self.code in _WORN_OUT

    @property
    def no_lanes(self) -> bool:
        """The server does not take a request for a lane."""
        return self.param == "stream_id"
