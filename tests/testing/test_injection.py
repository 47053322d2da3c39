"""Every checkpoint of a function is cancelled once, and what does not end as it should is told with its line."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio

import agentwire
from agentwire.client import Client
from agentwire.engines.script import Call, Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.testing import Leaked, Network, NotSurvived, Rig, cancel_everywhere
from agentwire.testing.injection import CHECKPOINT, NotCancelled

WRITER = scripted([Turn(Text("Well."), Call("send_mail", {"to": "Ada"})), Turn(Text("done"))])


@pytest.fixture(autouse=True)
def no_checkpoint_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CHECKPOINT, raising=False)


def not_survived(function: Callable[..., Awaitable[object]], **how: Any) -> NotSurvived:
    with pytest.raises(NotSurvived) as caught:
        cancel_everywhere(function, **how)
    return caught.value


def test_each_checkpoint_is_cancelled_once() -> None:
    ends: list[int] = []

    async def three() -> None:
        ends.append(0)
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            ends[-1] += 1

    assert cancel_everywhere(three) == 3
    assert ends == [3, 0, 1, 2]


def test_the_checkpoints_of_its_tasks_count() -> None:
    ends: list[str] = []

    async def child(name: str) -> None:
        try:
            await trio.sleep(1)
            ends.append(name)
        except trio.Cancelled:
            ends.append(f"not {name}")
            raise

    async def parent() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, "one")
            nursery.start_soon(child, "other")

    assert cancel_everywhere(parent) == 3  # the parent's, and those of both children
    assert "not one" in ends


def test_what_is_outside_goes_on() -> None:
    async def look(rig: Rig, wire: Client) -> None:
        await wire.respond("hi")

    async def check(wire: Client) -> None:
        await wire.respond("still there")

    assert cancel_everywhere(look, check=check) > 3


def test_a_run_can_be_cancelled_anywhere() -> None:
    held: set[str] = set()

    async def send_mail(to: str) -> str:
        held.add(to)
        try:
            await trio.sleep(1)
        finally:
            held.remove(to)
        return "sent"

    async def write(rig: Rig) -> None:
        async with rig.connect() as wire, wire.run("Write to Ada.", tools=[send_mail]) as run:
            await run.finish()

    def nothing_is_held(rig: Rig) -> None:
        assert not held

    assert cancel_everywhere(write, check=nothing_is_held, engine=WRITER) > 50


def test_a_cleanup_that_is_not_shielded_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "test_lock.py::test_lock (call)")
    open_now: list[str] = []

    async def use() -> None:
        open_now.append("door")
        try:
            await trio.sleep(1)
        finally:
            await trio.sleep(1)  # noqa: ASYNC102 - the bug
            open_now.remove("door")

    def closed() -> None:
        left, open_now[:] = list(open_now), []
        assert left == []

    error = not_survived(use, check=closed)
    assert isinstance(error.error, AssertionError)
    assert len(error.plans) == 2  # in the try block and in the cleanup
    text = str(error)
    assert "use does not survive being cancelled at checkpoint 0, test_injection.py:" in text
    assert text.endswith(f"{CHECKPOINT}='0' pytest 'test_lock.py::test_lock'")

    monkeypatch.setenv(CHECKPOINT, "1")
    assert "checkpoint 1" in str(not_survived(use, check=closed))
    monkeypatch.setenv(CHECKPOINT, "2")
    with pytest.raises(LookupError, match="0 to 1"):
        cancel_everywhere(use)


def test_a_shielded_one_is_not() -> None:
    closed: list[bool] = []

    async def use() -> None:
        closed.append(False)
        try:
            await trio.sleep(1)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            closed[-1] = True

    def check() -> None:
        assert closed[-1]

    assert cancel_everywhere(use, check=check) == 2


def test_a_deadline_in_a_shield_is_not_the_cancellation() -> None:
    async def use() -> None:
        with trio.move_on_after(1, shield=True):
            await trio.sleep(5)

    assert cancel_everywhere(use) == 1


def test_a_swallowed_cancellation_is_found() -> None:
    async def stubborn() -> None:
        with suppress(trio.Cancelled):  # the bug
            await trio.sleep(1)

    error = not_survived(stubborn).error
    assert isinstance(error, NotCancelled)
    assert "swallowed" in str(error)


def test_one_that_takes_too_long_to_end_is_found() -> None:
    async def slow() -> None:
        try:
            await trio.sleep(1)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(100)

    assert "100 s to end, and it may take 60" in str(not_survived(slow).error)
    cancel_everywhere(slow, within=200)


def test_another_exception_in_its_place_is_found_unless_it_is_allowed() -> None:
    async def converts() -> None:
        try:
            await trio.sleep(1)
        except trio.Cancelled:
            raise LookupError from None

    assert isinstance(not_survived(converts).error, LookupError)
    cancel_everywhere(converts, allow=(LookupError,))


def test_what_is_left_behind_is_found() -> None:
    kept: list[Any] = []

    async def leaves(network: Network) -> None:
        pair = network.pair()
        kept.extend(pair)
        await trio.sleep(1)
        for stream in pair:
            stream.reset()

    assert isinstance(not_survived(leaves).error, Leaked)
    assert len(kept) == 4


def test_the_story_says_when_it_was_cancelled() -> None:
    async def write(rig: Rig) -> None:
        async with rig.connect() as wire:
            await wire.respond("hi")

    def check(rig: Rig) -> None:
        assert not any(entry.type.startswith("cancelled at") for entry in rig.journal.entries)

    text = str(not_survived(write, check=check))
    assert re.search(r"local +cancelled at test_injection.py:\d+ in .*write", text)


def test_what_fails_by_itself_is_that_failure_alone() -> None:
    async def fails() -> None:
        await trio.sleep(1)
        raise LookupError

    with pytest.raises(LookupError):
        cancel_everywhere(fails)


def test_checkpoints_are_drawn_by_the_seed() -> None:
    seen: list[list[int]] = []

    async def many(place: list[int]) -> None:
        place.append(0)
        for _ in range(40):
            await trio.lowlevel.checkpoint()
            place[-1] += 1

    for seed in (1, 1, 2):
        seen.append([])
        assert cancel_everywhere(partial(many, seen[-1]), limit=5, seed=seed) == 5
    assert seen[0] == seen[1] != seen[2]


def test_the_policy_and_the_options_are_those_of_survives() -> None:
    async def look(rig: Rig) -> None:
        assert isinstance(rig.policy, agentwire.Cancel)
        async with rig.connect(key="secret"):
            pass

    assert cancel_everywhere(look, policy=agentwire.Cancel(), keys=["secret"], limit=4) == 4
