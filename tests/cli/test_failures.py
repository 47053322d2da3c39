"""What a person reads of a name that is not there, and of a value of another kind."""

from __future__ import annotations

from typing import Any, Literal

import attrs
import msgspec
import pytest

from agentwire.cli.failures import misfit, no_such


@attrs.frozen
class Table:
    a_name: str
    first_port: int | None = None
    many: tuple[str, ...] = ()
    either: str | dict[str, str] | None = None
    way: Literal["up", "down"] | None = None


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "f: there is no a-name, and it needs one"),
        ({"a_name": "x", "first_port": "1"}, "f.first-port: it must be a whole number, not a text"),
        ({"a_name": "x", "many": ["a", True]}, "f.many[1]: it must be a text, not true or false"),
        ({"a_name": "x", "either": 1.5}, "f.either: it must be a text or a table, not a number"),
        ({"a_name": ["x"]}, "f.a-name: it must be a text, not a list"),
        ({"a_name": "x", "way": "left"}, "f.way: it must be one of up, down, not 'left'"),
    ],
)
def test_a_value_of_another_kind(table: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(table, Table)
    assert str(misfit("f", caught.value, Table)) == said


def test_without_a_table_the_place_is_the_name_alone() -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"a_name": 3}, Table)
    assert str(misfit("", caught.value, Table)) == "a-name: it must be a text, not a whole number"


def test_a_name_that_is_not_there() -> None:
    assert no_such("option", "prot", ["port", "host"]) == (
        "there is no option 'prot' (did you mean 'port'?); there are host, port"
    )
    assert no_such("", "zzz", ["port"]) == "there is no 'zzz'; there are port"
