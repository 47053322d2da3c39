"""Readers of single kinds: what strict and tolerant ones make of the same value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from agentwire.protocol.checks import Misfit
from agentwire.protocol.items import Item, Message
from agentwire.protocol.reading import request_reader, served_reader


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (str, "x"),
        (bool, False),
        (int, 3),
        (float, 0.5),
        (tuple[int, ...], (1, 2)),
        (tuple[Any, ...], (1, "x", None)),
        (Mapping[str, Any], {"a": 1}),
        (Item, Message("user", "x")),
    ],
)
def test_what_fits_is_read(kind: Any, value: Any) -> None:
    given = {"role": "user", "content": "x"} if kind == Item else value
    assert request_reader(kind)(given) == served_reader(kind)(given) == value


@pytest.mark.parametrize(
    ("kind", "value", "place"),
    [
        (str, 1, ""),
        (bool, 1, ""),
        (int, True, ""),
        (int, 1.5, ""),
        (float, "1", ""),
        (float, 10**400, ""),
        (tuple[int, ...], [1, "x"], "[1]"),
        (Mapping[str, Any], [], ""),
        (Item, {"type": "message", "content": "x"}, "role"),
    ],
)
def test_what_does_not_fit_is_told_by_both(kind: Any, value: Any, place: str) -> None:
    for reader in (request_reader(kind), served_reader(kind)):
        with pytest.raises(Misfit) as caught:
            reader(value)
        assert caught.value.param == place


def test_only_servers_may_write_whole_numbers_as_floats() -> None:
    assert served_reader(int)(3.0) == 3
    with pytest.raises(Misfit):
        request_reader(int)(3.0)


def test_only_requests_are_checked() -> None:
    odd = {"type": "message", "role": "critic", "content": "x"}
    assert served_reader(Item)(odd).role == "critic"
    with pytest.raises(Misfit):
        request_reader(Item)(odd)
