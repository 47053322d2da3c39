"""What a chat server streams: chunks, each read with one decode, and tolerantly.

Only what is used is read. Servers differ: reasoning has three names, whole calls come as ``message``, the old
``function_call`` beside the new ``tool_calls``, and an error may stand where a chunk should.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import msgspec

from agentwire.engines.chat.counts import ChatUsage
from agentwire.engines.chat.tolerance import put_right
from agentwire.protocol.codec import encode_json
from agentwire.protocol.errors import RemoteProtocolError

__all__ = ["CallDelta", "Choice", "Chunk", "Delta", "FunctionDelta", "decode_chunk", "decode_logprobs"]

LONGEST_SAID: Final = 200
"""Bytes that are told of what is no chunk and no object."""


class FunctionDelta(msgspec.Struct, gc=False):
    """A piece of a function call; some servers give its arguments as an object instead of its text."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class CallDelta(msgspec.Struct, gc=False):
    """A piece of a tool call: of which one, and what; Google's server wants ``extra_content`` back with the call."""

    index: int | None = None
    id: str | None = None
    function: FunctionDelta | None = None
    extra_content: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """The name of the function; only in a call's first piece, as a rule."""
        return (self.function.name if self.function is not None else None) or ""

    @property
    def arguments(self) -> str:
        """A piece of the arguments' text."""
        told = self.function.arguments if self.function is not None else None
        return encode_json(told).decode() if isinstance(told, dict) else told or ""

    @property
    def says_something(self) -> bool:
        """Whether it is more than the frame of a call, which some send in every chunk."""
        return bool(self.id or self.name or self.arguments)


class Delta(msgspec.Struct, gc=False):
    """What the model wrote since the last chunk; content may be a list of typed parts (Mistral)."""

    content: str | list[dict[str, Any]] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    refusal: str | None = None
    tool_calls: list[CallDelta] | None = None
    function_call: FunctionDelta | None = None
    annotations: list[dict[str, Any]] | None = None

    @property
    def calls(self) -> list[CallDelta]:
        """Pieces of tool calls with something in them; the old form counts only where there is no new one."""
        if self.tool_calls and (found := [call for call in self.tool_calls if call.says_something]):
            return found
        call = CallDelta(function=self.function_call)
        return [call] if call.says_something else []

    @property
    def says_something(self) -> bool:
        """Whether there is a piece of an answer in it."""
        thought = self.reasoning_content or self.reasoning or self.reasoning_details
        return bool(self.content or thought or self.refusal or self.calls)


class Choice(msgspec.Struct, gc=False):
    """One of the answers; only the first was asked for."""

    index: int | None = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    logprobs: msgspec.Raw = msgspec.Raw()
    usage: ChatUsage | None = None
    error: Any = None


class Chunk(msgspec.Struct, gc=False):
    """One event of the stream.

    Attributes:
        object: ``error`` where the whole event is one (older vLLM).
        timings: llama.cpp's own count.
        x_groq: Groq's own member, in which an error may stand.
    """

    choices: list[Choice] | None = None
    usage: ChatUsage | None = None
    error: Any = None
    object: Any = None
    service_tier: Any = None
    timings: Any = None
    x_groq: Any = None


class _TopLogprob(msgspec.Struct, gc=False):
    token: str
    logprob: float
    bytes: list[int] | None = None


class _Logprob(msgspec.Struct, gc=False):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[_TopLogprob] = []


class _Logprobs(msgspec.Struct, gc=False):
    content: list[_Logprob] | None = None


_decode = msgspec.json.Decoder(Chunk).decode
_decode_logprobs = msgspec.json.Decoder(_Logprobs | None).decode


def decode_chunk(payload: bytes) -> Chunk:
    """Read one event.

    Raises:
        RemoteProtocolError: it is no chunk.
        RecursionError: it is nested too deeply.
    """
    try:
        return _decode(payload)
    except ValueError as error:
        return _otherwise(payload, error)


def _otherwise(payload: bytes, error: ValueError) -> Chunk:
    """A chunk in another form than usual, or an error in a list (Google); raises as `decode_chunk` does."""
    with suppress(ValueError):
        told = msgspec.json.decode(payload)
        if isinstance(told, dict):
            return _decode(encode_json(put_right(told)))
        if isinstance(told, list) and any(isinstance(each, dict) and each.get("error") for each in told):
            return Chunk(error=told)
    said = "" if payload.startswith(b"{") else f" ({payload[:LONGEST_SAID].decode(errors='replace')!r})"
    raise RemoteProtocolError(f"it sent an event that is no chunk of a chat completion: {error}{said}") from None


def decode_logprobs(raw: msgspec.Raw) -> list[dict[str, Any]]:
    """How probable the tokens of a chunk's text were, as the Responses API has it.

    None where they cannot be read: Together sends a bare number, and an answer does not depend on them.

    Raises:
        RecursionError: they are nested too deeply.
    """
    try:
        told = _decode_logprobs(raw)
    except ValueError:
        return []
    content: list[dict[str, Any]] = msgspec.to_builtins(told.content) if told is not None and told.content else []
    return content
