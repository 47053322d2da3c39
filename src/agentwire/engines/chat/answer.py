"""One answer of a chat server, from its chunks to the turn's output.

Text goes out as it comes, but for blanks before anything else, and for text where a tool must be called: that waits
until it is clear what the answer is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec

from agentwire.engines.chat.calls import Calls
from agentwire.engines.chat.chunks import CallDelta, Choice, Chunk, Delta, FunctionDelta, decode_chunk, decode_logprobs
from agentwire.engines.chat.counts import ChatUsage, timed
from agentwire.engines.chat.thinking import Thinking, is_wordless
from agentwire.protocol.checks import EMPTY
from agentwire.protocol.errors import AgentwireError, RemoteProtocolError
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Finish, IncompleteReason, Out
from agentwire.transport.complaints import is_complaint

__all__ = ["Answer", "UpstreamFault"]

_INCOMPLETE: Final[Mapping[str, IncompleteReason]] = {
    "length": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "model_length": "max_output_tokens",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "sensitive": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
}
"""By their names in lower case, up to a colon: Google's server writes ``content_filter: RECITATION``."""
_FAILED: Final = (
    "abort",
    "error",
    "network_error",
    "insufficient_system_resource",
    "function_call_filter",
    "malformed_function_call",
)
"""What servers call an answer that they gave up (vLLM, OpenRouter, Zhipu, DeepSeek, Google)."""
_NO_REASON: Final = ("", "null")
"""What some say in each chunk before the last, where the others have null (older Ollama, gateways)."""


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
        logprobs: whether the client wants to see them.
        sealed: whether reasoning items are to hold what the client hands back.

    Attributes:
        finish_reason: as the server said it; None until then.
        ended: whether nothing but the usage is to come, as far as that can be known. A reason beside or before a piece
            of the answer may stand in every chunk (gateways to Gemini), and then no reason proves anything.
        sent: whether the request has begun to leave; one that has not cannot have used anything.
        begun: whether the server has begun to answer.
        pieces: how many pieces of anything came; about as many as tokens.
        thinking: takes the reasoning.
        service_tier: as the server said it.
    """

    def __init__(
        self,
        out: Out,
        calls: Calls,
        *,
        must_call: bool,
        most: int,
        used: Usage | None = None,
        logprobs: bool = False,
        sealed: bool = False,
    ) -> None:
        self.finish_reason: str | None = None
        self.ended = False
        self.sent = False
        self.begun = False
        self.pieces = 0
        self.thinking = Thinking(out, sealed=sealed)
        self.service_tier: str | None = None
        self._idle_reasons = False
        self._held: list[str] | None = []
        self._out = out
        self._calls = calls
        self._must_call = must_call
        self._most = most
        self._said_anything = False
        self._wrote_text = False
        self._before = used
        self._counted: ChatUsage | None = None
        self._used: Usage | None = None
        self._timed: Usage | None = None
        self._wants_logprobs = logprobs
        self._logprobs: list[dict[str, Any]] = []

    def leave(self) -> None:
        """The request begins to leave."""
        self.sent = True

    @property
    def held_text(self) -> str:
        """Text that has not gone out."""
        return "".join(self._held or ())

    @property
    def usage(self) -> Usage | None:
        """Tokens, as the server counted them, if it did; those of an answer before this one included."""
        if self._counted is not None and self._used is None:
            self._used = self._counted.usage()
        used = self._used or self._timed
        if used is None or self._before is None:
            return used or self._before
        return self._before + used

    @property
    def counted(self) -> bool:
        """Whether the server has counted its tokens."""
        return self._counted is not None or self._timed is not None

    @property
    def said_anything(self) -> bool:
        """Whether there is anything of an answer."""
        return self._said_anything or self._calls.begun or bool(self._held)

    @property
    def whole(self) -> bool:
        """Whether nothing of it can be missing, even if its stream broke off."""
        return self.finish_reason is not None and (self.ended or not self._idle_reasons)

    @property
    def cut_off(self) -> bool:
        """Whether the model was stopped before it was done."""
        return self._incomplete is not None

    @property
    def failed_to_call(self) -> bool:
        """Whether the model answered without the call that it owed."""
        return self._must_call and not self._calls.begun and not self.cut_off

    async def take(self, payloads: Iterable[bytes]) -> None:
        """Events of the stream, as many as came together. Waits while the client is slow.

        Raises:
            RemoteProtocolError: one is no chunk, or its calls cannot be read.
            UpstreamFault: the server reports an error.
        """
        for payload in payloads:
            chunk = decode_chunk(payload)
            if chunk.error or chunk.object == "error":
                raise UpstreamFault(chunk.error or _object(payload))
            if chunk.usage is not None:
                self._counted, self._used = chunk.usage, None
                self.ended = self.ended or (not chunk.choices and self.finish_reason is not None)
            if chunk.choices is None:
                self._check(chunk, payload)
            for choice in chunk.choices or ():
                if not choice.index:
                    await self._choice(choice)
            if chunk.timings is not None or chunk.service_tier is not None or chunk.x_groq is not None:
                self._note(chunk)

    def _check(self, chunk: Chunk, payload: bytes) -> None:
        """What has nothing of a chunk may be an error that does not say so, ``{"detail": ...}``; but not of a whole."""
        if chunk.usage is None and not self.whole and is_complaint(told := _object(payload)):
            raise UpstreamFault(told)

    def _note(self, chunk: Chunk) -> None:
        if isinstance(chunk.x_groq, dict) and chunk.x_groq.get("error"):
            raise UpstreamFault(chunk.x_groq["error"])
        self._timed = timed(chunk.timings) or self._timed
        if isinstance(chunk.service_tier, str):
            self.service_tier = chunk.service_tier

    async def _choice(self, choice: Choice) -> None:
        delta = choice.delta or choice.message
        if delta is not None:
            if choice.logprobs and self._wants_logprobs:
                self._logprobs += decode_logprobs(choice.logprobs)
            if self.finish_reason is not None and delta.says_something:
                self.ended, self._idle_reasons = False, True
            await self._delta(delta)
        if choice.usage is not None:
            self._counted, self._used = choice.usage, None
        if choice.finish_reason is not None and choice.finish_reason not in _NO_REASON:
            self.finish_reason = choice.finish_reason
            if choice.error or _named(choice.finish_reason) in _FAILED:
                raise UpstreamFault(choice.error or {"message": f"it gave up its answer ({choice.finish_reason})"})
            self._idle_reasons = self._idle_reasons or (delta is not None and delta.says_something)
            self.ended = self.said_anything and not self._idle_reasons

    async def _delta(self, delta: Delta) -> None:
        self.pieces += 1
        content = delta.content
        if content.__class__ is list:
            delta = self.thinking.apart(delta)
            content = delta.content
        if delta.reasoning_content or delta.reasoning or delta.reasoning_details:
            await self._thought(delta)
        if content:
            assert isinstance(content, str)
            if self._held is None and not self._calls.begun and not self.thinking.open and not self._logprobs:
                await self._out.text(content)  # nearly always
            else:
                await self._text(content)
        if delta.refusal:
            await self._refusal(delta.refusal)
        if (delta.tool_calls or delta.function_call is not None) and (calls := delta.calls):
            self._logprobs.clear()
            for call in calls:
                await self._let_go()
                if call.extra_content and call.name:
                    await self._calls.end()
                    self.thinking.accompany(call.extra_content)
                await self.thinking.end()
                await self._calls.take(call)
        for annotation in delta.annotations or ():
            await self._annotation(annotation)

    async def _thought(self, delta: Delta) -> None:
        if self._is_aside(delta):
            self.thinking.add(delta.reasoning_details or ())
            return
        if self._calls.begun:
            await self._calls.end()
        await self.thinking.take(delta)
        self._said_anything = self._said_anything or self.thinking.open
        self._wrote_text = self._wrote_text and not self.thinking.open

    def _is_aside(self, delta: Delta) -> bool:
        """Whether a thought ends nothing that has begun: a signature that comes late, or blanks."""
        if self._calls.begun:
            return not (delta.reasoning_content or delta.reasoning or "").strip()
        return self._said_anything and not self.thinking.open and is_wordless(delta)

    async def _text(self, piece: str) -> None:
        if self._held == [] and not self._must_call and piece.strip():
            self._held = None  # nothing has to wait any more
        if self._held is None:
            await self._write(piece)
            return
        self._hold(piece)
        if not self._must_call and piece.strip():
            await self._let_go(blanks=True)

    async def _refusal(self, piece: str) -> None:
        await self._let_go()
        self._must_call = False  # to refuse is an answer
        self._logprobs.clear()
        await self._other(piece, self._out.refusal)
        self._wrote_text = False

    async def _write(self, text: str) -> None:
        """Text, with all the probabilities that came since the last."""
        write: Callable[[str], Awaitable[None]] = self._out.text
        if self._logprobs:
            write, self._logprobs = partial(self._out.text, logprobs=self._logprobs), []
        await self._other(text, write)
        self._wrote_text = True

    async def _other(self, piece: str, write: Callable[[str], Awaitable[None]]) -> None:
        """Write what is no call; after a call blanks are dropped, which some models put between calls."""
        if self._calls.begun:
            if not piece.strip():
                return
            await self._calls.end()
        await self.thinking.end()
        await write(piece)
        self._said_anything = True

    async def _annotation(self, raw: Mapping[str, Any]) -> None:
        """A citation: the Responses API has flat what the chat API has under the citation's type."""
        kind = raw.get("type")
        if isinstance(kind, str) and self._wrote_text and not self._calls.begun and not self.thinking.open:
            inner = raw.get(kind)
            await self._out.annotation({**(inner if isinstance(inner, Mapping) else raw), "type": kind})

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
            await self._write(text)

    def drop_text(self) -> None:
        """The text that waits is not for the client."""
        self._held = None
        self._logprobs.clear()

    async def call(self, name: str, arguments: str) -> None:
        """Make a call that the model has described."""
        await self.thinking.end()
        await self._calls.take(CallDelta(function=FunctionDelta(name, arguments)))

    async def end(self) -> Finish:
        """The stream is over: send out what waits, and say how it ended.

        Raises:
            RemoteProtocolError: a call has no name.
        """
        if self._held is not None:
            await self._let_go(blanks=not self._calls.begun)
        await self.thinking.end()
        if self._calls.begun:
            await self._calls.end(cut=self.cut_off)
        if not self.cut_off:  # else a call may still be open
            await self.thinking.finish()
        if not self._said_anything and not self._calls.begun:
            await self._out.text("")  # an answer without any item is none to most clients
        members = EMPTY if self.service_tier is None else {"service_tier": self.service_tier}
        return Finish(self.usage, self._incomplete, members)

    @property
    def _incomplete(self) -> IncompleteReason | None:
        return _INCOMPLETE.get(_named(self.finish_reason or ""))


def _object(payload: bytes) -> Mapping[str, Any]:
    """All of an event; nothing of one that has a member that cannot be read."""
    with suppress(ValueError):
        return msgspec.json.decode(payload, type=dict[str, Any])
    return EMPTY


def _named(reason: str) -> str:
    return reason.partition(":")[0].lower()
