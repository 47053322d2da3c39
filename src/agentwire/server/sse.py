"""Server-sent events: how a response's events are framed on an HTTP stream, and how such a stream begins and ends.

``event`` repeats the type, there are no ``id`` lines, and ``[DONE]`` comes last (Open Responses; OpenAI's stream just
ends, and every client copes with both).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["DONE", "JSON", "SSE", "sse_framing"]

JSON: Final = ("content-type", "application/json")
"""The header of every other answer."""

SSE: Final = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache"),
    ("x-accel-buffering", "no"),
)
"""The headers of a stream; the last two keep caches and proxies from holding events back."""

DONE: Final = b"data: [DONE]\n\n"
"""The end of a stream."""

_TYPE_AT: Final = len(b'{"type":"')


def sse_framing(events: Sequence[bytes]) -> bytes:
    """Server-sent events (see `Framing`); each event's JSON begins with its type."""
    parts: list[bytes] = []
    for event in events:
        kind = event[_TYPE_AT : event.index(b'"', _TYPE_AT)]
        parts += (b"event: ", kind, b"\ndata: ", event, b"\n\n")
    return b"".join(parts)
