"""The sessions of a server's sockets, and the tokens that bring a client back to its own.

A token cannot be guessed and is good for one principal. Sessions that wait for their clients are bounded, in all and of
each principal: where one is too many, the one that is missed least is cancelled.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator

from agentwire.protocol.extensions import Granted, session_not_found
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.wire_session import WireSession

__all__ = ["Sessions"]

log = logging.getLogger("agentwire.session")

TOKEN_BITS = 256


class Sessions:
    """All sessions that have a socket, or have had one; iterate it for them.

    Args:
        limits: how many may wait for their clients.
        sources: where tokens come from.
    """

    def __init__(self, limits: Limits, sources: Sources) -> None:
        self._limits = limits
        self._sources = sources
        self._all: dict[WireSession, None] = {}
        self._detached: dict[WireSession, None] = {}
        self._by_token: dict[bytes, WireSession] = {}

    def __iter__(self) -> Iterator[WireSession]:
        return iter(tuple(self._all))

    def __len__(self) -> int:
        return len(self._all)

    @property
    def detached(self) -> int:
        """How many wait for their clients."""
        return len(self._waiting())

    def add(self, session: WireSession) -> None:
        """It runs."""
        self._all[session] = None
        session.on_detached = self._make_room

    def remove(self, session: WireSession) -> None:
        """It has ended."""
        self._all.pop(session, None)
        self._detached.pop(session, None)
        if session.token is not None:
            self._by_token.pop(_digest(session.token), None)

    def grant(self, session: WireSession, granted: Granted) -> None:
        """Give a new session's client what it asked for: a token, too, if it shall be resumed."""
        token = None
        if granted.sessions:
            token = f"{self._sources.random.getrandbits(TOKEN_BITS):064x}"
            self._by_token[_digest(token)] = session
        session.grant(granted, token)

    def find(self, token: str, principal: str) -> WireSession:
        """The session that this principal comes back to.

        Raises:
            RequestError: there is none; whether it is another one's is not told.
        """
        session = self._by_token.get(_digest(token))
        if session is None or session.principal != principal or session.ended is not None:
            raise session_not_found()
        return session

    def _waiting(self) -> list[WireSession]:
        """Those that wait for their clients, the first to go first: idle ones, then the longest waiting."""
        waiting = [session for session in self._detached if session.detached_since is not None and not session.ended]
        self._detached = dict.fromkeys(waiting)
        return sorted(waiting, key=lambda session: (bool(session.turns), session.detached_since or 0))

    def _make_room(self, newest: WireSession) -> None:
        self._detached[newest] = None
        waiting = self._waiting()
        own = [session for session in waiting if session.principal == newest.principal]
        crowd = own if len(own) > self._limits.detached_each else waiting
        most = self._limits.detached_each if crowd is own else self._limits.detached_sessions
        if len(crowd) > most:
            log.warning("session %s makes room: %d wait for their clients", crowd[0].id, len(crowd))
            crowd[0].cancel(f"more than {most} sessions waited to be resumed")


def _digest(token: str) -> bytes:
    """What is compared and kept instead of the token: how long that takes tells nothing of it."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
