"""Everything on the wire: items, parts, tools, requests and responses, made from the classes themselves."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any, Union

import attrs
from hypothesis import strategies as st

from agentwire.protocol.content import PARTS, InputFile, InputImage, OpaquePart, Part
from agentwire.protocol.items import ITEMS, Item, OpaqueItem
from agentwire.protocol.request import CreateRequest, TextConfig
from agentwire.protocol.response import Response, Usage
from agentwire.protocol.tools import TOOLS, OpaqueTool, Tool, ToolChoice

__all__ = [
    "EXTRA",
    "JSON",
    "OBJECT",
    "UNIONS",
    "items",
    "of_class",
    "of_type",
    "parts",
    "requests",
    "responses",
    "texts",
    "tools",
    "usages",
]

TEXT = st.text(max_size=12)
NAME = st.text("abcXYZ019_-", min_size=1, max_size=12)
OTHER_KEY = st.text("abc", min_size=1, max_size=3).map("x_".__add__)
NUMBER = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)
WHOLE = st.integers(-(2**63), 2**63)
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)
EXTRA = st.dictionaries(OTHER_KEY, JSON, max_size=2)
KIND = st.text("abc:_", min_size=1, max_size=6).map("x".__add__)


def _opaque(cls: type, *required: str) -> st.SearchStrategy[Any]:
    members = st.fixed_dictionaries({"type": KIND, **dict.fromkeys(required, NAME)})
    return st.builds(lambda tag, rest: cls({**rest, **tag}), members, OBJECT)


FORMATS = st.sampled_from(
    [
        {"type": "text"},
        {"type": "json_object"},
        {"type": "json_schema", "name": "a-1", "schema": {"type": "object"}, "strict": True, "x": 1},
    ]
)
CHOICES = st.sampled_from(
    [
        ToolChoice(),
        ToolChoice("none", None, "none"),
        ToolChoice("required", None, "required"),
        ToolChoice("required", ("f",), {"type": "function", "name": "f"}),
        ToolChoice(
            "auto",
            ("f", "web_search"),
            {"type": "allowed_tools", "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}]},
        ),
    ]
)
CLOSED: Mapping[str, st.SearchStrategy[Any]] = {
    "Message.role": st.sampled_from(["user", "assistant", "system", "developer"]),
    "call_id": st.text(min_size=1, max_size=64),
    "name": NAME,
    "ItemReference.id": NAME,
    "CustomTool.format": st.none()
    | st.sampled_from([{"type": "text"}, {"type": "grammar", "syntax": "regex", "definition": "a+"}]),
    "TextConfig.format": FORMATS,
    "TextConfig.verbosity": st.none() | st.sampled_from(["low", "medium", "high"]),
    "CreateRequest.model": NAME,
    "CreateRequest.previous_response_id": st.none() | NAME,
    "CreateRequest.tool_choice": CHOICES,
    "CreateRequest.max_tool_calls": st.none() | st.integers(1, 10),
    "CreateRequest.max_output_tokens": st.none() | st.integers(16, 10**9),
    "CreateRequest.temperature": st.none() | st.floats(0, 2),
    "CreateRequest.top_p": st.none() | st.floats(0, 1),
    "CreateRequest.top_logprobs": st.none() | st.integers(0, 20),
    "CreateRequest.presence_penalty": st.none() | st.floats(-2, 2),
    "CreateRequest.frequency_penalty": st.none() | st.floats(-2, 2),
    "CreateRequest.truncation": st.none() | st.sampled_from(["auto", "disabled"]),
    "CreateRequest.reasoning": st.none() | st.dictionaries(st.sampled_from(["effort", "summary"]), TEXT),
    "CreateRequest.metadata": st.dictionaries(st.text(max_size=64), st.text(max_size=512), max_size=3),
    "CreateRequest.context_management": st.none()
    | st.lists(
        st.sampled_from([{"type": "compaction"}, {"type": "compaction", "compact_threshold": 1000}]), min_size=1
    ).map(tuple),
    "CreateRequest.prompt_cache_options": st.none() | st.just({"mode": "implicit"}),
    "CreateRequest.stream_id": st.none() | NAME,
    "CreateRequest.background": st.none() | st.just(value=False),
    "ErrorEvent.message": st.text(min_size=1, max_size=12),
    "ErrorEvent.status": st.none() | st.integers(400, 599),
    "ErrorEvent.headers": st.dictionaries(st.text("abc-", min_size=1), TEXT, max_size=2),
}
"""Fields of which not every value of their type is allowed, by class and name or by name alone."""


def of_class(cls: Any) -> st.SearchStrategy[Any]:
    """Any value of a wire class, unknown members included."""
    hints = typing.get_type_hints(cls)
    members: dict[str, st.SearchStrategy[Any]] = {}
    for field in attrs.fields(cls):
        closed = CLOSED.get(f"{cls.__name__}.{field.name}", CLOSED.get(field.name))
        if field.name == "extra":
            closed = EXTRA
        members[field.name] = of_type(hints[field.name]) if closed is None else closed
    made = st.builds(cls, **members)
    if cls in (InputImage, InputFile):
        made = made.filter(lambda part: part.file_id is not None)
    return made


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of the type of a field."""
    if kind in UNIONS:
        return UNIONS[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return st.one_of(*(of_type(argument) for argument in arguments))
    if origin is tuple:
        return st.lists(of_type(arguments[0]), max_size=2).map(tuple)
    if origin is Mapping:
        return OBJECT
    return BASE[kind] if kind in BASE else of_class(kind)


BASE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: WHOLE,
    float: NUMBER,
    bool: st.booleans(),
    types.NoneType: st.none(),
    Any: JSON,
}
UNIONS: dict[Any, st.SearchStrategy[Any]] = {}
UNIONS[Part] = st.one_of(*map(of_class, PARTS.values()), _opaque(OpaquePart))
UNIONS[Item] = st.one_of(*map(of_class, ITEMS.values()), _opaque(OpaqueItem))
UNIONS[Tool] = st.one_of(*map(of_class, TOOLS.values()), _opaque(OpaqueTool))

parts, items, tools = UNIONS[Part], UNIONS[Item], UNIONS[Tool]
usages = of_class(Usage)
texts = of_class(TextConfig)
responses = of_class(Response)


def _acceptable(request: CreateRequest) -> bool:
    """With input, or with a reason to have none."""
    return bool(request.input) or not request.generate or request.previous_response_id is not None


requests = of_class(CreateRequest).filter(_acceptable)
