"""What every store must do, whatever it is made of."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest
import trio

from agentwire.protocol.codec import decode_item, encode_item
from agentwire.protocol.items import Item
from agentwire.protocol.limits import Limits
from agentwire.protocol.transcript import Node, check_pairing
from agentwire.runtime.contracts import Store
from agentwire.stores import MemoryStore, open_sqlite_store
from tests.stores.kit import answer, call, chain, output, same, say, stored, whole

EVENTS = [b'{"type":"response.created","sequence_number":%d}' % number for number in range(6)]


@pytest.fixture(params=["memory", "sqlite", "sqlite without a cache"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Store]:
    if request.param == "memory":
        yield MemoryStore()
    else:
        limits = Limits(store_cache_bytes=1 if "without" in request.param else 1_000_000)
        async with open_sqlite_store(tmp_path / "store.db", limits=limits) as opened:
            yield opened


async def found(store: Store, response_id: str, principal: str = "a") -> Node:
    kept = await store.get(principal, response_id)
    assert kept is not None
    return kept.node


# Responses


async def test_what_is_put_can_be_had(store: Store) -> None:
    one = stored(chain(1)[0], size=321)
    await store.put("a", one)
    kept = await store.get("a", "resp_0")
    assert kept is not None
    assert same(kept.node, one.node)
    assert json.loads(kept.response) == json.loads(one.response)
    assert (kept.size, kept.status, kept.background) == (321, "completed", False)
    assert await store.get("a", "resp_1") is None
    assert store.retains


async def test_another_principal_finds_nothing(store: Store) -> None:
    await store.put("a", stored(chain(1)[0], background=True))
    await store.append_events("a", "resp_0", 0, EVENTS)
    assert await store.get("b", "resp_0") is None
    assert await store.find_item("b", "msg_resp_0") is None
    assert not await store.delete("b", "resp_0")
    with pytest.raises(LookupError):
        await store.read_events("b", "resp_0", -1, 1_000)
    with pytest.raises(LookupError):
        await store.append_events("b", "resp_0", 6, EVENTS)
    assert await store.read_events("a", "resp_0", -1, 1_000) == EVENTS


async def test_the_same_ids_of_two_principals_are_two_conversations(store: Store) -> None:
    ours, theirs = chain(2), [Node.root("resp_0", (say("theirs"),), (answer("other", "msg_resp_0"),))]
    theirs.append(theirs[0].extend("resp_1", (say("more"),), ()))
    for mine, other in zip(ours, theirs, strict=True):
        await store.put("a", stored(mine))
        await store.put("b", stored(other))
    assert same(await found(store, "resp_1", "a"), ours[1])
    assert same(await found(store, "resp_1", "b"), theirs[1])
    assert await store.find_item("b", "msg_resp_0") == answer("other", "msg_resp_0")
    assert await store.delete("b", "resp_0")
    assert await store.delete("b", "resp_1")
    assert same(await found(store, "resp_1", "a"), ours[1])
    assert await store.find_item("b", "msg_resp_0") is None


async def test_a_conversation_comes_back_whole(store: Store) -> None:
    """Item by item, with its calls that wait for an answer, its root and its length."""
    first = Node.root("r0", (say("look"),), (call("call_1"), call("call_2")))
    second = first.extend("r1", (output("call_1"), output("call_2")), (call("call_3"),))
    for node in (first, second):
        await store.put("a", stored(node))
    got_first, got_second = await found(store, "r0"), await found(store, "r1")
    assert same(got_first, first)
    assert same(got_second, second)
    assert set(got_first.unanswered) == {"call_1", "call_2"}
    check_pairing(got_second, [output("call_3")])
    assert same(got_second.extend("r2", (output("call_3"),), ()), second.extend("r2", (output("call_3"),), ()))


async def test_what_is_unknown_comes_back_as_it_was(store: Store) -> None:
    """Types and members that nobody here knows, deep inside, null and all; a lone half of a surrogate pair cannot."""
    raws = [
        {"type": "hologram", "id": "holo_1", "beams": [{"x": None, "y": 1.5}], "call_id": ""},
        {"type": "message", "role": "user", "content": "é漢🙂\u2028\x00", "mood": {"deep": [1, None]}},
        {"type": "message", "role": "user", "content": [{"type": "smell", "of": "roses"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{ }", "caller": {"type": "direct"}},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA", "fresh": True},
    ]
    items = tuple(decode_item(raw) for raw in raws)
    await store.put("a", stored(Node.root("r", items, items[:3])))
    node = await found(store, "r")
    assert [encode_item(item) for item in node.input] == raws
    assert node.output == items[:3]
    assert await store.find_item("a", "holo_1") == items[0]


async def test_putting_again_replaces(store: Store) -> None:
    """A background response is put when it starts, and again when it has ended."""
    started = Node.root("r", (say("go"),), ())
    ended = Node.root("r", (say("go"),), (answer("done", "msg_1"),))
    for status in ("queued", "in_progress"):
        await store.put("a", stored(started, status=status, background=True))
        kept = await store.get("a", "r")
        assert kept is not None
        assert (kept.status, kept.background, kept.node.output) == (status, True, ())
    await store.append_events("a", "r", 0, EVENTS)
    assert await store.find_item("a", "msg_1") is None
    await store.put("a", stored(ended, background=True, size=1_000))
    kept = await store.get("a", "r")
    assert kept is not None
    assert (kept.status, kept.size, json.loads(kept.response)["status"]) == ("completed", 1_000, "completed")
    assert same(kept.node, ended)
    assert await store.find_item("a", "msg_1") == ended.output[0]
    assert await store.read_events("a", "r", -1, 1_000) == EVENTS, "events outlive the record that they began under"


async def test_putting_again_keeps_what_continues_it(store: Store) -> None:
    nodes = chain(3)
    for node in nodes:
        await store.put("a", stored(node))
    await store.put("a", stored(nodes[1], size=7))
    assert same(await found(store, "resp_2"), nodes[2])
    assert await store.delete("a", "resp_1")
    assert await store.delete("a", "resp_2")
    assert same(await found(store, "resp_0"), nodes[0])


# Chains


async def test_forks_share_their_history(store: Store) -> None:
    trunk = chain(3)
    left, right = (trunk[-1].extend(name, (say(name),), (answer(name, f"msg_{name}"),)) for name in ("left", "right"))
    for node in (*trunk, left, right):
        await store.put("a", stored(node))
    one, other = await found(store, "left"), await found(store, "right")
    assert same(one, left)
    assert same(other, right)
    assert one.parent is not None
    assert other.parent is not None
    assert same(one.parent, other.parent)


async def test_what_was_never_put_serves_those_that_continue_it_and_nobody_else(store: Store) -> None:
    """Turns with ``store: false`` before one that is stored."""
    nodes = chain(5)
    await store.put("a", stored(nodes[0]))
    await store.put("a", stored(nodes[3]))
    await store.put("a", stored(nodes[4]))
    assert same(await found(store, "resp_4"), nodes[4])
    for number in (1, 2):
        assert await store.get("a", f"resp_{number}") is None
        assert await store.find_item("a", f"msg_resp_{number}") is None
        assert not await store.delete("a", f"resp_{number}")
        with pytest.raises(LookupError):
            await store.append_events("a", f"resp_{number}", 0, EVENTS)


async def test_what_was_hidden_can_be_put(store: Store) -> None:
    nodes = chain(3)
    await store.put("a", stored(nodes[2]))
    assert await store.get("a", "resp_1") is None
    await store.put("a", stored(nodes[1]))
    assert same(await found(store, "resp_1"), nodes[1])
    assert same(await found(store, "resp_2"), nodes[2])


async def test_a_deleted_response_leaves_its_history_to_those_that_continue_it(store: Store) -> None:
    nodes = chain(4)
    for node in nodes:
        await store.put("a", stored(node))
    for number in (0, 2):
        assert await store.delete("a", f"resp_{number}")
        assert not await store.delete("a", f"resp_{number}")
        assert await store.get("a", f"resp_{number}") is None
        assert await store.find_item("a", f"msg_resp_{number}") is None
    assert same(await found(store, "resp_3"), nodes[3])
    assert same(await found(store, "resp_1"), nodes[1])


async def test_what_nothing_continues_any_more_is_gone(store: Store) -> None:
    """A deleted response does not come back with a new one of the same id."""
    nodes = chain(3)
    for node in nodes:
        await store.put("a", stored(node))
    for node in nodes:
        assert await store.delete("a", node.response_id)
    fresh = Node.root("resp_1", (say("fresh"),), ())
    await store.put("a", stored(fresh))
    assert same(await found(store, "resp_1"), fresh)


async def test_a_continuation_of_a_deleted_response_has_its_history(store: Store) -> None:
    """A lane still has it in memory; what continues it is stored later."""
    nodes = chain(3)
    for node in nodes[:2]:
        await store.put("a", stored(node))
        assert await store.delete("a", node.response_id)
    await store.put("a", stored(nodes[2]))
    assert same(await found(store, "resp_2"), nodes[2])
    assert await store.get("a", "resp_1") is None


async def test_a_conversation_may_be_long(store: Store) -> None:
    nodes = chain(1_500)
    await store.put("a", stored(nodes[-1]))
    assert same(await found(store, "resp_1499"), nodes[-1])


# Items


async def test_an_item_is_found_in_what_was_put_in_and_in_what_came_out(store: Store) -> None:
    given = say("hi", id="msg_given")
    await store.put("a", stored(Node.root("r", (given,), (answer("ho", "msg_made"),))))
    assert await store.find_item("a", "msg_given") == given
    assert await store.find_item("a", "msg_made") == answer("ho", "msg_made")
    assert await store.find_item("a", "msg_other") is None


async def test_the_newest_item_of_an_id_is_found(store: Store) -> None:
    """Clients hand items back, and they may have changed them."""

    def node(name: str, *items: Item) -> Node:
        return Node.root(name, items[:1], items[1:])

    await store.put("a", stored(node("r1", answer("one", "msg"))))
    await store.put("a", stored(node("r2", answer("two", "msg"), answer("three", "msg"))))
    assert await store.find_item("a", "msg") == answer("three", "msg")
    assert await store.delete("a", "r2")
    assert await store.find_item("a", "msg") == answer("one", "msg")
    assert await store.delete("a", "r1")
    assert await store.find_item("a", "msg") is None


# Events


async def test_events_come_back_in_order_after_any_number(store: Store) -> None:
    await store.put("a", stored("r", status="in_progress", background=True))
    assert await store.read_events("a", "r", -1, 1_000) == []
    await store.append_events("a", "r", 0, EVENTS[:1])
    await store.append_events("a", "r", 1, EVENTS[1:4])
    await store.append_events("a", "r", 4, [])
    await store.append_events("a", "r", 4, EVENTS[4:])
    for after in range(-1, len(EVENTS)):
        assert list(await store.read_events("a", "r", after, 10_000)) == EVENTS[after + 1 :]
    assert list(await store.read_events("a", "r", 99, 10_000)) == []


async def test_events_are_read_in_portions_of_at_least_one(store: Store) -> None:
    await store.put("a", stored("r", background=True))
    await store.append_events("a", "r", 0, EVENTS)
    assert list(await store.read_events("a", "r", -1, 1)) == EVENTS[:1]
    assert list(await store.read_events("a", "r", 0, 2 * len(EVENTS[0]))) == EVENTS[1:3]


@pytest.mark.parametrize("first", [0, 1, 3, 9])
async def test_events_that_do_not_follow_are_refused(store: Store, first: int) -> None:
    await store.put("a", stored("r", background=True))
    await store.append_events("a", "r", 0, EVENTS[:2])
    with pytest.raises(ValueError, match="next one is 2"):
        await store.append_events("a", "r", first, EVENTS[2:])
    assert list(await store.read_events("a", "r", -1, 1_000)) == EVENTS[:2]


async def test_events_need_their_response_and_go_with_it(store: Store) -> None:
    with pytest.raises(LookupError):
        await store.append_events("a", "r", 0, EVENTS)
    with pytest.raises(LookupError):
        await store.read_events("a", "r", -1, 1_000)
    await store.put("a", stored("r", background=True))
    await store.append_events("a", "r", 0, EVENTS)
    assert await store.delete("a", "r")
    with pytest.raises(LookupError):
        await store.read_events("a", "r", -1, 1_000)
    await store.put("a", stored("r", background=True))
    assert list(await store.read_events("a", "r", -1, 1_000)) == []


async def test_a_deleted_response_that_is_continued_has_no_events(store: Store) -> None:
    nodes = chain(2)
    await store.put("a", stored(nodes[0], background=True))
    await store.append_events("a", "resp_0", 0, EVENTS)
    await store.put("a", stored(nodes[1]))
    assert await store.delete("a", "resp_0")
    with pytest.raises(LookupError):
        await store.read_events("a", "resp_0", -1, 1_000)


# Many at once, and cancelled


async def test_many_put_at_once(store: Store) -> None:
    nodes = [chain(5, f"chain{number}") for number in range(20)]

    async def put_all(one: list[Node]) -> None:
        for node in one:
            await store.put("a", stored(node))
            assert same(await found(store, node.response_id), node)

    async with trio.open_nursery() as nursery:
        for one in nodes:
            nursery.start_soon(put_all, one)
    for one in nodes:
        assert same(await found(store, one[-1].response_id), one[-1])


async def _cut_after(checkpoints: int, work: Callable[[], Awaitable[object]]) -> bool:
    """Run it, cancelled when the scheduler has come round so often; True if it came to its end."""
    ended = False
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cut() -> None:
                for _ in range(checkpoints):
                    await trio.lowlevel.checkpoint()
                scope.cancel(reason="cut")

            nursery.start_soon(cut)
            await work()
            ended = True
            nursery.cancel_scope.cancel(reason="it has ended")
    return ended


@pytest.mark.parametrize("checkpoints", range(8))
async def test_cut_anywhere_a_put_has_happened_or_not(store: Store, checkpoints: int) -> None:
    nodes = chain(6)
    await store.put("a", stored(nodes[0]))
    ended = await _cut_after(checkpoints, lambda: store.put("a", stored(nodes[4])))
    await store.put("a", stored(nodes[5]))  # behind it: what was begun is done by then
    kept = await store.get("a", "resp_4")
    assert kept is not None or not ended
    assert kept is None or same(kept.node, nodes[4])
    assert same(await found(store, "resp_5"), nodes[5])


@pytest.mark.parametrize("checkpoints", range(5))
async def test_cut_anywhere_events_are_there_or_not(store: Store, checkpoints: int) -> None:
    await store.put("a", stored("r", background=True))
    await store.append_events("a", "r", 0, EVENTS[:2])
    ended = await _cut_after(checkpoints, lambda: store.append_events("a", "r", 2, EVENTS[2:4]))
    await store.put("a", stored("later"))  # behind it: what was begun is done by then
    kept = list(await store.read_events("a", "r", -1, 1_000))
    assert kept == EVENTS[:4] or (kept == EVENTS[:2] and not ended)
    await store.append_events("a", "r", len(kept), EVENTS[len(kept) :])
    assert list(await store.read_events("a", "r", -1, 1_000)) == EVENTS


@pytest.mark.parametrize("checkpoints", range(5))
async def test_cut_anywhere_a_response_is_deleted_or_not(store: Store, checkpoints: int) -> None:
    nodes = chain(3)
    for node in nodes:
        await store.put("a", stored(node))
    ended = await _cut_after(checkpoints, lambda: store.delete("a", "resp_1"))
    await store.put("a", stored("later"))  # behind it: what was begun is done by then
    kept = await store.get("a", "resp_1")
    assert kept is None or (not ended and same(kept.node, nodes[1]))
    assert same(await found(store, "resp_2"), nodes[2])
    assert await store.delete("a", "resp_1") is (kept is not None)


@pytest.mark.parametrize("checkpoints", range(5))
async def test_a_reader_that_was_cut_is_in_nobodys_way(store: Store, checkpoints: int) -> None:
    node = chain(3)[-1]
    await store.put("a", stored(node))
    await _cut_after(checkpoints, lambda: store.get("a", "resp_2"))
    await _cut_after(checkpoints, lambda: store.find_item("a", "msg_resp_2"))
    assert whole(await found(store, "resp_2")) == whole(node)
