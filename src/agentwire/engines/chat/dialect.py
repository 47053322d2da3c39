"""What one chat server knows, wants or refuses otherwise than most do, as its operator says it.

Nothing is found out by trying: a server that refuses a member says so, and its operator writes it down here. The
defaults suit llama.cpp, vLLM, Ollama, LM Studio, TGI and most hosted ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias, get_args

import attrs

from agentwire.protocol.checks import EMPTY

__all__ = ["CallIds", "ChatDialect", "NoText", "Order", "ReasoningField", "ReasoningIn", "Schemas", "TokensName"]

TokensName: TypeAlias = Literal["max_tokens", "max_completion_tokens"]
ReasoningField: TypeAlias = Literal["same", "reasoning_content", "reasoning", "thinking", "none"]
ReasoningIn: TypeAlias = Literal["calls", "all", "every"]
Schemas: TypeAlias = Literal["json_schema", "json_object", "none"]
Order: TypeAlias = Literal["any", "system_first", "alternating"]
CallIds: TypeAlias = Literal["any", "short"]
NoText: TypeAlias = Literal["empty", "null"]

PASSED: Final = ("seed", "stop", "logit_bias", "top_k", "min_p", "repetition_penalty")
OURS: Final = frozenset(("messages", "stream", "n"))
"""What this engine's reading of the answer rests on; nobody else sets it."""


def _names(value: Any) -> frozenset[str]:
    if isinstance(value, str):
        raise TypeError(f"a list of names is expected, not the text {value!r}")
    return frozenset(value)


def _one_of(literal: Any) -> Callable[[ChatDialect, Any, Any], None]:
    """A validator for what a file or a program gives where a `Literal` stands."""
    allowed = get_args(literal)

    def check(_instance: ChatDialect, attribute: Any, value: Any) -> None:
        if value not in allowed:
            raise ValueError(f"{attribute.name} must be one of {', '.join(allowed)}, and is {value!r}")

    return check


def _check_ours(_instance: ChatDialect, _attribute: Any, extra: Mapping[str, Any]) -> None:
    if taken := OURS & extra.keys():
        raise ValueError(f"extra_body may not have {', '.join(sorted(taken))}: the engine sets that itself")


@attrs.frozen(kw_only=True)
class ChatDialect:
    """The options of one chat server.

    Raises:
        ValueError: an option has a value that it cannot have.
        TypeError: a list of names is none.

    Attributes:
        tokens_name: what it calls the bound on generated tokens. Nearly all know ``max_tokens``, but OpenAI's own newer
            models take ``max_completion_tokens`` alone.
        omit: members of the body that are never sent, because it refuses them, such as ``stream_options``,
            ``parallel_tool_calls`` or ``reasoning_effort``; ``strict`` is that of the functions.
        passing: members of the client's request that go up as they are, if the client sets them: those that the
            Responses API does not have but chat servers do, and, for servers that know them, ``verbosity`` (of
            ``text``), ``service_tier``, ``prompt_cache_key``, ``prompt_cache_retention``, ``safety_identifier``,
            ``user`` and ``metadata``.
        reasoning_field: the member of an assistant's message in which it wants its reasoning back; ``same``: where it
            writes it itself (``reasoning_content`` until it has written any); ``thinking``: in the content, as parts of
            that type, as Mistral has it; ``none``: it wants none.
        reasoning_in: which messages carry it back: those with tool ``calls``, as DeepSeek and Kimi demand and models
            that think between calls need, or ``all``; ``every``: all, with an empty one where there is none, as
            DeepSeek wants it of a history with calls that it has not made, or whose client has lost its reasoning.
        schemas: what it enforces of ``text.format``: a JSON schema, or only that the answer is a ``json_object``, or
            nothing; what it does not enforce the system's message asks for.
        order: which order of messages it takes: ``any``; ``system_first``, where what the system or the developer says
            later is told as the user's, for templates that know one message of the system at the start; or
            ``alternating``, where besides what the user says in a row is one message, and the assistant says ``OK.``
            between an answer of a tool and the user.
        call_ids: the ids of calls that it takes: ``any``, or ``short`` ones of nine letters and digits, which others
            are made into.
        no_text: the content of a message with calls and no text: ``empty``, which nearly all take, or ``null``, for
            those that make a block of it that must not be empty.
        named_choice: whether ``tool_choice`` may name a function in an object; else that function alone is offered,
            and ``required``.
        extra_body: members of every body, such as ``chat_template_kwargs``; they replace those of the same name.
    """

    tokens_name: TokensName = attrs.field(default="max_tokens", validator=_one_of(TokensName))
    omit: frozenset[str] = attrs.field(default=frozenset(), converter=_names)
    passing: frozenset[str] = attrs.field(default=PASSED, converter=_names)
    reasoning_field: ReasoningField = attrs.field(default="same", validator=_one_of(ReasoningField))
    reasoning_in: ReasoningIn = attrs.field(default="calls", validator=_one_of(ReasoningIn))
    schemas: Schemas = attrs.field(default="json_schema", validator=_one_of(Schemas))
    order: Order = attrs.field(default="any", validator=_one_of(Order))
    call_ids: CallIds = attrs.field(default="any", validator=_one_of(CallIds))
    no_text: NoText = attrs.field(default="empty", validator=_one_of(NoText))
    named_choice: bool = True
    extra_body: Mapping[str, Any] = attrs.field(default=EMPTY, validator=_check_ours)
