from __future__ import annotations

import pytest
import trio

from agentwire.protocol.limits import Limits
from agentwire.protocol.transcript import Node
from agentwire.runtime.contracts import Store, Stored
from agentwire.stores import MemoryStore


def stored(response_id: str, size: int = 10) -> Stored:
    return Stored(node=Node.root(response_id, (), ()), response=b"{}", size=size)


async def test_what_is_put_can_be_had_by_its_owner_alone() -> None:
    store: Store = MemoryStore()
    one = stored("resp_1")
    await store.put("a", one)
    assert await store.get("a", "resp_1") is one
    assert await store.get("b", "resp_1") is None
    assert await store.get("a", "resp_2") is None
    assert not await store.delete("b", "resp_1")
    assert await store.delete("a", "resp_1")
    assert not await store.delete("a", "resp_1")
    assert await store.get("a", "resp_1") is None


async def test_the_same_id_of_two_principals_is_two_responses() -> None:
    store = MemoryStore()
    one, two = stored("resp_1"), stored("resp_1")
    await store.put("a", one)
    await store.put("b", two)
    assert await store.get("a", "resp_1") is one
    assert await store.get("b", "resp_1") is two


async def test_putting_again_replaces() -> None:
    store = MemoryStore()
    await store.put("a", stored("resp_1", 10))
    newer = stored("resp_1", 30)
    await store.put("a", newer)
    assert await store.get("a", "resp_1") is newer
    assert (store.statistics().responses, store.statistics().bytes) == (1, 30)


async def test_the_oldest_go_first_by_number() -> None:
    store = MemoryStore(Limits(stored_responses=2))
    for number in range(4):
        await store.put("a", stored(f"resp_{number}"))
    assert [await store.get("a", f"resp_{number}") is not None for number in range(4)] == [False, False, True, True]
    assert store.statistics().dropped == 2


async def test_the_oldest_go_first_by_size() -> None:
    """What a request brought counts as well as what was answered."""
    store = MemoryStore(Limits(stored_bytes=100))
    for number, size in enumerate((50, 40, 30, 60)):
        await store.put("a", stored(f"resp_{number}", size))
    assert [await store.get("a", f"resp_{number}") is not None for number in range(4)] == [False, False, True, True]
    assert store.statistics().bytes == 90


async def test_one_larger_than_the_store_is_not_kept() -> None:
    store = MemoryStore(Limits(stored_bytes=100))
    await store.put("a", stored("resp_1", 101))
    assert await store.get("a", "resp_1") is None
    assert store.statistics().bytes == 0


async def test_cancelled_it_does_nothing() -> None:
    store = MemoryStore()
    with trio.CancelScope() as scope:
        scope.cancel(reason="before")
        await store.put("a", stored("resp_1"))
    assert scope.cancelled_caught
    assert store.statistics().responses == 0


@pytest.mark.parametrize("name", ["responses", "bytes", "dropped"])
def test_statistics_begin_at_nothing(name: str) -> None:
    assert getattr(MemoryStore().statistics(), name) == 0
