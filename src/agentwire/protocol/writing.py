"""From the classes of the wire to JSON values and bytes.

Members that are None are left out, except where the wire demands the key; a request leaves out its defaults too.
What was unknown when it was read is written back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final

import attrs
import msgspec

from agentwire.protocol.content import PARTS, OpaquePart
from agentwire.protocol.events import EVENTS, ErrorEvent, UnknownEvent
from agentwire.protocol.irregular import write_error, write_usage
from agentwire.protocol.items import ITEMS, Compaction, Message, OpaqueItem, OpenedCompaction, Summary
from agentwire.protocol.request import CreateRequest, TextConfig
from agentwire.protocol.response import Response, Usage
from agentwire.protocol.tools import TOOLS, OpaqueTool, ToolChoice

__all__ = ["encode_json", "encode_plain", "encode_wire", "settings_writer", "to_wire"]

Writer = Callable[[Any], Any]


def to_wire(value: Any) -> Any:
    """Plain JSON values (dicts, lists, strings, numbers) of anything made of wire classes and JSON values."""
    cls = value.__class__
    if cls in _LEAVES:
        return value
    if cls is dict:
        return {key: inner if inner.__class__ in _LEAVES else to_wire(inner) for key, inner in value.items()}
    if cls is list or cls is tuple:
        return [to_wire(inner) for inner in value] if value else []
    writer = _WRITERS.get(cls)
    if writer is not None:
        return writer(value)
    if isinstance(value, Mapping):
        return {key: to_wire(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_wire(inner) for inner in value]
    return value


def encode_json(value: Any) -> bytes:
    """The JSON text of anything made of wire classes and JSON values, as UTF-8.

    Half a surrogate pair, which a file name or a broken tool may bring, has no UTF-8: U+FFFD is written for it.

    Raises:
        TypeError: there is something in it that has no JSON.
    """
    return encode_wire(to_wire(value))


def encode_wire(plain: Any) -> bytes:
    """The same for what `to_wire` has made plain already, but for members that it passes on as they are."""
    try:
        return _ENCODER.encode(plain)
    except (TypeError, UnicodeEncodeError):
        return _ENCODER.encode(_repair(to_wire(plain)))


encode_plain: Final = msgspec.json.Encoder().encode
"""The JSON text of plain JSON values without half surrogates: of what was decoded from JSON before."""

_ENCODER: Final = msgspec.json.Encoder()
_LEAVES: Final = frozenset((str, int, float, bool, type(None)))
"""Classes whose values have nothing inside: nearly all that there is, and told apart faster than anything else."""


def _repair(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_repair(key): _repair(inner) for key, inner in value.items()}
    return [_repair(inner) for inner in value] if isinstance(value, list) else value


def _class_writer(cls: type) -> Writer:
    tags = {tag: getattr(cls, tag) for tag in ("type", "object") if isinstance(getattr(cls, tag, None), str)}
    fields = [field for field in attrs.fields(cls) if field.name != "extra"]
    names = tuple(field.name for field in fields)
    values = attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, names[0]),)
    kept = frozenset(field.name for field in fields if field.default is attrs.NOTHING or _is_kept(field))

    def write(value: Any) -> dict[str, Any]:
        out: dict[str, Any] = tags.copy()
        for name, member in zip(names, values(value), strict=True):
            if member is not None:
                out[name] = member if member.__class__ in _LEAVES else _write_member(member)
            elif name in kept:
                out[name] = None
        return {**out, **value.extra} if value.extra else out

    return write


def _is_kept(field: attrs.Attribute[Any]) -> bool:
    return bool(field.metadata.get("keep"))


def _write_member(value: Any) -> Any:
    cls = value.__class__
    if cls is dict or cls in _LEAVES:
        return value
    if cls is tuple or cls is list:
        return [_write_member(inner) for inner in value] if value else []
    writer = _WRITERS.get(cls)
    if writer is not None:
        return writer(value)
    if isinstance(value, tuple | list):
        return [_write_member(inner) for inner in value]
    return dict(value) if isinstance(value, Mapping) and not isinstance(value, dict) else value


def settings_writer(omit: frozenset[str] = frozenset()) -> Callable[[CreateRequest], dict[str, Any]]:
    """What writes all that a request says besides its type and its model, as far as that differs from the defaults.

    Args:
        omit: members that are left out, too.
    """
    blank = CreateRequest(model="").__dict__
    defaults = [(name, value) for name, value in blank.items() if name not in {"model", "extra"} | omit]

    def write(request: CreateRequest) -> dict[str, Any]:
        wire: dict[str, Any] = {}
        said = request.__dict__
        for name, default in defaults:
            if (value := said[name]) is not default and value is not None and value != default:
                wire[name] = _write_member(value)
        if request.extra:
            wire |= {name: value for name, value in request.extra.items() if name not in omit}
        return wire

    return write


_write_settings: Final = settings_writer()


def _write_request(request: CreateRequest) -> dict[str, Any]:
    """A request says only what differs from the defaults, which are the server's own."""
    return {"type": request.type, "model": request.model, **_write_settings(request)}


def _write_raw(value: OpaquePart | OpaqueItem | OpaqueTool | UnknownEvent) -> dict[str, Any]:
    return value.raw if isinstance(value.raw, dict) else dict(value.raw)


_WRITERS: Final[dict[type, Writer]] = {
    **{cls: _class_writer(cls) for table in (PARTS, ITEMS, TOOLS, EVENTS) for cls in table.values()},
    OpenedCompaction: _class_writer(Compaction),
    Summary: _class_writer(Message),
    Response: _class_writer(Response),
    TextConfig: _class_writer(TextConfig),
    CreateRequest: _write_request,
    Usage: write_usage,
    ErrorEvent: write_error,
    ToolChoice: lambda choice: choice.raw,
    **dict.fromkeys((OpaquePart, OpaqueItem, OpaqueTool, UnknownEvent), _write_raw),
}
