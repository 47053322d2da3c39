"""A table of a TOML file, read strictly: each name once and known, each value of its type, and what it names there.

The file's names have dashes where ours have underscores; both are understood. What may be a secret is in no error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import msgspec

from agentwire.cli.failures import UserError, misfit, no_such

__all__ = ["convert", "underscored", "variable"]


def convert(table: Mapping[str, Any], kind: type[Any], where: str) -> Any:
    """A table as an object of this class, whose names have underscores where the file's have dashes.

    Raises:
        UserError: a name is not there or is there twice, or a value is of another type.
    """
    named = underscored(table, where, [field.name for field in attrs.fields(kind)])
    try:
        return msgspec.convert(named, kind)
    except msgspec.ValidationError as error:
        raise misfit(where, error, kind) from error


def underscored(table: Mapping[str, Any], where: str, known: Iterable[str]) -> dict[str, Any]:
    """A table by the names that it has here.

    Raises:
        UserError: one is not among the known ones, or is there with a dash and with an underscore.
    """
    named: dict[str, Any] = {}
    listed = list(known)
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in listed:
            raise UserError(f"{where}: {no_such('', key, [each.replace('_', '-') for each in listed])}")
        if name in named:
            raise UserError(f"{where}: {name.replace('_', '-')} and {name} are the same, and both are there")
        named[name] = value
    return named


def variable(name: str, where: str) -> str:
    """The value of a variable of the environment.

    Raises:
        UserError: it is not set, or empty; a name that can hardly be one is not repeated, as it may be the secret.
    """
    value = os.environ.get(name, "")
    if value.strip():
        return value
    if name.isidentifier():
        raise UserError(f"{where}: the environment has no {name}")
    raise UserError(f"{where}: it must be the name of a variable that is set, not the secret itself")
