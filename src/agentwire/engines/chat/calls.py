"""Tool calls from the pieces in which they stream in, whatever a server makes of indexes, ids and names.

The first call that is not complete is passed on as it comes; pieces of others wait for it, so that each call goes out
whole and in order. What the client gets of a call is the affair of `agentwire.engines.offering`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import attrs
import msgspec

from agentwire.engines.chat.chunks import CallDelta
from agentwire.engines.offering import CallWriter, Offers
from agentwire.protocol.errors import RemoteProtocolError
from agentwire.runtime.contracts import Out

__all__ = ["Calls"]

LONGEST_ID: Final = 64

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@attrs.define(eq=False)
class _Call:
    """One call while it comes in."""

    said_id: str = ""
    name: str = ""
    pieces: list[str] = attrs.field(factory=list)
    writer: CallWriter | None = None
    ended: bool = False

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def is_whole(self) -> bool:
        """Whether the arguments are a JSON object already."""
        if not (self.pieces and self.pieces[-1].rstrip().endswith("}")):
            return False  # most of the time: to read them all takes longer
        try:
            _object(self.text)
        except (ValueError, RecursionError):
            return False
        return True


class Calls:
    """The tool calls of one answer.

    Args:
        out: where they go.
        offers: what the model may call.
        known: whether a call id is in the conversation already; such an id is not used again.
        new_id: makes ids, for a prefix.
        most: bytes that all arguments together may have.
    """

    def __init__(
        self, out: Out, offers: Offers, *, known: Callable[[str], bool], new_id: Callable[[str], str], most: int
    ) -> None:
        self._out = out
        self._offers = offers
        self._known = known
        self._new_id = new_id
        self._most = most
        self._by_index: dict[int | None, _Call] = {}
        self._waiting: deque[_Call] = deque()
        self._ids: set[str] = set()
        self.begun = False

    async def take(self, delta: CallDelta) -> None:
        """A piece of a call. Waits while the client is slow.

        Raises:
            RemoteProtocolError: the pieces make no calls, or too large ones.
        """
        piece = delta.arguments
        call = self._call_of(delta, piece)
        if call is None:
            return
        call.name = call.name or delta.name
        call.said_id = call.said_id or delta.id or ""
        self.begun = self.begun or bool(call.name or piece)
        if call.ended:
            if piece.strip():
                raise RemoteProtocolError(f"it sent arguments of {call.name} after their end")
            return
        if piece:
            self._keep(call, piece)
        while self._waiting[0] is not call and self._waiting[0].is_whole():
            await self._end(self._waiting.popleft())
        if call is self._waiting[0]:
            await self._advance(call, piece)

    def _keep(self, call: _Call, piece: str) -> None:
        self._most -= len(piece)
        if self._most < 0:
            raise RemoteProtocolError("the arguments of its tool calls are too large")
        call.pieces.append(piece)

    async def end(self, *, cut: bool = False) -> None:
        """There are no more pieces, or none before something else; ``cut``: the model was stopped in the middle.

        What was cut off within a call that has not gone out yet is dropped, for a client might take it for whole. One
        that another has followed was not cut off, whatever it looks like.

        Raises:
            RemoteProtocolError: a call has no name.
        """
        while self._waiting:
            call = self._waiting.popleft()
            if not cut or call.is_whole() or (self._waiting and call.writer is not None):
                await self._end(call)

    def _call_of(self, delta: CallDelta, piece: str) -> _Call | None:
        """The call that a piece belongs to, a new one if it looks like the beginning of one; None if it is empty."""
        call = self._by_index.get(delta.index)
        if call is not None and not (delta.name and call.name and self._is_another(call, delta, piece)):
            return call
        if not delta.name and (call := self._unfinished(delta.id)) is not None:
            self._by_index[delta.index] = call
            return call
        if not (delta.name or delta.id or piece):
            return None
        call = self._by_index[delta.index] = _Call()
        self._waiting.append(call)
        return call

    def _unfinished(self, said_id: str | None) -> _Call | None:
        """The call that a piece without a name goes on with, whose index is new: that of its id, else the newest."""
        for call in reversed(self._waiting):
            if said_id in (call.said_id, None, ""):
                return None if call.is_whole() else call
        return None

    def _is_another(self, call: _Call, delta: CallDelta, piece: str) -> bool:
        """Some servers give all calls one index, or none; then the ids differ, or the last call is whole."""
        if delta.id and call.said_id:
            return delta.id != call.said_id
        return bool(piece.strip()) and call.is_whole()

    async def _advance(self, call: _Call, piece: str) -> None:
        """Pass on what has come of the first call that waits."""
        if call.writer is not None:
            await call.writer.write(piece)
        elif call.name:
            call.writer = self._writer(call)
            await call.writer.write(call.text)

    async def _end(self, call: _Call) -> None:
        if not (call.name or call.text.strip()):  # some send the frame of a call where there is none
            self._by_index = {index: other for index, other in self._by_index.items() if other is not call}
            return
        if not call.name:
            raise RemoteProtocolError("it sent a tool call without a name")
        call.ended = True
        await (call.writer or self._writer(call)).end(call.text)

    def _writer(self, call: _Call) -> CallWriter:
        offer = self._offers.find(call.name)
        return CallWriter(self._out, offer, call_id=self._id_of(call), new_id=self._new_id)

    def _id_of(self, call: _Call) -> str | None:
        """The server's own id, which it may want to see again; a fresh one if it is no id or was used before."""
        said = call.said_id
        if not 0 < len(said) <= LONGEST_ID or said in self._ids or self._known(said):
            return None
        self._ids.add(said)
        return said
