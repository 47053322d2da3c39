"""One answer of a chat server, from its chunks to the turn's output.

Text goes out as it comes, but for blanks before anything else, and for text where a tool must be called: that waits
until it is clear what the answer is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from agentwire.engines.chat.calls import Calls
from agentwire.engines.chat.chunks import CallDelta, Delta, FunctionDelta, decode_chunk
from agentwire.protocol.errors import AgentwireError, RemoteProtocolError
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Finish, Out

__all__ = ["Answer", "UpstreamFault"]

_CUT_OFF: Final = ("length", "content_filter")


class UpstreamFault(AgentwireError):
    """The server reported an error where a chunk should be.

    Args:
        told: what it had under ``error``.
    """

    def __init__(self, told: Any) -> None:
        super().__init__(told)
        self.told = told


class Answer:
    """What the model says in one step.

    Args:
        out: where it goes.
        calls: takes the tool calls.
        must_call: whether text alone is no answer.
        most: characters of text that may wait.
        used: by an answer before this one.

    Attributes:
        finish_reason: as the server said it; None until then.
    """

    def __init__(self, out: Out, calls: Calls, *, must_call: bool, most: int, used: Usage | None = None) -> None:
        self.finish_reason: str | None = None
        self._held: list[str] | None = []
        self._out = out
        self._calls = calls
        self._must_call = must_call
        self._most = most
        self._said_anything = False
        self._before = used
        self._used: Usage | None = None

    @property
    def held_text(self) -> str:
        """Text that has not gone out."""
        return "".join(self._held or ())

    @property
    def usage(self) -> Usage | None:
        """Tokens, as the server counted them, if it did; those of an answer before this one included."""
        if self._used is None or self._before is None:
            return self._used or self._before
        return self._before + self._used

    @property
    def cut_off(self) -> bool:
        """Whether the model was stopped before it was done."""
        return self.finish_reason in _CUT_OFF

    @property
    def failed_to_call(self) -> bool:
        """Whether the model answered without the call that it owed."""
        return self._must_call and not self._calls.begun and not self.cut_off

    async def take(self, payload: bytes) -> None:
        """One event of the stream. Waits while the client is slow.

        Raises:
            RemoteProtocolError: it is no chunk, or its calls cannot be read.
            UpstreamFault: the server reports an error.
        """
        chunk = decode_chunk(payload)
        if chunk.error:
            raise UpstreamFault(chunk.error)
        if chunk.usage is not None:
            self._used = chunk.usage.usage()
        for choice in chunk.choices or ():
            if choice.index:
                continue
            delta = choice.delta or choice.message
            if delta is not None:
                await self._delta(delta)
            if choice.finish_reason is not None:
                self.finish_reason = choice.finish_reason

    async def _delta(self, delta: Delta) -> None:
        if thought := delta.thought:
            await self._other(thought, self._out.reasoning)
        if delta.content:
            await self._text(delta.content)
        if delta.refusal:
            await self._let_go()
            await self._other(delta.refusal, self._out.refusal)
            self._must_call = False  # to refuse is an answer
        for call in delta.calls:
            await self._let_go()
            await self._calls.take(call)

    async def _text(self, piece: str) -> None:
        if self._held is None:
            await self._other(piece, self._out.text)
            return
        self._hold(piece)
        if not self._must_call and piece.strip():
            await self._let_go(blanks=True)

    async def _other(self, piece: str, write: Callable[[str], Awaitable[None]]) -> None:
        """Write what is no call; after a call blanks are dropped, which some models put between calls."""
        if self._calls.begun:
            if not piece.strip():
                return
            await self._calls.end()
        await write(piece)
        self._said_anything = True

    def _hold(self, piece: str) -> None:
        assert self._held is not None
        self._held.append(piece)
        self._most -= len(piece)
        if self._most < 0:
            raise RemoteProtocolError("it wrote text without an end where a tool call was demanded")

    async def _let_go(self, *, blanks: bool = False) -> None:
        """Send out the text that waits; if it is blank, only if ``blanks``."""
        text, self._held = self.held_text, None
        if text and (blanks or text.strip()):
            await self._out.text(text)
            self._said_anything = True

    def drop_text(self) -> None:
        """The text that waits is not for the client."""
        self._held = None

    async def call(self, name: str, arguments: str) -> None:
        """Make a call that the model has described."""
        await self._calls.take(CallDelta(function=FunctionDelta(name, arguments)))

    async def end(self) -> Finish:
        """The stream is over: send out what waits, and say how it ended.

        Raises:
            RemoteProtocolError: a call has no name.
        """
        await self._let_go(blanks=not self._calls.begun)
        await self._calls.end(cut=self.cut_off)
        if not self._said_anything and not self._calls.begun:
            await self._out.text("")  # an answer without any item is none to most clients
        if self.finish_reason == "length":
            return Finish(self.usage, "max_output_tokens")
        return Finish(self.usage, "content_filter" if self.finish_reason == "content_filter" else None)
