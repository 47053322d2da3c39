"""What came of a request: the response object, with every key that the wire demands, and its usage.

All 31 keys that Open Responses requires are written, with the protocol's defaults where nothing was said. Times are
whole seconds; what other servers add is kept in ``extra``.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, ClassVar, Final

import attrs

from agentwire.protocol.checks import EMPTY, KEPT
from agentwire.protocol.content import OutputText
from agentwire.protocol.copying import changed
from agentwire.protocol.items import Item, Message
from agentwire.protocol.mcp import redacted
from agentwire.protocol.request import PLAIN_TEXT, CreateRequest
from agentwire.protocol.tools import Tool

__all__ = ["Response", "Usage", "echoed"]


@attrs.frozen
class Usage:
    """Tokens that a response used; what came from a cache is counted in ``input_tokens`` too.

    Attributes:
        input_tokens: the whole context.
        output_tokens: everything generated, reasoning included.
        cached_tokens: the part of the context that came from a cache.
        reasoning_tokens: the part of the output that was reasoning.
        cache_write_tokens: the part of the context that went into a cache.
        extra: what else a server reports.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        """The usage of two engine steps together."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
        )


@attrs.frozen(kw_only=True, slots=False)
class Response:
    """A response, running or ended (Responses API, the response object).

    Attributes:
        id: opaque; what a continuation names.
        created_at: whole seconds since the epoch.
        status: ``queued``, ``in_progress``, ``completed``, ``incomplete``, ``failed`` or ``cancelled``.
        model: who answered.
        output: the items made, in the order of their ``output_index``.
        usage: None until the response has ended.
        error: code and message of a failed response.
        incomplete_details: ``{"reason": ...}`` of an incomplete one.
        completed_at: whole seconds since the epoch; None unless completed.
        previous_response_id: what it continues.
        extra: the members that this version does not know.

    The other attributes echo the request.
    """

    object: ClassVar[str] = "response"

    id: str
    created_at: int = attrs.field(default=0, metadata=KEPT)
    completed_at: int | None = attrs.field(default=None, metadata=KEPT)
    status: str = attrs.field(default="in_progress", metadata=KEPT)
    background: bool | None = attrs.field(default=False, metadata=KEPT)
    error: Mapping[str, Any] | None = attrs.field(default=None, metadata=KEPT)
    incomplete_details: Mapping[str, Any] | None = attrs.field(default=None, metadata=KEPT)
    instructions: Any = attrs.field(default=None, metadata=KEPT)
    max_output_tokens: int | None = attrs.field(default=None, metadata=KEPT)
    max_tool_calls: int | None = attrs.field(default=None, metadata=KEPT)
    metadata: Mapping[str, Any] | None = attrs.field(factory=dict, metadata=KEPT)
    model: str = attrs.field(default="", metadata=KEPT)
    output: tuple[Item, ...] = attrs.field(default=(), metadata=KEPT)
    parallel_tool_calls: bool = attrs.field(default=True, metadata=KEPT)
    previous_response_id: str | None = attrs.field(default=None, metadata=KEPT)
    prompt_cache_key: str | None = attrs.field(default=None, metadata=KEPT)
    reasoning: Mapping[str, Any] | None = attrs.field(factory=lambda: {"effort": None, "summary": None}, metadata=KEPT)
    safety_identifier: str | None = attrs.field(default=None, metadata=KEPT)
    service_tier: str | None = attrs.field(default="default", metadata=KEPT)
    store: bool = attrs.field(default=True, metadata=KEPT)
    temperature: float | None = attrs.field(default=1.0, metadata=KEPT)
    top_p: float | None = attrs.field(default=1.0, metadata=KEPT)
    presence_penalty: float | None = attrs.field(default=0.0, metadata=KEPT)
    frequency_penalty: float | None = attrs.field(default=0.0, metadata=KEPT)
    text: Mapping[str, Any] | None = attrs.field(
        factory=lambda: {"format": PLAIN_TEXT, "verbosity": "medium"}, metadata=KEPT
    )
    tool_choice: Any = attrs.field(default="auto", metadata=KEPT)
    tools: tuple[Tool, ...] = attrs.field(default=(), metadata=KEPT)
    top_logprobs: int | None = attrs.field(default=0, metadata=KEPT)
    truncation: str | None = attrs.field(default="disabled", metadata=KEPT)
    usage: Usage | None = attrs.field(default=None, metadata=KEPT)
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)

    @property
    def output_text(self) -> str:
        """All that the model wrote for the user, joined; refusals and reasoning are not in it."""
        texts: list[str] = []
        for item in self.output:
            if not isinstance(item, Message):
                continue
            if isinstance(item.content, str):
                texts.append(item.content)
            else:
                texts += [part.text for part in item.content if isinstance(part, OutputText)]
        return "".join(texts)

    def told(self, members: Mapping[str, Any]) -> dict[str, Any]:
        """What whoever answered says of it, as changes: ``model``, ``service_tier``, and members unknown here.

        Others are not for it to say.
        """
        told = {name: members[name] for name in _TOLD if isinstance(members.get(name), str)}
        if not _OWN.issuperset(members):
            known = _OWN | self.extra.keys()
            told["extra"] = {**self.extra, **{name: members[name] for name in members if name not in known}}
        return told

    @classmethod
    def begin(
        cls,
        request: CreateRequest,
        *,
        id: str,  # noqa: A002 - the wire's own name
        created_at: int,
        model: str | None = None,
        status: str = "in_progress",
    ) -> Response:
        """A response as it is when its turn begins: the request's settings echoed, and no output.

        Args:
            request: what was asked.
            id: the new response's id.
            created_at: whole seconds since the epoch.
            model: who answers, if not the one that was named.
            status: ``in_progress``, or ``queued`` in the background.
        """
        told = {"id": id, "created_at": created_at, "status": status, "model": model or request.model}
        return changed(_BLANK, {**told, "metadata": {}, **_echo(request)})


_BLANK: Final = Response(id="")
_TOLD: Final = ("model", "service_tier")
_OWN: Final = frozenset((*(field.name for field in attrs.fields(Response)), "object"))


def _echo(request: CreateRequest) -> dict[str, Any]:
    """The settings of a request as its response shows them; what was left out is left to the defaults."""
    echoes = zip(_OPTIONAL_ECHOES, _GET_ECHOES(request), strict=True)
    told: dict[str, Any] = {name: value for name, value in echoes if value is not None}
    if request.tools:
        told["tools"] = tuple(map(redacted, request.tools))
    told["text"] = {
        "format": request.text.format,
        "verbosity": request.text.verbosity or "medium",
        **request.text.extra,
    }
    told["reasoning"] = {"effort": None, "summary": None, **(request.reasoning or {})}
    told["tool_choice"] = request.tool_choice.raw
    if request.service_tier == "auto":
        del told["service_tier"]  # the echo says which tier was used
    more: dict[str, Any] = {"user": request.user, "prompt_cache_retention": request.prompt_cache_retention}
    if request.prompt_cache_options is not None:
        told_options = {name: value for name, value in request.prompt_cache_options.items() if name != "prewarm"}
        more["prompt_cache_options"] = {"mode": "implicit", "ttl": "30m", **told_options}
    told["extra"] = {name: value for name, value in more.items() if value is not None}
    return told


_OPTIONAL_ECHOES = (
    "background",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "safety_identifier",
    "service_tier",
    "store",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "truncation",
)
_GET_ECHOES: Final = attrgetter(*_OPTIONAL_ECHOES)

_FLAT: Final = attrgetter(
    "model", "user", "prompt_cache_retention", *(name for name in _OPTIONAL_ECHOES if name != "previous_response_id")
)
_PLAIN: Final = CreateRequest(model="")


def echoed(request: CreateRequest) -> tuple[Any, ...] | None:
    """What a response shows of its request, but for what that continues: where it is equal, responses begin alike.

    None if there is more in it than names and numbers, such as tools: to compare these takes as long as to write them,
    and they may have secrets.
    """
    if request.tools or request.reasoning is not None or request.prompt_cache_options is not None:
        return None
    usual = request.text is _PLAIN.text and request.tool_choice is _PLAIN.tool_choice
    return _FLAT(request) if usual else None
