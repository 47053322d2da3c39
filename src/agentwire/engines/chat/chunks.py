"""What a chat server streams: chunks, each read with one decode, and tolerantly.

Only what is used is read. Servers differ: reasoning has two names, whole calls come as ``message``, the old
``function_call`` beside the new ``tool_calls``, and an error may stand where a chunk should.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agentwire.protocol.codec import encode_json
from agentwire.protocol.errors import RemoteProtocolError
from agentwire.protocol.response import Usage

__all__ = ["CallDelta", "Chunk", "Delta", "FunctionDelta", "decode_chunk"]


class FunctionDelta(msgspec.Struct, gc=False):
    """A piece of a function call; some servers give its arguments as an object instead of its text."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class CallDelta(msgspec.Struct, gc=False):
    """A piece of a tool call: of which one, and what."""

    index: int | None = None
    id: str | None = None
    function: FunctionDelta | None = None

    @property
    def name(self) -> str:
        """The name of the function; only in a call's first piece, as a rule."""
        return (self.function.name if self.function is not None else None) or ""

    @property
    def arguments(self) -> str:
        """A piece of the arguments' text."""
        told = self.function.arguments if self.function is not None else None
        return encode_json(told).decode() if isinstance(told, dict) else told or ""


class Delta(msgspec.Struct, gc=False):
    """What the model wrote since the last chunk."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[CallDelta] | None = None
    function_call: FunctionDelta | None = None

    @property
    def thought(self) -> str:
        """A piece of reasoning, under either name."""
        return self.reasoning_content or self.reasoning or ""

    @property
    def calls(self) -> list[CallDelta]:
        """Pieces of tool calls; the old form counts only where there is no new one."""
        if self.tool_calls:
            return self.tool_calls
        return [CallDelta(function=self.function_call)] if self.function_call is not None else []


class Choice(msgspec.Struct, gc=False):
    """One of the answers; only the first was asked for."""

    index: int | None = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None


class PromptDetails(msgspec.Struct, gc=False):
    """What of the prompt came from where."""

    cached_tokens: int | None = None


class CompletionDetails(msgspec.Struct, gc=False):
    """What the output was."""

    reasoning_tokens: int | None = None


class ChatUsage(msgspec.Struct, gc=False):
    """Tokens, as the server counted them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None

    def usage(self) -> Usage:
        """The same, in the words of the Responses API."""
        prompt, completion = self.prompt_tokens_details, self.completion_tokens_details
        cached = prompt.cached_tokens if prompt is not None else self.prompt_cache_hit_tokens
        reasoning = completion.reasoning_tokens if completion is not None else None
        return Usage(self.prompt_tokens or 0, self.completion_tokens or 0, cached or 0, reasoning or 0)


class Chunk(msgspec.Struct, gc=False):
    """One event of the stream."""

    choices: list[Choice] | None = None
    usage: ChatUsage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(Chunk).decode


def decode_chunk(payload: bytes) -> Chunk:
    """Read one event.

    Raises:
        RemoteProtocolError: it is no chunk.
    """
    try:
        return _decode(payload)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"it sent an event that is no chunk of a chat completion: {error}") from None
