"""Tokens, as chat servers count them: one count, under many names.

Where one says the same in several ways, the most telling one counts; what is left out is none.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from agentwire.protocol.response import Usage

__all__ = ["ChatUsage", "timed"]


class PromptDetails(msgspec.Struct, gc=False):
    """What of the prompt came from where."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class CompletionDetails(msgspec.Struct, gc=False):
    """What the output was."""

    reasoning_tokens: int | None = None


class ChatUsage(msgspec.Struct, gc=False):
    """Tokens, as the server counted them.

    The details are OpenAI's; the rest are the names of DeepSeek, Moonshot, Anthropic behind a gateway, and xAI.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    cached_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    reasoning_tokens: int | None = None

    def usage(self) -> Usage:
        """The same, in the words of the Responses API."""
        prompt, completion = self.prompt_tokens_details or _NO_PROMPT, self.completion_tokens_details or _NO_COMPLETION
        cached = (
            prompt.cached_tokens
            or self.prompt_cache_hit_tokens
            or self.cached_tokens
            or self.cache_read_input_tokens
            or 0
        )
        written = prompt.cache_write_tokens or self.cache_creation_input_tokens or 0
        thought = completion.reasoning_tokens or self.reasoning_tokens or 0
        return Usage(self.prompt_tokens or 0, self.completion_tokens or 0, cached, thought, written)


def timed(timings: Any) -> Usage | None:
    """What llama.cpp counts by itself: what it read, what was in its cache already, what it wrote."""
    if not isinstance(timings, dict):
        return None
    read, cached, written = (timings.get(name) for name in ("prompt_n", "cache_n", "predicted_n"))
    if not (isinstance(read, int) and isinstance(written, int)):
        return None
    cached = cached if isinstance(cached, int) else 0
    return Usage(read + cached, written, cached)


_NO_PROMPT: Final = PromptDetails()
_NO_COMPLETION: Final = CompletionDetails()
