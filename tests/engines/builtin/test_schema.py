"""What fits a schema, and the plainest value that does: by example; by property in test_properties."""

from __future__ import annotations

from typing import Any

import pytest

from agentwire.engines.builtin.filling import fill
from agentwire.engines.builtin.schema import Schemas, Unfillable, types_of
from tests.engines.kit import problems

NEXT = {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}
NODE = {
    "$defs": {"node": {"type": "object", "properties": {"next": NEXT}, "required": ["next"]}},
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (True, ""),
        ({}, ""),
        ({"type": "string"}, ""),
        ({"type": ["string", "null"]}, None),
        ({"type": ["integer", "string"]}, 0),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "integer", "exclusiveMinimum": 3, "multipleOf": 5}, 5),
        ({"type": "number", "maximum": -1}, -1),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5}, 0.25),
        ({"minimum": 2}, 2),
        ({"type": "boolean"}, False),
        ({"type": "null"}, None),
        ({"enum": ["b", "a"]}, "b"),
        ({"enum": ["b", "a"], "default": "a"}, "a"),
        ({"const": {"a": 1}}, {"a": 1}),
        ({"type": "integer", "default": "no"}, 0),
        ({"type": "string", "default": "here"}, "here"),
        ({"type": "string", "format": "date"}, "2000-01-01"),
        ({"type": "string", "minLength": 3}, "xxx"),
        ({"pattern": "^[a-c]{2}$"}, "aa"),
        ({"type": "array"}, []),
        ({"type": "array", "minItems": 2, "items": {"type": "integer"}}, [0, 0]),
        ({"prefixItems": [{"type": "string"}, {"const": 3}], "minItems": 3, "items": {"type": "null"}}, ["", 3, None]),
        ({"properties": {"a": {"type": "string"}}}, {}),
        ({"required": ["a"]}, {"a": ""}),
        ({"required": ["a"], "additionalProperties": {"type": "integer"}}, {"a": 0}),
        ({"type": "object", "minProperties": 1, "properties": {"a": {"type": "null"}}}, {"a": None}),
        ({"type": "object", "minProperties": 1}, {"member_0": ""}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None),
        ({"anyOf": [{"const": 0}]}, 0),
        ({"anyOf": [False, {"type": "integer"}]}, 0),
        ({"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 0.5}]}, 0),
        ({"allOf": [{"type": "integer", "minimum": 2}, {"minimum": 5, "maximum": 9}, {"maximum": 7}]}, 5),
        ({"allOf": [{"properties": {"a": {"type": "null"}}, "required": ["a"]},
                    {"properties": {"b": {"type": "null"}}, "required": ["b"]}]}, {"b": None, "a": None}),
        (NODE, {"next": None}),
        ({"definitions": {"a/b~c": {"const": 7}}, "$ref": "#/definitions/a~1b~0c"}, 7),
        ({"$defs": {"any": True}, "$ref": "#/$defs/any"}, ""),
    ],
)  # fmt: skip
def test_the_plainest_value(schema: Any, value: Any) -> None:
    assert fill(schema) == value
    assert type(fill(schema)) is type(value)
    assert Schemas(schema).fits(schema, value)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        7,
        {"type": "unheard-of"},
        {"$ref": "#/nowhere"},
        {"$ref": "elsewhere.json"},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"type": "object", "properties": {"again": {"$ref": "#"}}, "required": ["again"]},
        {"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}, "required": ["a", "b"]},
        {"type": "string", "minLength": 10**9},
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "string", "pattern": "(?=a)"},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 4},
        {"type": "object", "required": ["a"], "additionalProperties": False},
        {"anyOf": [{"type": "string", "pattern": "(?=a)"}]},
        {"enum": []},
    ],
)
def test_what_allows_nothing_or_is_too_much_is_said_to_be(schema: Any) -> None:
    with pytest.raises(Unfillable):
        fill(schema)


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        ({"const": 1}, True, False),
        ({"enum": [0]}, False, False),
        ({"type": "integer"}, 2.0, True),
        ({"type": "integer"}, True, False),
        ({"type": "number"}, float("nan"), False),
        ({"multipleOf": 0.1}, 0.3, True),
        ({"multipleOf": 0}, 3, True),
        ({"maxItems": 1}, [1, 2], False),
        ({"maxProperties": 1}, {"a": 1, "b": 2}, False),
        ({"properties": {"a": {"type": "string"}}}, {"a": 1}, False),
        ({"prefixItems": [{"type": "string"}]}, [1], False),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, 3, False),
        ({"pattern": "(?=a)"}, "a", False),
        ({"type": "integer"}, 10**400, True),
        (False, None, False),
    ],
)
def test_fits(schema: Any, value: Any, fits: bool) -> None:
    assert Schemas(schema).fits(schema, value) is fits


def test_chosen_values_stand_where_they_fit() -> None:
    schema = {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "limit": {"type": "integer", "maximum": 5},
            "deep": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"name": {"type": "string"}}}]},
            "unused": {"type": "string"},
            "odd": {"$ref": "#/nowhere"},
        },
        "required": ["path", "deep"],
    }
    chosen = {("path",): "a.py", ("limit",): 9, ("deep", "name"): "Ada", ("odd",): 1}
    assert fill(schema, chosen) == {"path": "a.py", "limit": 0, "deep": {"name": "Ada"}}


def test_a_list_of_alternatives_may_have_alternatives() -> None:
    schema = {"anyOf": [{"anyOf": [{"type": "string", "enum": ["only"]}]}]}
    assert fill(schema) == "only"
    assert problems(schema, "only") == []


@pytest.mark.parametrize(
    ("schema", "names"),
    [({"type": "string"}, ("string",)), ({"type": ["null", 3]}, ("null",)), ({"items": {}}, ("array",)), ({}, ())],
)
def test_types_are_said_or_implied(schema: Any, names: tuple[str, ...]) -> None:
    assert types_of(schema) == names
