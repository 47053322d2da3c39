"""Virtual time costs nothing, and a seed fixes the order of tasks."""

from __future__ import annotations

import random

import pytest
import trio

from agentwire.testing.clock import run, seeded_order, virtual_clock


async def order(count: int) -> list[int]:
    """The order in which tasks that could all run do run, three times over."""
    ran: list[int] = []

    async def task(number: int) -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            ran.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(task, number)
    return ran


async def an_hour() -> float:
    started = trio.current_time()
    await trio.sleep(3600)
    return trio.current_time() - started


def test_an_hour_passes_at_once() -> None:
    assert run(an_hour) == 3600
    assert trio.run(an_hour, clock=virtual_clock()) == 3600


def test_arguments_are_passed() -> None:
    assert sorted(run(order, 1)) == [0, 0, 0]


def test_a_seed_fixes_the_order_of_tasks() -> None:
    runs = [run(order, 6, seed=seed) for seed in (1, 1, 2, 3)]
    assert runs[0] == runs[1]
    assert len({tuple(ran) for ran in runs}) == 3


def test_a_seed_is_gone_afterwards() -> None:
    scheduler = trio._core._run
    before = scheduler._r.getstate(), scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    with seeded_order(5):
        assert scheduler._r.getstate() != before[0]
    assert (scheduler._r.getstate(), scheduler._ALLOW_DETERMINISTIC_SCHEDULING) == before


def test_another_scheduler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio._core._run, "_r", random)
    with pytest.raises(RuntimeError, match="cannot be seeded with Trio"), seeded_order(1):
        pass
