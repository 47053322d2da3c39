from __future__ import annotations

import attrs
import pytest
import trio

from agentwire.protocol.limits import Limits
from agentwire.protocol.transcript import Node
from agentwire.runtime.contracts import Store, Stored
from agentwire.stores import MemoryStore
from tests.stores.kit import chain
from tests.stores.kit import stored as stored_node


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


async def test_what_is_hidden_counts_until_nothing_continues_it() -> None:
    """A dropped response whose conversation goes on cannot be had, but it is still there."""
    store = MemoryStore()
    nodes = chain(4)
    await store.put("a", attrs.evolve(stored_node(nodes[0], size=1_000), response=bytes(300)))
    await store.put("a", stored_node(nodes[2], size=50))
    weight = store.statistics().bytes - 1_050
    assert 100 < weight < 500, "the one in between, which nobody has put, is weighed"
    assert await store.delete("a", "resp_0")
    assert (store.statistics().responses, store.statistics().hidden) == (1, 2)
    assert store.statistics().bytes == 700 + weight + 50
    await store.put("a", stored_node(nodes[1], size=60))
    assert store.statistics().bytes == 700 + 60 + 50
    assert await store.delete("a", "resp_2")
    assert await store.delete("a", "resp_1")
    assert store.statistics() == MemoryStore().statistics()


async def test_a_conversation_that_alone_is_too_large_is_dropped_whole() -> None:
    store = MemoryStore(Limits(stored_bytes=1_500))
    kept = []
    for node in chain(20):
        await store.put("a", stored_node(node, size=300))
        assert store.statistics().bytes <= 1_500
        kept.append(await store.get("a", node.response_id) is not None)
    assert kept[:5] == [True] * 5
    assert not kept[-1]
    assert (store.statistics().responses, store.statistics().hidden, store.statistics().bytes) == (0, 0, 0)


async def test_the_first_events_of_the_oldest_go_first() -> None:
    store = MemoryStore(Limits(stored_event_bytes=100))
    for name in ("r1", "r2"):
        await store.put("a", stored(name))
        await store.append_events("a", name, 0, [bytes(20), bytes(20)])
    assert store.statistics().event_bytes == 80
    await store.append_events("a", "r2", 2, [bytes(25), bytes(26)])
    assert store.statistics().event_bytes == 91
    with pytest.raises(LookupError, match="before 2"):
        await store.read_events("a", "r1", -1, 1_000)
    with pytest.raises(LookupError):
        await store.read_events("a", "r1", 0, 1_000)
    assert await store.read_events("a", "r1", 1, 1_000) == []
    await store.append_events("a", "r1", 2, [bytes(30)])
    with pytest.raises(LookupError, match="before 3"):  # its own first ones go, as it is the oldest
        await store.read_events("a", "r1", 1, 1_000)
    assert len(await store.read_events("a", "r2", -1, 1_000)) == 4
    assert await store.delete("a", "r2")
    assert store.statistics().event_bytes == 0


async def test_cancelled_it_does_nothing() -> None:
    store = MemoryStore()
    with trio.CancelScope() as scope:
        scope.cancel(reason="before")
        await store.put("a", stored("resp_1"))
    assert scope.cancelled_caught
    assert store.statistics().responses == 0


@pytest.mark.parametrize("name", ["responses", "hidden", "bytes", "event_bytes", "dropped"])
def test_statistics_begin_at_nothing(name: str) -> None:
    assert getattr(MemoryStore().statistics(), name) == 0
