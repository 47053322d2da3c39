"""Every bound is a positive number."""

from __future__ import annotations

import math

import attrs
import pytest

from agentwire.protocol.limits import Limits

NAMES = [field.name for field in attrs.fields(Limits)]


@pytest.mark.parametrize("name", NAMES)
def test_no_bound_can_be_negative(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: -1})


def test_a_bound_of_nothing_is_refused_and_names_itself() -> None:
    with pytest.raises(ValueError, match=r"Limits.message_bytes must be greater than 0, not 0"):
        Limits(message_bytes=0)


def test_a_server_may_drop_everything_when_it_shuts_down() -> None:
    assert Limits(drain=0).drain == 0


def test_times_may_be_unbounded() -> None:
    assert math.isinf(Limits(connection_age=math.inf).connection_age)


def test_limits_cannot_be_changed_but_derived() -> None:
    limits = Limits()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        limits.lanes = 3  # type: ignore[misc]
    assert attrs.evolve(limits, lanes=3).lanes == 3
