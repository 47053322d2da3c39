"""Bytes of the wire to its classes, and back; foreign errors become ours here.

A frame is read twice: its envelope at once, its body when its turn starts, after its cost has been bounded. What a
client sends is read strictly (every mistake is a 400 that names the place), what a server sends tolerantly.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Final, Literal

from agentwire.protocol.checks import EMPTY, Misfit, shorten
from agentwire.protocol.compaction import read_compactions
from agentwire.protocol.copying import changed
from agentwire.protocol.cost import cost_steps
from agentwire.protocol.envelope import InvalidUtf8, decode_envelope
from agentwire.protocol.errors import RemoteProtocolError, RequestError
from agentwire.protocol.events import Event
from agentwire.protocol.items import Compaction, Item, Message
from agentwire.protocol.limits import Limits
from agentwire.protocol.parsing import ANY, decode_object, parse_json, parse_object, request_error, strictly
from agentwire.protocol.pieces import read_piece
from agentwire.protocol.reading import Reader, members_reader, request_reader, served_reader
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.response import Response
from agentwire.protocol.tools import Tool
from agentwire.protocol.writing import encode_json, encode_plain, encode_wire, settings_writer, to_wire

__all__ = [
    "InvalidUtf8",
    "decode_create",
    "decode_create_steps",
    "decode_envelope",
    "decode_event",
    "decode_item",
    "decode_items",
    "decode_object",
    "decode_response",
    "encode_create",
    "encode_item",
    "encode_json",
    "encode_plain",
    "encode_wire",
    "settings_writer",
    "to_wire",
]

Transport = Literal["websocket", "http", "background"]
"""How a request came; ``background``: over a WebSocket, to run without it."""

BATCH: Final = 2048
"""Elements that are read in one step."""

UNNAMED: Final = "default"
"""The model of a request that may leave it out."""


# Requests


def decode_create(frame: bytes, limits: Limits, *, transport: Transport) -> CreateRequest:
    """Read a create request strictly, in one go.

    Args:
        frame: the event on a socket, or the body of ``POST /v1/responses``.
        limits: bounds of its cost and of its ``input``.
        transport: where it came from; each has members that the other must not use.

    Raises:
        RequestError: 400 that names the offending ``param``.
    """
    steps = decode_create_steps(frame, limits, transport=transport)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            request: CreateRequest = stop.value
            return request


def decode_create_steps(
    frame: bytes, limits: Limits, *, transport: Transport, partial: bool = False
) -> Generator[None, None, CreateRequest]:
    """The same in steps, for a caller that must not hold its event loop: a big frame takes many.

    ``request = yield from decode_create_steps(...)``, or a checkpoint after each ``next``. A ``partial`` request is not
    to be run but to be looked at: it may lack model and input.
    """
    yield from cost_steps(frame, limits)
    body = parse_object(frame)
    yield
    _refuse_foreign(body, transport)
    if partial and body.get("model") is None:
        body["model"] = UNNAMED
    given, tools = body.pop("input", None), body.pop("tools", None)
    members = strictly(_CREATE, body)
    members.setdefault("metadata", {})
    if isinstance(given, str):
        members["input"] = (Message("user", given),)
    elif given is not None:
        members["input"] = yield from _read_items(given, limits)
    if tools is not None:
        members["tools"] = yield from _read_list(_TOOL, tools, "tools", limits)
    if members.get("prompt_cache_options", EMPTY).get("prewarm") is True:
        members["generate"] = False
    request = changed(_BLANK, members)
    if request.background and not request.store:
        raise RequestError.invalid("A response in the background must be stored: set 'store' to true.", param="store")
    if not partial:
        _check_input(request)
    return request


_CREATE: Final = members_reader(CreateRequest)
_BLANK: Final = CreateRequest(model="")
_ITEM: Final = request_reader(Item)
_TOOL: Final = request_reader(Tool)


def _refuse_foreign(body: Mapping[str, Any], transport: Transport) -> None:
    """Members that belong to the other transport, or to services that are not offered here."""
    if _SOMEWHERE.isdisjoint(body):
        return
    for name, instead in _NOWHERE.items():
        if body.get(name) is not None:
            raise _unsupported(name, instead)
    if transport == "http" and body.get("stream_id") is not None:
        message = "Unknown parameter: 'stream_id'; lanes exist on the WebSocket only."
        raise RequestError(400, "unknown_parameter", message, param="stream_id")
    if transport == "websocket" and body.get("background") is True:
        raise _unsupported("background", "post it over HTTP")


_NOWHERE: Final = {
    "conversation": "continue with 'previous_response_id'",
    "prompt": "send 'instructions' and 'input'",
    "background_options": "leave it out",
}
_SOMEWHERE: Final = frozenset((*_NOWHERE, "stream_id", "background"))


def _unsupported(name: str, instead: str) -> RequestError:
    return RequestError(400, "unsupported_parameter", f"'{name}' is not supported here; {instead}.", param=name)


def _read_items(given: Any, limits: Limits) -> Generator[None, None, tuple[Item, ...]]:
    if not isinstance(given, list):
        raise request_error(Misfit.kind("a string or an array of items", given).under("input"))
    if len(given) > limits.input_items:
        raise _too_many("input", limits)
    items = yield from _read_list(_ITEM, given, "input", limits)
    return (yield from read_compactions(items, limits)) if Compaction in map(type, items) else items


def _read_list(read: Reader, given: Any, name: str, limits: Limits) -> Generator[None, None, tuple[Any, ...]]:
    """Read a list element by element; a step is a batch of elements, weighed by the lists inside them."""
    if not isinstance(given, list):
        raise request_error(Misfit.kind("an array", given).under(name))
    elements: list[Any] = []
    weight = 0
    for index, element in enumerate(given):
        width = _width(element)
        if width > limits.input_items:
            raise _too_many(f"{name}[{index}]", limits)
        try:
            elements.append(read(element))
        except Misfit as misfit:
            raise request_error(misfit.under(index).under(name)) from None
        weight += 1 + width
        if weight >= BATCH:
            weight = 0
            yield
    return tuple(elements)


def _width(element: Any) -> int:
    """How many parts an item has."""
    parts = 0
    if isinstance(element, dict):
        for member in element.values():
            if isinstance(member, list):
                parts += len(member)
    return parts


def _too_many(param: str, limits: Limits) -> RequestError:
    message = f"'{param}' has more than {limits.input_items} entries; send less at once."
    return RequestError(400, "request_too_complex", message, param=param)


def _check_input(request: CreateRequest) -> None:
    for index, item in enumerate(request.input[:-1]):
        if item.type == "compaction_trigger":
            raise RequestError.invalid("A 'compaction_trigger' must be the last item.", param=f"input[{index}]")
    if not request.input and request.generate and request.previous_response_id is None:
        raise request_error(Misfit.missing("input"))


def encode_create(request: CreateRequest, *, transport: Transport = "websocket") -> bytes:
    """The frame, or the HTTP body, of a request; members that have their default are left out."""
    body = to_wire(request)
    if transport == "http":
        for name in ("type", "stream_id"):
            body.pop(name, None)
    return encode_json(body)


# Items


def decode_item(value: object, path: str = "item") -> Item:
    """Read one item strictly, from plain JSON values.

    Args:
        value: the JSON object.
        path: what errors call it.

    Raises:
        RequestError: 400 that names the offending member.
    """
    try:
        item: Item = _ITEM(value)
    except Misfit as misfit:
        raise request_error(misfit.under(path)) from None
    return item


def decode_items(text: bytes) -> tuple[Item, ...]:
    """Read a JSON array of items as `encode_json` wrote it: tolerantly, whoever made them.

    Raises:
        RemoteProtocolError: it is no array of items.
    """
    items: tuple[Item, ...] = _served(_ITEMS, text, "list of items")
    return items


def encode_item(item: Item) -> dict[str, Any]:
    """The JSON object of one item, unknown members included."""
    wire: dict[str, Any] = to_wire(item)
    return wire


# What servers send


def decode_event(frame: bytes | str) -> Event:
    """Read a server event tolerantly; an unknown type is an `UnknownEvent`, both shapes of errors an `ErrorEvent`.

    Raises:
        RemoteProtocolError: no JSON object with a ``type``, or a member is missing that its type cannot do without.
    """
    piece = read_piece(frame)
    if piece is not None:
        return piece
    event: Event = _served(_EVENT, frame, "event")
    return event


def decode_response(body: bytes | str) -> Response:
    """Read a response object tolerantly; members that are missing have the protocol's defaults.

    Raises:
        RemoteProtocolError: no JSON object with an ``id``, or a member has the wrong type.
    """
    response: Response = _served(_RESPONSE, body, "response")
    return response


_EVENT: Final = served_reader(Event)
_RESPONSE: Final = served_reader(Response)
_ITEMS: Final = served_reader(tuple[Item, ...])


def _served(read: Reader, text: bytes | str, what: str) -> Any:
    try:
        return read(parse_json(ANY, text))
    except RequestError as error:
        raise RemoteProtocolError(f"the server's {what} cannot be read: {error.message}") from None
    except Misfit as misfit:
        where = f" at {misfit.param}" if misfit.path else ""
        raise RemoteProtocolError(
            f"the server's {what} does not fit{where}: {misfit.expected or 'it is missing'}; {shorten(text)}"
        ) from None
