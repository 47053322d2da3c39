"""Ids, time and randomness."""

from __future__ import annotations

import re
import time

from agentwire.protocol.ids import Sources


def test_an_id_has_its_prefix_and_24_digits() -> None:
    assert re.fullmatch(r"resp_[0-9a-f]{24}", Sources.system().new_id("resp"))


def test_the_systems_ids_are_all_different() -> None:
    sources = Sources.system()
    assert len({sources.new_id("msg") for _ in range(1000)}) == 1000


def test_a_seed_replays_the_same_ids() -> None:
    first, second, other = Sources.seeded(1), Sources.seeded(1), Sources.seeded(2)
    ids = [first.new_id("fc") for _ in range(5)]
    assert [second.new_id("fc") for _ in range(5)] == ids
    assert other.new_id("fc") not in ids


def test_the_clock_is_the_one_that_was_given() -> None:
    assert Sources.seeded(1, 12.9).timestamp() == 12
    times = iter([1.0, 2.5])
    clocked = Sources.seeded(1, lambda: next(times))
    assert (clocked.timestamp(), clocked.timestamp()) == (1, 2)


def test_a_seeded_clock_stands_still() -> None:
    sources = Sources.seeded(7)
    assert sources.now() == sources.now()


def test_the_systems_clock_is_the_wall_clock() -> None:
    assert Sources.system().now is time.time
