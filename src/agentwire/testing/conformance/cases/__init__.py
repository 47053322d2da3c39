"""The cases, by topic; importing this package registers them all, in the order of the page."""

from __future__ import annotations

from agentwire.testing.conformance.cases import (
    background,
    closes,
    compaction,
    errors,
    events,
    frames,
    handshake,
    http,
    lanes,
    objects,
    order,
    state,
    steering,
    stored,
    tools,
    warmup,
)

__all__ = [
    "background",
    "closes",
    "compaction",
    "errors",
    "events",
    "frames",
    "handshake",
    "http",
    "lanes",
    "objects",
    "order",
    "state",
    "steering",
    "stored",
    "tools",
    "warmup",
]
