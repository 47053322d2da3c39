"""What comes out of a nursery."""

from __future__ import annotations

import pytest
import trio

from agentwire.runtime.groups import open_flat_nursery, parted, single


async def _fail(error: Exception) -> None:
    raise error


async def test_one_exception_of_the_body_comes_out_as_itself() -> None:
    cause = KeyError("why")
    error = ValueError("body")
    with pytest.raises(ValueError, match="body") as caught:  # noqa: PT012
        async with open_flat_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise error from cause
    assert caught.value is error
    assert caught.value.__cause__ is cause


async def test_one_exception_of_a_task_comes_out_as_itself() -> None:
    error = ValueError("task")
    with pytest.raises(ValueError, match="task") as caught:
        async with open_flat_nursery() as nursery:
            nursery.start_soon(_fail, error)
    assert caught.value is error


async def test_several_exceptions_stay_together() -> None:
    with pytest.RaisesGroup(ValueError, KeyError):
        async with open_flat_nursery() as nursery:
            nursery.start_soon(_fail, ValueError("task"))
            raise KeyError("body")


async def test_many_cancelled_are_one_with_its_reason() -> None:
    said: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel(reason="enough")
        try:
            async with open_flat_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(trio.sleep_forever)
                await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            said.append(cancelled)
            raise
    assert said[0].reason == "enough"


def test_nested_groups_of_one_are_opened() -> None:
    error = ValueError("inner")
    assert single(ExceptionGroup("a", [ExceptionGroup("b", [error])])) is error
    pair = ExceptionGroup("pair", [ValueError("1"), ValueError("2")])
    assert single(ExceptionGroup("outer", [pair])) is pair


def test_what_is_of_the_process_passes_and_the_rest_is_a_failure() -> None:
    interrupt, error, other = KeyboardInterrupt(), SystemExit(3), ValueError("one")
    assert parted(interrupt) == (interrupt, None)
    assert parted(error) == (None, error)
    assert parted(ExceptionGroup("a", [other])) == (None, other)
    assert parted(BaseExceptionGroup("b", [interrupt, ExceptionGroup("a", [other])])) == (interrupt, other)
    passing, failure = parted(BaseExceptionGroup("c", [interrupt, GeneratorExit(), error, other]))
    assert isinstance(passing, BaseExceptionGroup)
    assert isinstance(failure, BaseExceptionGroup)
    assert len(passing.exceptions) == len(failure.exceptions) == 2
