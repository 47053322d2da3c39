"""What the code of a close frame means for a client that may connect again.

The protocol names none; these are what servers send and what other clients make of them (RFC 6455, section 7.4).
"""

from __future__ import annotations

from typing import Final

from agentwire.protocol.errors import ConnectionEnded

__all__ = ["ends_session", "rejected", "rejects"]

_NORMAL: Final = 1000
_REJECTED: Final = frozenset((1002, 1003, 1007, 1008, 1009, 1010))
"""The server will not have what it was given: frames, data, a policy, a size, extensions."""
_PRIVATE: Final = range(4000, 5000)
"""Codes of the servers' own, such as one that says that there is no credit left."""


def ends_session(end: ConnectionEnded) -> bool:
    """Whether the server has ended it for good, and its session with it."""
    return end.received is not None and (end.received.code == _NORMAL or rejects(end))


def rejects(end: ConnectionEnded) -> bool:
    """Whether the server would end the next connection in the same way, if the same is said there."""
    code = end.received.code if end.received is not None else None
    return code in _REJECTED or code in _PRIVATE


def rejected(end: ConnectionEnded) -> bool:
    """Whether it was ended here, because what the server said cannot be understood."""
    return end.sent is not None and end.sent.code in _REJECTED
