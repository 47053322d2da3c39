"""What is done to a JSON schema after msgspec wrote it: types named, defaults noted, the strict form made.

"Strict" function calling (Responses API) wants every property required, none besides, and no open objects. The walk
knows which members of a schema hold schemas, so that a property may have any name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

__all__ = ["name_types", "note_default", "obstacle", "to_strict"]

Schema = dict[str, Any]

_NAMED: Final = ("properties", "$defs")
_LISTED: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE: Final = ("items", "additionalProperties")


def note_default(schema: Schema, default: Any) -> None:
    """Tell a parameter's default, if JSON can say it."""
    try:
        value = msgspec.json.decode(msgspec.json.encode(default))
    except (TypeError, ValueError):
        return
    if "$ref" not in schema:
        schema["default"] = value


def name_types(schema: Schema) -> Schema:
    """Say the type of closed sets of strings or integers too: models and schema readers look for it."""
    values = schema.get("enum")
    if isinstance(values, list) and "type" not in schema:
        for kind, name in ((str, "string"), (int, "integer")):
            if all(type(value) is kind for value in values):
                schema = {"type": name, **schema}
    return _rebuild(schema, name_types)


def obstacle(schema: Schema) -> str | None:
    """Why a schema has no strict form, in words; None if it has one."""
    kind = schema.get("type")
    if kind == "object" and "properties" not in schema:
        return "it takes an object with keys of the model's choice"
    if kind == "array" and not isinstance(schema.get("items"), dict):
        return "it takes an array whose elements have no single type"
    if not {"type", "enum", "const", "$ref", "anyOf", "oneOf"} & schema.keys():
        return "it takes a value of any type"
    return next((found for inner in _inner(schema) if (found := obstacle(inner))), None)


def to_strict(schema: Schema) -> Schema:
    """The same schema with every property required and none besides; defaults are only told in descriptions."""
    out = _rebuild(schema, to_strict)
    if "default" in out:
        told = f"Default: {msgspec.json.encode(out.pop('default')).decode()}."
        out["description"] = f"{out['description']} {told}" if "description" in out else told
    if "properties" in out:
        out["required"] = list(out["properties"])
        out["additionalProperties"] = False
    return out


def _inner(schema: Mapping[str, Any]) -> Iterator[Schema]:
    for key in _NAMED:
        yield from schema.get(key, {}).values()
    for key in _LISTED:
        yield from schema.get(key, ())
    for key in _SINGLE:
        if isinstance(schema.get(key), dict):
            yield schema[key]


def _rebuild(schema: Mapping[str, Any], change: Callable[[Schema], Schema]) -> Schema:
    """A copy with every schema inside changed."""
    out = dict(schema)
    for key in _NAMED:
        if key in out:
            out[key] = {name: change(inner) for name, inner in out[key].items()}
    for key in _LISTED:
        if key in out:
            out[key] = [change(inner) for inner in out[key]]
    for key in _SINGLE:
        if isinstance(out.get(key), dict):
            out[key] = change(out[key])
    return out
