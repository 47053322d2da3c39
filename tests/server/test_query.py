from __future__ import annotations

import pytest

from agentwire.protocol.errors import RequestError
from agentwire.server.query import read_choice, read_flag, read_number
from agentwire.transport.requests import Fields


def test_what_is_read() -> None:
    query = Fields([("stream", "true"), ("order", "asc"), ("limit", "7"), ("other", "x")])
    assert read_flag(query, "stream")
    assert not read_flag(query, "missing")
    assert read_choice(query, "order", "desc", "asc") == "asc"
    assert read_choice(query, "missing", "desc", "asc") == "desc"
    assert read_number(query, "limit", least=1, most=7) == 7
    assert read_number(query, "missing", least=0) is None


@pytest.mark.parametrize("value", ["", "x", "-1", "0", "8", "1.5", "²", "1_0", "9" * 5000])
def test_a_number_that_is_none(value: str) -> None:
    with pytest.raises(RequestError, match="limit") as caught:
        read_number(Fields([("limit", value)]), "limit", least=1, most=7)
    assert (caught.value.status, caught.value.param) == (400, "limit")


def test_a_number_without_an_upper_bound() -> None:
    with pytest.raises(RequestError, match="0 or more"):
        read_number(Fields([("n", "-1")]), "n", least=0)


@pytest.mark.parametrize("value", ["", "TRUE", "1"])
def test_a_flag_that_is_none(value: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_flag(Fields([("stream", value)]), "stream")
    assert (caught.value.status, caught.value.param) == (400, "stream")
