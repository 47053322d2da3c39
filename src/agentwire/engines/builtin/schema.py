"""JSON schemas: what one says, and whether a value fits it.

What a strict tool schema or ``text.format`` may say is obeyed (types, enum, const, anyOf, ``$ref``, patterns, bounds,
required, additionalProperties), and of the rest what is common; ``not``, ``if`` and ``contains`` are ignored. All
work on one schema shares one budget, so that a hostile schema costs milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeGuard

import attrs

from agentwire.engines.builtin.pattern import Pattern, Steps, Unsupported, compile_pattern

__all__ = ["Path", "Schemas", "Unfillable", "bound", "is_number", "listed", "number_fits", "properties_of", "types_of"]

MOST_VISITS: Final = 60_000
DEEPEST: Final = 24

Path = tuple[str, ...]
"""The names of the properties that lead from the root to a value."""

CHECKS: Final[dict[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: is_number(value) and value == int(value),
    "number": lambda value: is_number(value),  # noqa: PLW0108 - defined below
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list | tuple),
    "null": lambda value: value is None,
}

IMPLIED: Final = {
    "object": ("properties", "required", "additionalProperties", "minProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("pattern", "format", "minLength", "maxLength"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}


class Unfillable(ValueError):
    """No value was found: the schema allows none, or none within the budget."""


def types_of(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The types that a (resolved) schema allows by ``type``, or implies by its other words; empty for any."""
    said = schema.get("type")
    if isinstance(said, str):
        return (said,)
    if isinstance(said, list):
        return tuple(name for name in said if isinstance(name, str))
    return tuple(name for name, words in IMPLIED.items() if any(word in schema for word in words))[:1]


@attrs.define
class Schemas:
    """One root schema with its definitions, and what work on it may still cost."""

    root: Any
    visits: int = MOST_VISITS
    steps: Steps = attrs.Factory(Steps)

    def resolve(self, schema: Any) -> Mapping[str, Any]:
        """The schema as an object: ``$ref`` followed, ``allOf`` merged in.

        Raises:
            Unfillable: it allows nothing, refers to nothing, or the budget is spent.
        """
        self.visit()
        if schema is True or schema is None:
            return {}
        if not isinstance(schema, Mapping):
            raise Unfillable("a schema that allows nothing")
        found: Mapping[str, Any] = schema
        seen = 0
        while "$ref" in found:
            seen += 1
            if seen > DEEPEST:
                raise Unfillable("references that lead nowhere")
            target = self.lookup(found["$ref"])
            self.visit(len(target))
            found = {**target, **{key: value for key, value in found.items() if key != "$ref"}}
        parts = found.get("allOf")
        if isinstance(parts, list):
            return self.merge(found, parts)
        return found

    def visit(self, count: int = 1) -> None:
        """Pay for ``count`` visits.

        Raises:
            Unfillable: the budget is spent.
        """
        self.visits -= count
        if self.visits < 0:
            raise Unfillable("the schema is too large")

    def lookup(self, ref: Any) -> Mapping[str, Any]:
        """What a ``$ref`` of this document points at."""
        found = self.root
        for word in str(ref).removeprefix("#").split("/")[1:]:
            key = word.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, Mapping) else None
        if found is True:
            return {}
        if not isinstance(found, Mapping) or not str(ref).startswith("#"):
            raise Unfillable(f"{ref} is not in the schema")
        return found

    def merge(self, schema: Mapping[str, Any], parts: Sequence[Any]) -> dict[str, Any]:
        """``allOf`` as one schema: properties and required are united, for other words the narrower schema wins."""
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        for part in map(self.resolve, parts):
            self.visit(sum(len(value) if isinstance(value, Mapping | list) else 1 for value in part.values()))
            for key, value in part.items():
                mine = merged.get(key)
                if key == "properties" and isinstance(mine, Mapping) and isinstance(value, Mapping):
                    merged[key] = {**value, **mine}
                elif key == "required" and isinstance(mine, list) and isinstance(value, list):
                    merged[key] = [*mine, *value]
                elif key in ("minimum", "minLength", "minItems") and is_number(mine) and is_number(value):
                    merged[key] = max(mine, value)
                elif key in ("maximum", "maxLength", "maxItems") and is_number(mine) and is_number(value):
                    merged[key] = min(mine, value)
                else:
                    merged.setdefault(key, value)
        return merged

    def pattern(self, source: str) -> Pattern:
        """A compiled ``pattern``, paid for."""
        self.steps.take(len(source))
        return compile_pattern(source)

    def fits(self, schema: Any, value: Any) -> bool:
        """Whether ``value`` is allowed; False also where that cannot be told."""
        try:
            resolved = self.resolve(schema)
            return (
                self._type_fits(resolved, value)
                and ("const" not in resolved or same(resolved["const"], value))
                and ("enum" not in resolved or self._is_listed(listed(resolved, "enum"), value))
                and self._branches_fit(resolved, value)
                and self._bounds_fit(resolved, value)
            )
        except (Unfillable, Unsupported, RecursionError, OverflowError):
            return False

    def _type_fits(self, schema: Mapping[str, Any], value: Any) -> bool:
        said = types_of(schema) if "type" in schema else ()
        return not said or any(name in CHECKS and CHECKS[name](value) for name in said)

    def _is_listed(self, options: Sequence[Any], value: Any) -> bool:
        self.visit(len(options))
        return any(same(option, value) for option in options)

    def _branches_fit(self, schema: Mapping[str, Any], value: Any) -> bool:
        if "anyOf" in schema and not any(self.fits(option, value) for option in listed(schema, "anyOf")):
            return False
        return "oneOf" not in schema or sum(self.fits(option, value) for option in listed(schema, "oneOf")) == 1

    def _bounds_fit(self, schema: Mapping[str, Any], value: Any) -> bool:
        if isinstance(value, str):
            return self._string_fits(schema, value)
        if is_number(value):
            return number_fits(schema, value)
        if isinstance(value, Mapping):
            return self._object_fits(schema, value)
        if isinstance(value, list | tuple):
            return self._array_fits(schema, value)
        return True

    def _string_fits(self, schema: Mapping[str, Any], value: str) -> bool:
        if not bound(schema, "minLength", 0) <= len(value) <= bound(schema, "maxLength", len(value)):
            return False
        pattern = schema.get("pattern")
        return not isinstance(pattern, str) or self.pattern(pattern).matches(value, self.steps)

    def _object_fits(self, schema: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
        if any(str(name) not in value for name in listed(schema, "required")):
            return False
        if not bound(schema, "minProperties", 0) <= len(value) <= bound(schema, "maxProperties", len(value)):
            return False
        properties, other = properties_of(schema), schema.get("additionalProperties", True)
        return all(self.fits(properties.get(name, other), member) for name, member in value.items())

    def _array_fits(self, schema: Mapping[str, Any], value: Sequence[Any]) -> bool:
        if not bound(schema, "minItems", 0) <= len(value) <= bound(schema, "maxItems", len(value)):
            return False
        first, rest = listed(schema, "prefixItems"), schema.get("items", True)
        return all(self.fits(first[at] if at < len(first) else rest, entry) for at, entry in enumerate(value))


def number_fits(schema: Mapping[str, Any], value: float) -> bool:
    """Whether a number is within a schema's bounds and steps."""
    if not bound(schema, "minimum", value) <= value <= bound(schema, "maximum", value):
        return False
    if "exclusiveMinimum" in schema and not value > bound(schema, "exclusiveMinimum", -float("inf")):
        return False
    if "exclusiveMaximum" in schema and not value < bound(schema, "exclusiveMaximum", float("inf")):
        return False
    step = schema.get("multipleOf")
    if not is_number(step) or step <= 0:
        return True
    return value % step == 0 if isinstance(value, int) and isinstance(step, int) else _near_whole(value / step)


def _near_whole(quotient: float) -> bool:
    return abs(quotient - round(quotient)) < 1e-9


def same(one: Any, other: Any) -> bool:
    """Equality as JSON has it: true is not 1."""
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)


def bound(schema: Mapping[str, Any], key: str, default: float) -> float:
    """A numeric word of the schema, or the default if it is not there or no number."""
    value = schema.get(key)
    return value if is_number(value) else default


def listed(schema: Mapping[str, Any], key: str) -> Sequence[Any]:
    """A list word of the schema; empty if it is not there or no list."""
    value = schema.get(key)
    return value if isinstance(value, list | tuple) else ()


def properties_of(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The named properties; empty if there are none."""
    value = schema.get("properties")
    return value if isinstance(value, Mapping) else {}


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a value is a finite JSON number."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (isinstance(value, int) or math.isfinite(value))
    )
