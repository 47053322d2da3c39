"""What a client asks: the envelope that is read at once, and the request that is read when its turn starts.

A create request is the body of ``POST /v1/responses``, flat beside ``type`` on the socket; both transports give the
same `CreateRequest`. Members that this version does not know are kept in ``extra``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import attrs
import msgspec

from agentwire.protocol.checks import EMPTY, between, checked, length, one_of
from agentwire.protocol.items import Item
from agentwire.protocol.settings import (
    check_cache_options,
    check_compaction,
    check_format,
    check_metadata,
    check_reasoning,
    check_stream_id,
)
from agentwire.protocol.tools import AUTO, Tool, ToolChoice

__all__ = ["CreateRequest", "Envelope", "TextConfig"]

PLAIN_TEXT: Final[Mapping[str, Any]] = {"type": "text"}


class Envelope(msgspec.Struct, frozen=True):
    """What is read of a client's frame when it arrives; the body is not looked at.

    Attributes:
        type: the event, such as ``response.create``.
        stream_id: the lane; None is the default lane.
        previous_response_id: the response that is named, if that is a possible id; judged when the request starts.
        response_id: the response that an inject is meant for, likewise.
        generate: False for a warm-up.
        background: True, and nothing else: run it without its connection.
        input: what a steer or an inject brings, to be handed back if it is refused; None for every other event.
    """

    type: str
    stream_id: str | None = None
    previous_response_id: str | None = None
    response_id: str | None = None
    generate: bool = True
    input: Any = None
    background: bool = False


@attrs.frozen
class TextConfig:
    """How the text of the answer shall be: ``text`` of a request.

    Attributes:
        format: ``{"type": "text"}``, ``json_object`` or ``json_schema`` with its schema.
        verbosity: ``low``, ``medium`` or ``high``.
    """

    format: Mapping[str, Any] = attrs.field(default=PLAIN_TEXT, metadata=checked(check_format))
    verbosity: str | None = attrs.field(default=None, metadata=checked(one_of("low", "medium", "high")))
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)


@attrs.frozen(kw_only=True, slots=False)
class CreateRequest:
    """A turn that a client asks for (``response.create``).

    Attributes:
        model: whom to ask.
        input: the new items, oldest first; a string on the wire is one user message.
        instructions: system text for this response alone; never inherited.
        previous_response_id: the response that this one continues.
        store: whether the response outlives the connection.
        tools: what the model may call; never inherited.
        tool_choice: which of them it may, must or must not call.
        parallel_tool_calls: whether it may call several at once.
        max_tool_calls: most calls that the server itself runs.
        max_output_tokens: most tokens generated, reasoning included; at least 16.
        temperature: 0 to 2.
        top_p: 0 to 1.
        top_logprobs: 0 to 20.
        presence_penalty: -2 to 2 (Open Responses).
        frequency_penalty: -2 to 2 (Open Responses).
        reasoning: effort, summary and the like, as sent.
        text: format and verbosity of the answer.
        truncation: ``auto`` or ``disabled``.
        include: what else the client wants to see.
        metadata: at most 16 pairs, echoed.
        service_tier: as sent.
        prompt_cache_key: as sent.
        prompt_cache_options: as sent; ``prewarm`` makes a warm-up of the request.
        prompt_cache_retention: as sent; ``prompt_cache_options`` has taken its place.
        safety_identifier: as sent; at most 128 characters.
        user: as sent.
        context_management: when to compact, as sent.
        generate: False for a warm-up: prepare, and run no model.
        stream: HTTP only; the socket always streams, whatever is said here.
        stream_options: HTTP only; as sent.
        stream_id: the lane; None is the default lane.
        background: HTTP only: run without a client.
        client_metadata: what a client says about itself, such as its ``traceparent``.
        extra: the members that this version does not know.
    """

    type: ClassVar[str] = "response.create"

    model: str = attrs.field(metadata=checked(length(1, 256)))
    input: tuple[Item, ...] = ()
    instructions: str | None = None
    previous_response_id: str | None = attrs.field(default=None, metadata=checked(length(1, 512)))
    store: bool = True
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = AUTO
    parallel_tool_calls: bool = True
    max_tool_calls: int | None = attrs.field(default=None, metadata=checked(between(1)))
    max_output_tokens: int | None = attrs.field(default=None, metadata=checked(between(16)))
    temperature: float | None = attrs.field(default=None, metadata=checked(between(0, 2)))
    top_p: float | None = attrs.field(default=None, metadata=checked(between(0, 1)))
    top_logprobs: int | None = attrs.field(default=None, metadata=checked(between(0, 20)))
    presence_penalty: float | None = attrs.field(default=None, metadata=checked(between(-2, 2)))
    frequency_penalty: float | None = attrs.field(default=None, metadata=checked(between(-2, 2)))
    reasoning: Mapping[str, Any] | None = attrs.field(default=None, metadata=checked(check_reasoning))
    text: TextConfig = TextConfig()
    truncation: str | None = attrs.field(default=None, metadata=checked(one_of("auto", "disabled")))
    include: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = attrs.field(factory=dict, metadata=checked(check_metadata))
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Mapping[str, Any] | None = attrs.field(default=None, metadata=checked(check_cache_options))
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = attrs.field(default=None, metadata=checked(length(0, 128)))
    user: str | None = None
    context_management: tuple[Any, ...] | None = attrs.field(default=None, metadata=checked(check_compaction))
    generate: bool = True
    stream: bool = False
    stream_options: Mapping[str, Any] | None = None
    stream_id: str | None = attrs.field(default=None, metadata=checked(check_stream_id))
    background: bool | None = None
    client_metadata: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)
