"""What a caller gives becomes a request: plain text, items or JSON as input, and functions or JSON as tools.

A request is checked here by the same rules as on a server, so that a mistake is found where it was made. Members that
this version does not know go out as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from agentwire.protocol.codec import decode_create, decode_item, encode_json, to_wire
from agentwire.protocol.errors import LocalProtocolError, RequestError
from agentwire.protocol.items import Item, Message
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.tools import Tool
from agentwire.runtime.tools import Reveal, Toolbox

__all__ = ["DEFAULT_MODEL", "Input", "Offer", "ToolLike", "build_request", "read_items"]

Input: TypeAlias = str | Item | Mapping[str, Any] | Sequence[Item | Mapping[str, Any]]
"""New items of a conversation: a user's text, an item, an item as JSON, or several of these."""

ToolLike: TypeAlias = Callable[..., Any] | Tool | Mapping[str, Any]
"""A function to be run here, or a tool of any other kind, which somebody else runs."""

DEFAULT_MODEL: Final = "default"
"""Asked for where nobody names a model; a server with a single engine takes any name."""


@attrs.frozen
class Offer:
    """The tools of a request: those that are functions here, and how all of them are told to the model."""

    toolbox: Toolbox
    wire: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, tools: Iterable[ToolLike], *, reveal: Reveal = "message") -> Offer:
        """Sort out what a caller gave.

        Args:
            tools: what a caller gave.
            reveal: what the model is told of an exception of a function.

        Raises:
            LocalProtocolError: a function cannot be a tool, or two have the same name.
        """
        functions: list[Callable[..., Any]] = []
        others: list[Mapping[str, Any]] = []
        for tool in tools:
            if isinstance(tool, Mapping):
                others.append(tool)
            elif isinstance(tool, Tool):
                others.append(to_wire(tool))
            else:
                functions.append(tool)
        toolbox = Toolbox.of(functions, reveal=reveal)
        return cls(toolbox, (*(to_wire(offer) for offer in toolbox.offers), *others))


def build_request(
    given: Input,
    *,
    model: str | None,
    offer: Offer,
    limits: Limits,
    fields: Mapping[str, Any],
) -> CreateRequest:
    """A create request.

    Args:
        given: the new items.
        model: whom to ask.
        offer: the tools.
        limits: bounds of the request.
        fields: any other members, as they are on the wire; None leaves one out.

    Raises:
        LocalProtocolError: a member has a wrong type or value; the text names it.
    """
    body = {name: to_wire(value) for name, value in fields.items() if value is not None}
    body |= {"type": CreateRequest.type, "model": model or DEFAULT_MODEL, "input": "-", "tools": offer.wire}
    try:
        request = decode_create(encode_json(body), limits, transport="websocket")
    except RequestError as error:
        raise LocalProtocolError(error.message) from None
    except TypeError as error:
        raise LocalProtocolError(f"the request has a member that is no JSON: {error}") from None
    return attrs.evolve(request, input=read_items(given))


def read_items(given: Input) -> tuple[Item, ...]:
    """The items that a caller means.

    Raises:
        LocalProtocolError: one of them is no item.
    """
    if isinstance(given, str):
        return (Message("user", given),)
    if isinstance(given, Mapping | Item):
        return (_read_item(given, "input"),)
    items: object = given
    if not isinstance(items, Iterable):
        raise LocalProtocolError(f"input must be a text, an item or a list of items, not {given!r}")
    return tuple(_read_item(item, f"input[{index}]") for index, item in enumerate(items))


def _read_item(item: object, path: str) -> Item:
    if isinstance(item, Item):
        return item
    try:
        return decode_item(item, path)
    except RequestError as error:
        raise LocalProtocolError(error.message) from None
