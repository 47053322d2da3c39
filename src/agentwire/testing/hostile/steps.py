"""What a server does while it answers, step by step: events, bytes, pauses and ends.

A deed changes this list before it is played, and so needs to know nothing of sockets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from agentwire.testing.hostile.script import End, Refuse
from agentwire.testing.replies import Pause

__all__ = ["Form", "Plan", "Raw", "Step", "Tell"]

Form = Literal["text", "binary", "fragments", "drip"]
"""How an event goes out: as a text message; as a binary one; in fragments that cut its characters apart; byte by byte.

Over HTTP ``binary`` is as ``text``, and ``fragments`` are chunks."""


@attrs.frozen
class Tell:
    """One event.

    Attributes:
        event: as JSON; the lane is added when it is sent.
        form: how it goes out.
        lane: instead of the request's; empty for none.
    """

    event: Mapping[str, Any]
    form: Form = "text"
    lane: str | None = None


@attrs.frozen
class Raw:
    """Bytes of a WebSocket connection as they are, such as frames that are not legal.

    Attributes:
        data: for a WebSocket.
        body: what an event stream over HTTP gets instead.
        times: how often, one write each.
    """

    data: bytes
    body: bytes = b""
    times: int = 1


Step = Tell | Raw | Pause | End
Plan = list[Step] | Refuse
