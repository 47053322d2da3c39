"""An error that came instead of a response, and what it says of the connection.

Only what is this connection's own is for whoever sent the request to put right; all the rest is the client's.
"""

from __future__ import annotations

from typing import Final, Self

import attrs
import msgspec

from agentwire.link import Exchange, Fate
from agentwire.protocol.codec import decode_event
from agentwire.protocol.events import ErrorEvent

__all__ = ["Refusal"]

_WORN_OUT: Final = "websocket_connection_limit_reached"
_NO_MORE_LANES: Final = "websocket_stream_limit_reached"


class _Typed(msgspec.Struct):
    type: str


_TYPE: Final = msgspec.json.Decoder(_Typed).decode


@attrs.frozen
class Refusal:
    """A refused request.

    Attributes:
        event: what the server said.
    """

    event: ErrorEvent

    @classmethod
    def of(cls, exchange: Exchange, frames: list[bytes]) -> Self | None:
        """What these events say, if they are an error that answers the request instead of a response.

        Raises:
            RemoteProtocolError: the error cannot be read.
        """
        if not frames or exchange.response_id is not None or exchange.fate is not Fate.FINISHED:
            return None
        if _TYPE(frames[-1]).type != "error":
            return None
        event = decode_event(frames[-1])
        assert isinstance(event, ErrorEvent)
        return cls(event)

    @property
    def worn_out(self) -> bool:
        """The connection takes no more requests."""
        return self.event.code == _WORN_OUT

    @property
    def no_more_lanes(self) -> bool:
        """The connection has as many lanes as it may have, without this one."""
        return self.event.code == _NO_MORE_LANES

    @property
    def no_lanes(self) -> bool:
        """The server does not take a request for a lane."""
        return self.event.param == "stream_id"
