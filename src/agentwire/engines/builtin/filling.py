"""The plainest value that a JSON schema allows, with chosen values in it.

What is optional is left out, a nullable value is null, a number is near 0, a list is as short as it may be. The result
fits the schema, or there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

import attrs

from agentwire.engines.builtin.pattern import Unsupported
from agentwire.engines.builtin.schema import (
    Path,
    Schemas,
    Unfillable,
    bound,
    is_number,
    listed,
    number_fits,
    properties_of,
    types_of,
)

__all__ = ["fill"]

DEEPEST: Final = 24
LONGEST: Final = 20_000

EXAMPLES: Final = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT1M",
    "email": "nobody@example.com",
    "hostname": "example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def fill(schema: Any, chosen: Mapping[Path, Any] | None = None) -> Any:
    """The plainest value that a schema allows, with the ``chosen`` values in it wherever they fit.

    Optional properties are left out unless something is chosen for them or below them.

    Raises:
        Unfillable: no value was found.
    """
    chosen = chosen or {}
    prefixes = {path[:end] for path in chosen for end in range(len(path) + 1)}
    try:
        return _Filler(Schemas(schema), chosen, prefixes).value(schema, ())
    except (Unsupported, RecursionError, OverflowError) as error:
        raise Unfillable(str(error)) from error


@attrs.frozen
class _Filler:
    schemas: Schemas
    chosen: Mapping[Path, Any]
    prefixes: AbstractSet[Path]

    def value(self, schema: Any, path: Path, depth: int = 0) -> Any:
        if depth > DEEPEST:
            raise Unfillable("the schema is nested too deeply")
        resolved = self.schemas.resolve(schema)
        for wanted in self.wanted(resolved, path):
            if self.schemas.fits(resolved, wanted):
                return wanted
        for branch in () if "const" in resolved or "enum" in resolved else self.branches(resolved, path):
            try:
                made = self.plain(branch, path, depth) if branch is resolved else self.value(branch, path, depth + 1)
            except (Unfillable, Unsupported):
                continue
            if branch is resolved or self.schemas.fits(resolved, made):
                return made
        raise Unfillable(f"no value found for {'.'.join(path) or 'the schema'}")

    def wanted(self, schema: Mapping[str, Any], path: Path) -> list[Any]:
        wanted = [self.chosen[path]] if path in self.chosen else []
        if path not in self.prefixes or wanted:
            wanted += [schema[key] for key in ("const", "default") if key in schema]
        return wanted + list(listed(schema, "enum"))

    def branches(self, schema: Mapping[str, Any], path: Path) -> list[Mapping[str, Any]]:
        """The alternatives as whole schemas; null comes first, unless something is chosen below."""
        options = [*listed(schema, "anyOf"), *listed(schema, "oneOf")]
        if not options:
            return [schema]
        base = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
        merged: list[Mapping[str, Any]] = []
        for option in options:
            try:
                merged.append(self.schemas.merge(base, [option]))
            except Unfillable:
                continue
        null_first = path not in self.prefixes
        return sorted(merged, key=lambda option: (types_of(option) == ("null",)) is not null_first)

    def plain(self, schema: Mapping[str, Any], path: Path, depth: int) -> Any:
        names = types_of(schema)
        if "null" in names and path not in self.prefixes:
            return None
        kind = names[0] if names else "string"
        if kind == "object":
            return self.object(schema, path, depth)
        if kind == "array":
            return self.array(schema, path, depth)
        if kind == "string":
            return self.string(schema)
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer")
        if kind in ("boolean", "null"):
            return False if kind == "boolean" else None
        raise Unfillable(f"{kind} is no type")

    def object(self, schema: Mapping[str, Any], path: Path, depth: int) -> dict[str, Any]:
        properties, required = properties_of(schema), dict.fromkeys(map(str, listed(schema, "required")))
        made: dict[str, Any] = {}
        for name, member in properties.items():
            if name in required:
                made[name] = self.value(member, (*path, name), depth + 1)
            elif (*path, name) in self.prefixes:
                try:
                    made[name] = self.value(member, (*path, name), depth + 1)
                except Unfillable:
                    continue
        other = schema.get("additionalProperties", True)
        for name in required:
            if name not in properties:
                made[name] = self.value(other, (*path, name), depth + 1)
        self.pad(schema, made, path, depth)
        return made

    def pad(self, schema: Mapping[str, Any], made: dict[str, Any], path: Path, depth: int) -> None:
        """As many members more as ``minProperties`` asks for."""
        spare = [name for name in properties_of(schema) if name not in made]
        spare += [f"member_{number}" for number in range(int(min(bound(schema, "minProperties", 0), 100)))]
        for name in spare:
            if len(made) >= bound(schema, "minProperties", 0):
                return
            member = properties_of(schema).get(name, schema.get("additionalProperties", True))
            made[name] = self.value(member, (*path, name), depth + 1)

    def array(self, schema: Mapping[str, Any], path: Path, depth: int) -> list[Any]:
        first, rest = listed(schema, "prefixItems"), schema.get("items", True)
        made: list[Any] = []
        while len(made) < bound(schema, "minItems", 0):
            entry = first[len(made)] if len(made) < len(first) else rest
            made.append(self.value(entry, (*path, str(len(made))), depth + 1))
        return made

    def string(self, schema: Mapping[str, Any]) -> str:
        shortest = int(bound(schema, "minLength", 0))
        if shortest > LONGEST:
            raise Unfillable("minLength is out of all proportion")
        if isinstance(schema.get("pattern"), str):
            return self.schemas.pattern(schema["pattern"]).sample(self.schemas.steps, shortest)
        text = EXAMPLES.get(str(schema.get("format")), "").ljust(shortest, "x")
        if len(text) > bound(schema, "maxLength", len(text)):
            raise Unfillable("no text is short and long enough")
        return text


def _number(schema: Mapping[str, Any], *, whole: bool) -> int | float:
    """The number nearest to 0 within the bounds."""
    step = schema.get("multipleOf")
    step = step if is_number(step) and step > 0 else None
    low = max(bound(schema, "minimum", -float("inf")), bound(schema, "exclusiveMinimum", -float("inf")))
    high = min(bound(schema, "maximum", float("inf")), bound(schema, "exclusiveMaximum", float("inf")))
    near: int | float = min(max(0, low), high)
    unit = step or (1 if whole else 0.5)
    around = (near, *((near // unit + shift) * unit for shift in (0, 1, -1, 2)), (low + high) / 2)
    for number in around:
        value: int | float = int(number) if abs(number) < float("inf") and number == int(number) else number
        if (not whole or isinstance(value, int)) and low <= value <= high and number_fits(schema, value):
            return value
    raise Unfillable("no number is within the bounds")
