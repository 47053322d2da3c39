"""Hypothesis strategies: strict schemas that allow something, messages of all kinds, tools, choices."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.engines.kit import ADD, LIST, READ, SEARCH, WEATHER, Json

_NAMES = (
    "path query pattern limit count city name url date command text answer recursive unit a b id items paths options"
)
_WORDS = (
    'read list search each file files it that `a.py` `src` "TODO" 3 seven in for then finally and , . ; first Paris '
    "get_weather add_numbers not https://x.y/z 2026-01-02 all them step 1 parallel the celsius"
)
_TOOL_NAMES = "lookup_order make_report set_mode transform probe"
_KEYWORDS = (
    "type properties required items enum const anyOf oneOf allOf $ref minimum maximum minLength pattern format "
    "additionalProperties minItems prefixItems default multipleOf a b"
)
NAMES = st.sampled_from(_NAMES.split())
PATTERNS = st.sampled_from(
    [
        r"^\d{4}-\d{2}-\d{2}$",
        r"^[a-z][a-z0-9_]{2,8}$",
        r"^(foo|bar)+$",
        r"\.py$",
        r"^[A-Z]{2,3}-\d+$",
        r"^https?://\S+$",
    ]
)


def messages() -> st.SearchStrategy[str]:
    """Messages: words that mean something here, lists of them, and any text at all."""
    sentence = st.lists(st.sampled_from(_WORDS.split()), max_size=14).map(" ".join)
    numbered = st.lists(sentence, max_size=6).map(
        lambda lines: "\n".join(f"{n}. {one}" for n, one in enumerate(lines, 1))
    )
    return st.one_of(sentence, numbered, st.text(max_size=80), st.tuples(sentence, numbered, sentence).map("\n".join))


def scalars() -> st.SearchStrategy[Json]:
    """Schemas of strings, numbers, booleans, null, enums and constants."""
    bounds = st.tuples(st.integers(-50, 50), st.integers(0, 40))
    formats = st.sampled_from(["date", "date-time", "email", "uuid", "uri"])
    options = st.lists(st.sampled_from(["red", "green", "celsius", "asc"]), min_size=1, unique=True)
    return st.one_of(
        st.sampled_from([{"type": "string"}, {"type": "boolean"}, {"type": "null"}]),
        formats.map(lambda name: {"type": "string", "format": name}),
        PATTERNS.map(lambda source: {"type": "string", "pattern": source}),
        st.tuples(st.integers(0, 9), st.integers(0, 9)).map(
            lambda pair: {"type": "string", "minLength": pair[0], "maxLength": pair[0] + pair[1]}
        ),
        bounds.map(lambda pair: {"type": "integer", "minimum": pair[0], "maximum": sum(pair)}),
        bounds.map(lambda pair: {"type": "number", "exclusiveMinimum": pair[0], "exclusiveMaximum": sum(pair) + 1}),
        st.integers(1, 30).map(lambda unit: {"type": "integer", "minimum": 7, "multipleOf": unit}),
        options.map(lambda listed: {"type": "string", "enum": listed}),
        st.one_of(st.integers(), st.text(max_size=5), st.booleans()).map(lambda value: {"const": value}),
    )


def _nullable(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def objects(members: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """Strict object schemas: everything required, nothing else allowed."""
    return st.dictionaries(NAMES, members, max_size=5).map(
        lambda properties: {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    )


def _arrays(entries: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return st.tuples(entries, st.integers(0, 3)).map(
        lambda pair: {"type": "array", "items": pair[0], "minItems": pair[1], "maxItems": pair[1] + 2}
    )


def schemas() -> st.SearchStrategy[Json]:
    """Any strict schema that allows something."""
    return st.recursive(
        st.one_of(scalars(), scalars().map(_nullable)),
        lambda inner: st.one_of(
            objects(inner),
            inner.map(_nullable),
            _arrays(inner),
            st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        ),
        max_leaves=8,
    )


def strict_tools() -> st.SearchStrategy[Json]:
    """Function tools with strict schemas."""
    return st.tuples(st.sampled_from(_TOOL_NAMES.split()), objects(schemas())).map(
        lambda pair: {
            "type": "function",
            "name": pair[0],
            "parameters": pair[1],
            "strict": True,
            "description": "Do it.",
        }
    )


def known_tools() -> st.SearchStrategy[Json]:
    """Tools of all kinds."""
    namespace = {"type": "namespace", "name": "files", "description": "files", "tools": [{**READ, "name": "peek"}]}
    custom = {"type": "custom", "name": "note", "description": "Take a note."}
    return st.sampled_from(
        [LIST, READ, SEARCH, WEATHER, ADD, namespace, custom, {"type": "web_search"}, {"type": "shell"}]
    )


def nonsense() -> st.SearchStrategy[Json]:
    """Objects that use the words of JSON schemas for anything."""
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 9),
        st.floats(allow_nan=False),
        st.text(max_size=6),
        st.sampled_from(["string", "object", "array", "#/properties/a", "#", "^a+$", "(?=x)", "null"]),
    )
    values = st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(_KEYWORDS.split()), inner, max_size=5)
        ),
        max_leaves=15,
    )
    return st.dictionaries(st.sampled_from(["type", "properties", "required", "anyOf", "$ref", "a"]), values)
