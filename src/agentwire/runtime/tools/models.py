"""Classes that bring a JSON schema of their own, such as pydantic's models, known by their methods alone.

A tool may take and return them; nothing of pydantic is imported here.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["dump", "read", "schema_of"]

Json = dict[str, Any]


def schema_of(cls: Any, definitions: Json) -> Json:
    """The JSON schema of such a class.

    Args:
        cls: the class.
        definitions: gets what the schema refers to, as ``#/$defs/NAME``.

    Raises:
        NotImplementedError: it is no such class.
    """
    describe = getattr(cls, "model_json_schema", None)
    if not isinstance(cls, type) or describe is None:
        raise NotImplementedError
    schema: Json = describe(ref_template="#/$defs/{model}")
    definitions |= schema.pop("$defs", {})
    return schema


def read(cls: Any, value: Any) -> Any:
    """An instance of such a class.

    Args:
        cls: the class.
        value: what JSON says of it.

    Raises:
        ValueError: the value does not fit; the text says where.
    """
    return cls.model_validate(value)


def dump(value: Any) -> Any:
    """The value; an instance of such a class, also in a list or a dict, as what JSON says of it."""
    write = getattr(value, "model_dump_json", None)
    if write is not None and not isinstance(value, type):
        return msgspec.json.decode(write())
    if isinstance(value, list | tuple):
        return [dump(inner) for inner in value]
    return {key: dump(inner) for key, inner in value.items()} if isinstance(value, dict) else value
