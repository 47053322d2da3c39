"""The cache of conversations, row by row."""

from __future__ import annotations

from agentwire.protocol.transcript import Node
from agentwire.stores.sqlite.nodes import NodeCache
from tests.stores.kit import chain


def fill(cache: NodeCache, nodes: list[Node], first: int, parent: int | None = None) -> None:
    for key, node in enumerate(nodes, first):
        cache.add(key, parent, 1, node, 10)
        parent = key


def keys(cache: NodeCache) -> list[int]:
    return [key for key in range(100) if cache.find(key, 1) is not None]


def test_the_one_used_longest_ago_goes_from_its_end_backwards() -> None:
    cache = NodeCache(60)
    fill(cache, chain(3), 0)
    fill(cache, chain(3), 10)
    assert keys(cache) == [0, 1, 2, 10, 11, 12]
    cache.touch(2)
    fill(cache, chain(2), 20)
    assert keys(cache) == [0, 1, 2, 10, 20, 21]
    assert cache.bytes == 60


def test_what_is_continued_stays_as_long_as_what_continues_it() -> None:
    cache = NodeCache(50)
    trunk = chain(3)
    fill(cache, trunk, 0)
    forks = [trunk[2].extend(f"fork{number}", (), ()) for number in range(5)]
    for number, fork in enumerate(forks):
        fill(cache, [fork], 10 + number, 2)
        assert keys(cache)[:3] == [0, 1, 2]
        assert cache.bytes <= 50
    assert keys(cache) == [0, 1, 2, 13, 14]


def test_a_node_whose_parent_is_not_here_is_not_kept() -> None:
    cache = NodeCache(100)
    nodes = chain(3)
    cache.add(2, 1, 1, nodes[2], 10)
    assert keys(cache) == []
    fill(cache, chain(2), 0)
    cache.add(2, 1, 1, nodes[2], 10)
    assert keys(cache) == [0, 1], "the one that is here is another object, and would be counted twice"


def test_one_that_alone_is_too_large_is_not_kept() -> None:
    cache = NodeCache(100)
    cache.add(0, None, 1, chain(1)[0], 101)
    assert (keys(cache), cache.bytes, len(cache)) == ([], 0, 0)


def test_a_newer_version_takes_the_place_of_the_older_one() -> None:
    cache = NodeCache(100)
    old, new = chain(1)[0], chain(1)[0]
    cache.add(0, None, 1, old, 10)
    cache.add(0, None, 2, new, 30)
    assert cache.find(0, 1) is None
    assert cache.find(0, 2) is new
    assert cache.bytes == 30
    child = new.extend("x", (), ())
    cache.add(1, 0, 1, child, 10)
    cache.add(1, None, 2, new, 10)
    assert cache.find(1, 1) is child, "a row does not change its parent"
