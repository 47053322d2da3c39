"""The body of one request to a chat server: settings first, then the messages.

Only what the client set goes up, under the names that most servers know; settings that the Chat Completions API does
not have, or that strict servers refuse (metadata, cache keys, verbosity), stay here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agentwire.engines.chat.offers import Offers
from agentwire.protocol.codec import encode_json
from agentwire.protocol.request import CreateRequest
from agentwire.runtime.contracts import Ask

__all__ = ["body_of", "settings_of"]

_SAME_NAME: Final = ("temperature", "top_p", "presence_penalty", "frequency_penalty")


def settings_of(ask: Ask, offers: Offers, *, model: str | None, tokens_name: str) -> dict[str, Any]:
    """Everything but the messages.

    Args:
        ask: what is asked.
        offers: the tools on offer.
        model: the name that the server knows its model by; the client's if it is None.
        tokens_name: what the server calls the bound on generated tokens.
    """
    request = ask.request
    settings: dict[str, Any] = {
        "model": model or request.model,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    settings |= {name: value for name in _SAME_NAME if (value := getattr(request, name)) is not None}
    if request.max_output_tokens is not None:
        settings[tokens_name] = request.max_output_tokens
    if (effort := (request.reasoning or {}).get("effort")) is not None:
        settings["reasoning_effort"] = effort
    settings |= offers.settings(parallel=request.parallel_tool_calls)
    if (wanted := _response_format(request)) is not None:
        settings["response_format"] = wanted
    return settings


def body_of(settings: Mapping[str, Any], messages: bytes) -> bytes:
    """The JSON body; with equal settings, that of a longer conversation begins as that of the shorter one does."""
    return b'%b,"messages":[%b]}' % (encode_json(settings)[:-1], messages)


def _response_format(request: CreateRequest) -> dict[str, Any] | None:
    """``response_format``, which has the schema one level deeper than ``text.format`` has it."""
    wanted = request.text.format
    kind = wanted.get("type")
    if kind == "json_object":
        return {"type": "json_object"}
    if kind != "json_schema":
        return None
    schema = {
        name: wanted[name] for name in ("name", "description", "schema", "strict") if wanted.get(name) is not None
    }
    return {"type": "json_schema", "json_schema": schema}
