"""The body of one request to a chat server: settings first, then the messages.

What the client set goes up under the names that most servers know; what the Chat Completions API does not have, or
strict servers refuse (metadata, cache keys, verbosity), goes up only where the server's `ChatDialect` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agentwire.engines.chat.dialect import OURS, ChatDialect
from agentwire.engines.chat.offers import tool_settings
from agentwire.engines.offering import Offers
from agentwire.protocol.codec import encode_json, encode_wire
from agentwire.protocol.request import CreateRequest
from agentwire.runtime.contracts import Ask

__all__ = ["body_of", "format_words", "settings_of", "wants_logprobs"]

_SAME_NAME: Final = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_LOGPROBS: Final = "message.output_text.logprobs"
_KNOWN: Final = (
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "user",
    "metadata",
)
"""Members of the client's request that OpenAI's own chat API has, too."""


def settings_of(ask: Ask, offers: Offers, dialect: ChatDialect, *, model: str | None) -> dict[str, Any]:
    """Everything but the messages.

    Args:
        ask: what is asked.
        offers: the tools on offer.
        dialect: how the server wants it.
        model: the name that the server knows its model by; the client's if it is None.
    """
    request = ask.request
    settings: dict[str, Any] = {
        "model": model or request.model,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    settings |= _passed(request, dialect.passing)
    if ask.max_output_tokens is not None:
        settings[dialect.tokens_name] = max(1, ask.max_output_tokens)
    if (effort := (request.reasoning or {}).get("effort")) is not None:
        settings["reasoning_effort"] = effort
    if wants_logprobs(request):
        settings["logprobs"] = True
        if request.top_logprobs:
            settings["top_logprobs"] = request.top_logprobs
    if offers.by_name:
        settings |= tool_settings(offers, parallel=request.parallel_tool_calls, strict="strict" not in dialect.omit)
    if not dialect.named_choice and isinstance(settings.get("tool_choice"), Mapping):
        settings["tool_choice"] = "required"
    if (wanted := _response_format(request, dialect)) is not None:
        settings["response_format"] = wanted
    for name in dialect.omit:
        settings.pop(name, None)
    settings.update(dialect.extra_body)
    return settings


def body_of(settings: Mapping[str, Any], messages: bytes) -> bytes:
    """The JSON body; with equal settings, that of a longer conversation begins as that of the shorter one does."""
    return b'%b,"messages":[%b]}' % (encode_wire(settings)[:-1], messages)


def wants_logprobs(request: CreateRequest) -> bool:
    """Whether the client wants to see how probable each token was."""
    return bool(request.top_logprobs) or _LOGPROBS in request.include


def format_words(request: CreateRequest, dialect: ChatDialect) -> str | None:
    """What the system says of the answer's form, where the server does not enforce it; None if it need not."""
    wanted = request.text.format
    kind = wanted.get("type")
    if kind == "text" or dialect.schemas == "json_schema" or (kind, dialect.schemas) == ("json_object", "json_object"):
        return None
    if kind == "json_object":
        return "Answer with a JSON object and nothing else."
    schema = encode_json(wanted["schema"]).decode()
    about = f"{wanted['description']}\n" if wanted.get("description") else ""
    return f"Answer with JSON that follows this JSON schema, and nothing else:\n{about}{schema}"


def _passed(request: CreateRequest, passing: frozenset[str]) -> dict[str, Any]:
    """What goes up as the client set it."""
    told: dict[str, Any] = {}
    for name in _SAME_NAME:
        if (value := getattr(request, name)) is not None:
            told[name] = value
    if not passing.isdisjoint(_KNOWN):
        told |= {name: value for name in _KNOWN if name in passing and (value := getattr(request, name))}
    if "verbosity" in passing and request.text.verbosity is not None:
        told["verbosity"] = request.text.verbosity
    for name in sorted((request.extra.keys() & passing) - OURS) if request.extra else ():
        if (value := request.extra[name]) is not None:
            told[name] = value
    return told


def _response_format(request: CreateRequest, dialect: ChatDialect) -> dict[str, Any] | None:
    """``response_format``, which has the schema one level deeper than ``text.format`` has it."""
    wanted = request.text.format
    if wanted.get("type") == "text" or dialect.schemas == "none":
        return None
    if wanted.get("type") == "json_object" or dialect.schemas == "json_object":
        return {"type": "json_object"}
    schema = {
        name: wanted[name] for name in ("name", "description", "schema", "strict") if wanted.get(name) is not None
    }
    return {"type": "json_schema", "json_schema": schema}
