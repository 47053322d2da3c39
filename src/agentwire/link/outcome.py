"""What became of a request: how far it came, and the errors that say so.

A model call may be repeated where it was never sent; where it was sent and nothing came back, nobody knows. Whoever
catches one of these errors can read there what to do.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from agentwire.link.codes import rejected, rejects
from agentwire.protocol.errors import AgentwireError, ConnectionEnded, RequestError
from agentwire.protocol.items import Item
from agentwire.protocol.response import Response

__all__ = ["Fate", "RequestLost", "ResponseError", "TurnOverflow"]


class Fate(enum.Enum):
    """How far a request came; it only ever advances."""

    NEVER_SENT = "never sent"
    """It has not left this process: it may be sent again."""
    UNKNOWN = "sent, and its fate is unknown"
    """It was handed to the socket, and nothing came back."""
    STARTED = "started"
    """The server has begun a response, and its end is not known."""
    FINISHED = "finished"
    """The server has given its last word: a terminal event, or an error instead of a response."""

    def __str__(self) -> str:
        return self.value


class RequestLost(ConnectionEnded):
    """The connection ended before the request did.

    Args:
        end: how the connection ended.
        fate: how far the request had come.
        response_id: of the response that had begun, if one had.

    Attributes:
        items: the output items that were finished, as far as they were read.
        text: the text that had come, as far as it was read.
    """

    items: tuple[Item, ...] = ()
    text: str = ""

    def __init__(self, end: ConnectionEnded, *, fate: Fate, response_id: str | None = None) -> None:
        super().__init__(sent=end.sent, received=end.received, cause=end.cause)
        self.fate = fate
        self.response_id = response_id

    @property
    def rejected(self) -> bool:
        """Whether the server ended the connection with a code that says that the same would happen again."""
        return rejects(self)

    @property
    def not_understood(self) -> bool:
        """Whether the connection was ended here, because what the server said makes no sense."""
        return rejected(self)

    def __str__(self) -> str:
        return f"{super().__str__()}; the request: {self.fate}"


class TurnOverflow(AgentwireError):
    """More events of one turn came in than may wait for whoever reads them; only that turn is lost.

    Its remaining events are swallowed; other turns on the connection are not concerned.

    Args:
        limit: the bound, ``Limits.turn_buffer_bytes``.
        response_id: of the response, if it had begun.
    """

    def __init__(self, limit: int, response_id: str | None) -> None:
        super().__init__(
            f"more than {limit} bytes of events waited to be read; read the turn faster, or raise turn_buffer_bytes"
        )
        self.limit = limit
        self.response_id = response_id
        self.fate = Fate.STARTED


class ResponseError(RequestError):
    """A response began and failed.

    Args:
        status: the HTTP status of the failure; 500 if the server did not say.
        code: machine-readable code.
        message: what went wrong.
        param: the offending field, if there is one.
        headers: such as ``retry-after``.
        response: the failed response, with the output that it had; None if the server sent none.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        response: Response | None = None,
    ) -> None:
        super().__init__(status, code, message, param=param, headers=headers)
        self.response = response
