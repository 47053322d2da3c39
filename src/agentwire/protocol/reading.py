"""From JSON values to the classes of the wire.

One cattrs converter reads requests and is strict: nothing is coerced, and every check of `checks` applies. Another
reads what servers send and only asks for what is needed. Members that a class does not know go to its ``extra``.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Union

import attrs
from cattrs import Converter

from agentwire.protocol.checks import Check, Misfit
from agentwire.protocol.content import PARTS, InputFile, InputImage, OpaquePart, Part, ReasoningText, SummaryText
from agentwire.protocol.events import EVENTS, ErrorEvent, Event, UnknownEvent
from agentwire.protocol.irregular import read_error, read_usage
from agentwire.protocol.items import ITEMS, Item, OpaqueItem
from agentwire.protocol.response import Usage
from agentwire.protocol.tools import TOOLS, OpaqueTool, Tool, ToolChoice, parse_tool_choice

__all__ = ["Reader", "members_reader", "request_reader", "served_reader"]

Reader = Callable[[Any], Any]
"""Makes a value of a wire type from a JSON value, or raises `Misfit` with the path from there."""


def request_reader(kind: Any) -> Reader:
    """The strict reader for ``kind``: a wire class, a union of them, or any other type of their fields."""
    return _reader(_STRICT, kind)


def members_reader(cls: type) -> Callable[[Any], dict[str, Any]]:
    """The strict reader for the members of ``cls``, for somebody who adds some before making the object."""
    return _members_hook(_STRICT, cls, strict=True)


def served_reader(kind: Any) -> Reader:
    """The tolerant reader for ``kind``: whole numbers may be written as floats, and no check applies."""
    return _reader(_TOLERANT, kind)


def _reader(converter: Converter, kind: Any) -> Reader:
    hook = converter.get_structure_hook(kind)
    return lambda value: hook(value, kind)


# Plain values


def _read_str(value: Any, _: Any = None) -> str:
    if isinstance(value, str):
        return value
    raise Misfit.kind("a string", value)


def _read_bool(value: Any, _: Any = None) -> bool:
    if isinstance(value, bool):
        return value
    raise Misfit.kind("a boolean", value)


def _read_int(value: Any, _: Any = None) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Misfit.kind("an integer", value)


def _read_whole(value: Any, _: Any = None) -> int:
    return int(value) if isinstance(value, float) and value.is_integer() else _read_int(value)


def _read_float(value: Any, _: Any = None) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST:
        return float(value)
    raise Misfit.kind("a number", value)


LARGEST: Final = 10**300
"""An integer beyond this has no place where a float is expected, and may not even fit one."""


def _read_object(value: Any, _: Any = None) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise Misfit.kind("an object", value)


def _is_object(kind: Any) -> bool:
    return typing.get_origin(kind) is Mapping


def _is_tuple(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple


def _tuple_hook(converter: Converter, kind: Any) -> Callable[[Any, Any], tuple[Any, ...]]:
    inner_kind = typing.get_args(kind)[0]
    inner = None if inner_kind is Any else converter.get_structure_hook(inner_kind)

    def read(value: Any, _: Any = None) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise Misfit.kind("an array", value)
        if inner is None:
            return tuple(value)
        elements: list[Any] = []
        try:
            for element in value:
                elements.append(inner(element, inner_kind))  # noqa: PERF401 - its length is the failing index
        except Misfit as misfit:
            raise misfit.under(len(elements)) from None
        return tuple(elements)

    return read


# Classes


def _class_hook(converter: Converter, cls: type, *, strict: bool) -> Callable[[Any, Any], Any]:
    read_members = _members_hook(converter, cls, strict=strict)
    check = WHOLE_CHECKS.get(cls) if strict else None

    def read(value: Any, _: Any = None) -> Any:
        members = read_members(value)
        if check is not None:
            check(members)
        return cls(**members)

    return read


def _members_hook(converter: Converter, cls: type, *, strict: bool) -> Callable[[Any], dict[str, Any]]:
    """What an object says, as arguments for its class; of many members that there could be, most say few."""
    tags = {tag: _TAG for tag in ("type", "object") if hasattr(cls, tag)}
    members = tags | dict(_members(converter, cls, strict=strict))
    required = tuple(field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING)

    def read(value: Any) -> dict[str, Any]:
        if value.__class__ is not dict and not isinstance(value, Mapping):
            raise Misfit.kind("an object", value)
        found: dict[str, Any] = {}
        told, extra = _split(value, members) if len(value) > len(members) else (value, {})
        for name, given in told.items():
            member = members.get(name)
            if member is None:
                extra[name] = given
                continue
            plain, convert, null = member
            if given.__class__ is plain or (null and given is None):
                found[name] = given
            elif convert is not None and given is not None:
                found[name] = convert(given)
        if extra:
            found["extra"] = extra
        for name in required:
            if name not in found:
                raise Misfit.missing(name)
        return found

    return read


def _split(value: Mapping[str, Any], names: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The members of these names, and the others, of which there may be very many."""
    rest = dict(value)
    return {name: rest.pop(name) for name in names if name in rest}, rest


class _Member(typing.NamedTuple):
    """How one member is read: the class that needs no conversion, the conversion, whether null counts."""

    plain: type | None = None
    convert: Callable[[Any], Any] | None = None
    null: bool = False


_TAG: Final = _Member()
"""It told which class this is, and says nothing more."""


def _members(converter: Converter, cls: type, *, strict: bool) -> typing.Iterator[tuple[str, _Member]]:
    hints = typing.get_type_hints(cls)
    for field in attrs.fields(cls):
        if field.name == "extra":
            continue
        kind, optional = _without_none(hints[field.name])
        check = field.metadata.get("check") if strict else None
        plain = kind if kind in _PLAIN and check is None else None
        convert = _conversion(converter, kind, field.name, check)
        yield field.name, _Member(plain, convert, optional and field.metadata.get("keep", False))


_PLAIN: Final = (str, int, float, bool)


def _conversion(converter: Converter, kind: Any, name: str, check: Check | None) -> Callable[[Any], Any]:
    read = _read_any if kind is Any else converter.get_structure_hook(kind)

    def convert(value: Any) -> Any:
        try:
            result = value if value.__class__ is kind else read(value, kind)
            if check is not None:
                check(result)
        except Misfit as misfit:
            raise misfit.under(name) from None
        return result

    return convert


def _read_any(value: Any, _: Any = None) -> Any:
    return value


def _without_none(kind: Any) -> tuple[Any, bool]:
    """A type without its ``| None``, and whether it had one."""
    if typing.get_origin(kind) not in (Union, types.UnionType):
        return kind, kind is Any
    kinds = typing.get_args(kind)
    rest = [inner for inner in kinds if inner is not types.NoneType]
    return (Union[tuple(rest)] if len(rest) > 1 else rest[0]), len(rest) < len(kinds)  # noqa: UP007 - made at run time


def _needs_source(*names: str) -> Check:
    def check(found: Mapping[str, Any]) -> None:
        if not any(name in found for name in names):
            raise Misfit("missing_required_parameter", f"one of {', '.join(names)} is required", names[0])

    return check


WHOLE_CHECKS: Final[Mapping[type, Check]] = {
    InputImage: _needs_source("image_url", "file_id"),
    InputFile: _needs_source("file_id", "file_url", "file_data"),
}
"""What the members of a class must satisfy together."""


# Unions


def _tagged_hook(
    readers: Mapping[str, Callable[[Any, Any], Any]],
    opaque: Callable[[Mapping[str, Any]], Any],
    untagged: Callable[[Mapping[str, Any]], Any] | None = None,
) -> Callable[[Any, Any], Any]:
    def read(value: Any, _: Any = None) -> Any:
        if value.__class__ is not dict and not isinstance(value, Mapping):
            raise Misfit.kind("an object", value)
        tag = value.get("type")
        if isinstance(tag, str):
            known = readers.get(tag)
            return known(value, None) if known is not None else opaque(value)
        if tag is not None:
            raise Misfit.kind("a string", tag).under("type")
        if untagged is None:
            raise Misfit.missing("type")
        return untagged(value)

    return read


def _single_hook(converter: Converter, cls: Any, *, strict: bool) -> Callable[[Any, Any], Any]:
    """Where only one class can stand, its tag may be missing; of a server, it may even be another."""
    plain = _class_hook(converter, cls, strict=strict)

    def refuse(_: Mapping[str, Any]) -> Any:
        raise Misfit("unsupported_value", f"it must be '{cls.type}'", "type")

    opaque = refuse if strict else lambda value: plain(value, cls)
    return _tagged_hook({cls.type: plain}, opaque, lambda value: plain(value, cls))


def _untagged_item(readers: Mapping[str, Callable[[Any, Any], Any]]) -> Callable[[Mapping[str, Any]], Any]:
    def read(value: Mapping[str, Any]) -> Any:
        """An item without ``type`` is a message in its easy form, or a reference."""
        if "role" in value:
            return readers["message"](value, None)
        if "id" in value and value.keys() <= {"id", "type"}:
            return readers["item_reference"](value, None)
        raise Misfit.missing("type")

    return read


def _content_hook(parts: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def read(value: Any, _: Any = None) -> Any:
        if isinstance(value, str):
            return value
        if not isinstance(value, list | tuple):
            raise Misfit.kind("a string or an array of parts", value)
        return parts(value, None)

    return read


def _make_converter(*, strict: bool) -> Converter:
    converter = Converter(detailed_validation=False)
    for kind, hook in ((str, _read_str), (bool, _read_bool), (float, _read_float)):
        converter.register_structure_hook(kind, hook)
    converter.register_structure_hook(int, _read_int if strict else _read_whole)
    converter.register_structure_hook_func(_is_object, _read_object)
    converter.register_structure_hook_factory(attrs.has, lambda cls: _class_hook(converter, cls, strict=strict))
    converter.register_structure_hook_factory(_is_tuple, lambda kind: _tuple_hook(converter, kind))
    converter.register_structure_hook(ToolChoice, lambda value, _: parse_tool_choice(value))
    converter.register_structure_hook(Usage, read_usage)
    converter.register_structure_hook(ErrorEvent, read_error)

    def add_union(union: Any, hook: Callable[[Any, Any], Any]) -> None:
        converter.register_structure_hook_func(lambda kind: kind == union, hook)

    def readers(table: Mapping[str, type]) -> Mapping[str, Callable[[Any, Any], Any]]:
        return {tag: converter.get_structure_hook(cls) for tag, cls in table.items()}

    add_union(Part, _tagged_hook(readers(PARTS), OpaquePart))
    add_union(str | tuple[Part, ...], _content_hook(converter.get_structure_hook(tuple[Part, ...])))
    for cls in (SummaryText, ReasoningText):
        converter.register_structure_hook(cls, _single_hook(converter, cls, strict=strict))
    items = readers(ITEMS)
    add_union(Item, _tagged_hook(items, OpaqueItem, _untagged_item(items)))
    add_union(Tool, _tagged_hook(readers(TOOLS), OpaqueTool))
    add_union(Event, _tagged_hook(readers(EVENTS), UnknownEvent))
    return converter


_STRICT: Final = _make_converter(strict=True)
_TOLERANT: Final = _make_converter(strict=False)
