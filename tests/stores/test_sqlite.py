"""The store in a file: what outlives a process, what several of them see, and what goes wrong with files."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import attrs
import pytest
import trio

from agentwire.protocol.codec import encode_json
from agentwire.protocol.errors import StoreError
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.protocol.transcript import Node
from agentwire.runtime.contracts import Store
from agentwire.stores import SqliteStore, open_sqlite_store
from agentwire.stores.sqlite import store as sqlite_store
from agentwire.stores.sqlite.retention import used_bytes
from agentwire.stores.sqlite.schema import STORE
from tests.stores.kit import answer, chain, same, say, stored

EVENTS = [b'{"type":"response.created","sequence_number":%d}' % number for number in range(3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@attrs.define
class Clock:
    """A wall clock that a test sets."""

    time: float = 1_795_376_805.0

    @property
    def sources(self) -> Sources:
        return Sources.seeded(1, lambda: self.time)


async def found(store: Store, response_id: str) -> Node:
    kept = await store.get("a", response_id)
    assert kept is not None
    return kept.node


async def put_all(store: Store, nodes: list[Node]) -> None:
    for node in nodes:
        await store.put("a", stored(node))


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


# Files and processes


async def test_what_is_stored_outlives_the_process(path: Path) -> None:
    nodes = chain(5)
    async with open_sqlite_store(path) as store:
        await store.put("a", stored(nodes[2], background=True))
        await store.append_events("a", "resp_2", 0, EVENTS)
        await store.put("a", stored(nodes[4]))
    async with open_sqlite_store(path) as store:
        assert same(await found(store, "resp_4"), nodes[4])
        assert await store.get("a", "resp_3") is None
        assert await store.find_item("a", "msg_resp_4") == nodes[4].output[0]
        assert await store.read_events("a", "resp_2", -1, 1_000) == EVENTS
        await store.append_events("a", "resp_2", 3, EVENTS[:1])
        assert await store.delete("a", "resp_4")
        assert await store.delete("a", "resp_2")
    assert query(path, "SELECT * FROM responses") == []
    assert query(path, "SELECT * FROM items") == []
    assert query(path, "SELECT * FROM events") == []


async def test_two_that_are_open_see_what_either_writes(path: Path) -> None:
    nodes = chain(40)
    async with open_sqlite_store(path) as one, open_sqlite_store(path) as other:
        for number, node in enumerate(nodes):
            writer, reader = (one, other) if number % 2 else (other, one)
            await writer.put("a", stored(node))
            assert same(await found(reader, node.response_id), node)
        assert await one.delete("a", "resp_39")
        assert await other.get("a", "resp_39") is None
        fresh = Node.root("resp_39", (say("another"),), ())
        await one.put("a", stored(fresh))
        assert same(await found(other, "resp_39"), fresh)


async def test_two_that_write_at_once_wait_for_each_other(path: Path) -> None:
    async with open_sqlite_store(path) as one, open_sqlite_store(path) as other:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number in range(10):
                    for store, name in ((one, "one"), (other, "other")):
                        nursery.start_soon(put_all, store, chain(10, f"{name}{number}"))
        for number in range(10):
            assert (await found(one, f"other{number}_9")).size == 20
            assert (await found(other, f"one{number}_9")).size == 20


async def test_only_what_is_new_is_written(path: Path) -> None:
    nodes = chain(50)
    async with open_sqlite_store(path) as store:
        await put_all(store, nodes)
    sizes = [row[0] for row in query(path, "SELECT length(input) + length(output) FROM responses")]
    assert len(sizes) == 50
    assert max(sizes) < 400  # type: ignore[type-var,operator]


async def test_json_that_is_there_already_is_written_as_it_is(path: Path) -> None:
    async with open_sqlite_store(path) as store:
        for node in chain(3):
            given, made = encode_json(node.input), b" %b " % encode_json(node.output)
            await store.put("a", attrs.evolve(stored(node), input=given, output=made))
    rows = query(path, "SELECT output FROM responses")
    assert [row[0][:1] for row in rows] == [b" "] * 3  # type: ignore[index]
    async with open_sqlite_store(path) as store:
        assert same(await found(store, "resp_2"), chain(3)[2])
        assert await store.find_item("a", "msg_resp_1") == chain(3)[1].output[0]


async def test_what_waits_is_written_together(path: Path) -> None:
    async with open_sqlite_store(path) as store, trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(store.put, "a", stored(f"r{number}"))
    assert store.statistics().written >= 200
    assert store.statistics().batches < 20
    assert store.statistics().waiting == 0
    assert query(path, "SELECT count(*) FROM responses") == [(200,)]


@pytest.mark.parametrize("company", [0, 3])
async def test_one_that_cannot_be_written_leaves_nothing_and_costs_nobody_else(path: Path, company: int) -> None:
    refused = 0

    async def put(store: SqliteStore) -> None:
        nonlocal refused
        with pytest.raises(OverflowError):
            await store.put("a", stored(chain(3)[2], size=1 << 63))  # more than a column holds
        refused += 1

    async with open_sqlite_store(path) as store:
        await store.put("a", stored("first"))
        async with trio.open_nursery() as nursery:
            for number in range(company):
                nursery.start_soon(store.put, "a", stored(f"r{number}"))
            nursery.start_soon(put, store)
        await store.put("a", stored("last"))
    assert refused == 1
    assert len(query(path, "SELECT id FROM responses")) == 2 + company


async def test_the_file_is_for_its_owner_only(path: Path) -> None:
    async with open_sqlite_store(path) as store:
        await store.put("a", stored("r"))
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert [file.name for file in path.parent.iterdir()] == ["store.db"], "what was beside it is in it"


async def test_what_is_deleted_is_not_in_the_file_any_more(path: Path) -> None:
    async with open_sqlite_store(path) as store:
        await store.put("a", stored(Node.root("r", (say("the secret word is xyzzy"),), ())))
        assert b"xyzzy" in path.read_bytes() + path.with_name("store.db-wal").read_bytes()
        await store.delete("a", "r")
    assert b"xyzzy" not in path.read_bytes()


# The cache


async def test_a_hot_conversation_is_not_read_again(path: Path) -> None:
    nodes = chain(30)
    async with open_sqlite_store(path) as store:
        await put_all(store, nodes)
        for node in (nodes[29], nodes[7]):
            assert await found(store, node.response_id) is node, "its memo, too, goes on"
    async with open_sqlite_store(path) as store:
        read = await found(store, "resp_29")
        assert await found(store, "resp_29") is read
        assert await found(store, "resp_28") is read.parent
        await store.put("a", stored(read.extend("fork", (), ())))
        assert (await found(store, "fork")).parent is read


async def test_another_version_is_read_again(path: Path) -> None:
    """A background response that ends in one process, while another one has looked at it."""
    async with open_sqlite_store(path) as one, open_sqlite_store(path) as other:
        await one.put("a", stored("r", status="in_progress", background=True))
        assert (await found(other, "r")).output == ()
        await one.put("a", stored(Node.root("r", (say("hi"),), (answer("ho", "msg_1"),)), background=True))
        assert (await found(other, "r")).output == (answer("ho", "msg_1"),)


async def test_the_cache_is_bounded(path: Path) -> None:
    async with open_sqlite_store(path, limits=Limits(store_cache_bytes=2_000)) as store:
        for number in range(20):
            await put_all(store, chain(5, f"c{number}"))
            assert store.statistics().cached_bytes <= 2_000
        assert store.statistics().cached > 0
        assert same(await found(store, "c0_4"), chain(5, "c0")[4])


# What goes


async def test_what_is_too_old_goes_with_the_next_write(path: Path) -> None:
    """What continues it keeps its history, and what nothing continues is gone from the file."""
    clock = Clock()
    nodes, others = chain(3), chain(2, "other")
    async with open_sqlite_store(path, limits=Limits(stored_age=100), sources=clock.sources) as store:
        await put_all(store, [*nodes[:2], *others])
        clock.time += 99
        await store.put("a", stored(nodes[2]))
        assert await store.get("a", "resp_0") is not None
        clock.time += 2
        await store.put("a", stored("fresh"))
        for gone in ("resp_0", "resp_1", "other_0", "other_1"):
            assert await store.get("a", gone) is None
            assert await store.find_item("a", f"msg_{gone}") is None
        assert same(await found(store, "resp_2"), nodes[2])
        assert store.statistics().dropped == 4
    assert query(path, "SELECT count(*) FROM responses") == [(4,)]
    assert query(path, "SELECT count(*) FROM items") == [(1,)]


async def test_what_is_too_old_goes_without_any_write(path: Path) -> None:
    clock = Clock()
    limits = Limits(stored_age=100, store_sweep=0.01)
    async with open_sqlite_store(path, limits=limits, sources=clock.sources) as store:
        await put_all(store, [node for number in range(100) for node in chain(1, f"c{number}")])
        clock.time += 101
        with trio.fail_after(20):
            while await store.get("a", "c99_0") is not None or store.statistics().dropped < 100:  # noqa: ASYNC110 - nobody tells us
                await trio.sleep(0.01)


async def test_the_oldest_go_when_the_file_is_full(path: Path) -> None:
    clock = Clock()
    limits = Limits(stored_file_bytes=300_000)
    async with open_sqlite_store(path, limits=limits, sources=clock.sources) as store:
        for number in range(200):
            clock.time += 1
            await store.put("a", stored(Node.root(f"r{number}", (say("x" * 5_000),), ())))
        kept = [number for number in range(200) if await store.get("a", f"r{number}") is not None]
    assert kept == list(range(kept[0], 200))
    assert 20 < len(kept) < 60
    with closing(sqlite3.connect(path)) as connection:
        assert used_bytes(connection) <= 300_000
    assert path.stat().st_size < 400_000


async def test_a_conversation_that_fills_the_file_alone_goes_whole(path: Path) -> None:
    async with open_sqlite_store(path, limits=Limits(stored_file_bytes=100_000)) as store:
        node = Node.root("r0", (say("x" * 5_000),), ())
        for number in range(1, 40):
            await store.put("a", stored(node))
            node = node.extend(f"r{number}", (say("x" * 5_000),), ())
    with closing(sqlite3.connect(path)) as connection:
        assert used_bytes(connection) <= 100_000


# Who runs what


def told(kept: bytes) -> tuple[str, str | None]:
    shown = json.loads(kept)
    return shown["status"], shown.get("error") and shown["error"]["code"]


async def test_what_another_process_runs_is_running(path: Path) -> None:
    async with open_sqlite_store(path) as one, open_sqlite_store(path) as other:
        for status in ("queued", "in_progress"):
            await one.put("a", stored("r", status=status, background=True))
            for store in (one, other):
                kept = await store.get("a", "r")
                assert kept is not None
                assert (kept.status, told(kept.response), kept.continuable) == (status, (status, None), False)
        assert one.statistics().running == 1
        await one.put("a", stored("r", background=True))
        assert one.statistics().running == 0
        kept = await other.get("a", "r")
        assert kept is not None
        assert kept.continuable


async def test_what_ran_in_a_process_that_has_stopped_has_failed(path: Path) -> None:
    async with open_sqlite_store(path) as other:
        async with open_sqlite_store(path) as one:
            await one.put("a", stored("r", status="in_progress", background=True))
        kept = await other.get("a", "r")
        assert kept is not None
        assert (kept.status, kept.continuable, kept.background) == ("failed", False, True)
        assert told(kept.response) == ("failed", "server_error")
        assert b"The server that ran it stopped." in kept.response


async def test_what_ran_in_a_process_that_is_silent_has_failed_until_it_ends(path: Path) -> None:
    """Killed, or only slow: nobody can tell, so nothing is written."""
    clock = Clock()
    limits = Limits(store_heartbeat=1_000, store_silence=10)
    another = Sources.seeded(2, lambda: clock.time)
    async with (
        open_sqlite_store(path, limits=limits, sources=clock.sources) as one,
        open_sqlite_store(path, limits=limits, sources=another) as other,
    ):
        await one.put("a", stored("r", status="in_progress", background=True))
        clock.time += 9
        assert told((await other.get("a", "r")).response) == ("in_progress", None)  # type: ignore[union-attr]
        clock.time += 2
        assert told((await other.get("a", "r")).response) == ("failed", "server_error")  # type: ignore[union-attr]
        await one.put("a", stored("r", background=True))
        assert told((await other.get("a", "r")).response) == ("completed", None)  # type: ignore[union-attr]


async def test_a_process_that_runs_something_says_so_again_and_again(path: Path) -> None:
    limits = Limits(store_heartbeat=0.01, store_silence=1_000)
    async with open_sqlite_store(path, limits=limits) as store:
        await trio.sleep(0.05)
        assert query(path, "SELECT * FROM owners") == [], "nobody asks after one that runs nothing"
        await store.put("a", stored("r", status="in_progress", background=True))
        (first,) = query(path, "SELECT seen FROM owners")
        with trio.fail_after(20):
            while query(path, "SELECT seen FROM owners") == [first]:  # noqa: ASYNC110 - nobody tells us
                await trio.sleep(0.01)
        await store.delete("a", "r")
        assert store.statistics().running == 0
    assert query(path, "SELECT * FROM owners") == []


# What goes wrong


def garbage(path: Path) -> None:
    path.write_bytes(b"this is a letter to somebody, and no database\n" * 100)


def directory(path: Path) -> None:
    path.mkdir()


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id={STORE.application}")
        connection.execute("PRAGMA user_version=7")
        connection.execute("CREATE TABLE responses (name TEXT)")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (garbage, "it is no SQLite file"),
        (directory, "Is a directory"),
        (foreign, "an SQLite file of another program"),
        (newer, "its format is 7, and this version reads format 1"),
    ],
)
async def test_a_file_that_is_no_store_is_refused_and_left_alone(
    path: Path, spoil: Callable[[Path], None], why: str
) -> None:
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StoreError, match=why) as caught:
        async with open_sqlite_store(path):
            pytest.fail("it opened")
    assert str(path) in str(caught.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


async def test_a_path_into_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file or directory"):
        async with open_sqlite_store(tmp_path / "nowhere" / "store.db"):
            pytest.fail("it opened")


async def test_without_room_writes_fail_and_reading_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = attrs.evolve(STORE, settings=(*STORE.settings, "max_page_count=40"))
    monkeypatch.setattr(sqlite_store, "STORE", small)
    async with open_sqlite_store(path) as store:
        await store.put("a", stored(chain(1)[0]))
        large = stored(Node.root("large", (say("x" * 1_000_000),), ()))
        with pytest.raises(StoreError, match="no room on its disk"):
            await store.put("a", large)
        assert await store.get("a", "large") is None
        assert same(await found(store, "resp_0"), chain(1)[0])
        await store.put("a", stored("small"))
        assert await store.get("a", "small") is not None


async def test_a_file_that_somebody_has_locked_is_waited_for_and_not_for_ever(path: Path) -> None:
    async with open_sqlite_store(path, limits=Limits(store_busy=0.05)) as store:
        await store.put("a", stored("r0"))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="another process has kept it locked"):
                await store.put("a", stored("r1"))
            assert await store.get("a", "r0") is not None
        await store.put("a", stored("r2"))
        assert await store.get("a", "r2") is not None


async def test_who_waits_for_a_locked_file_can_be_cancelled_at_once(path: Path) -> None:
    async with open_sqlite_store(path, limits=Limits(store_busy=20, store_queue=1)) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with trio.fail_after(10):
                async with trio.open_nursery() as nursery:
                    for number in range(5):
                        nursery.start_soon(store.put, "a", stored(f"r{number}"))
                    await trio.sleep(0.1)
                    nursery.cancel_scope.cancel(reason="the client has gone")
        await store.put("a", stored("last"))
        assert await store.get("a", "last") is not None
        kept = [await store.get("a", f"r{number}") is not None for number in range(5)]
    assert not any(kept), "nobody waits for them any more, and none had been begun"


async def test_a_damaged_file_is_told(path: Path) -> None:
    async with open_sqlite_store(path) as store:
        await put_all(store, chain(3))
        assert same(await found(store, "resp_2"), chain(3)[2])
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE responses SET input = 'nonsense', stamp = 1 WHERE id = 'resp_1'")
            connection.execute("UPDATE responses SET stamp = 1 WHERE id = 'resp_2'")
        with pytest.raises(StoreError, match="damaged"):
            await store.get("a", "resp_2")
        with pytest.raises(StoreError, match="damaged"):
            await store.delete("a", "resp_1")
        assert same(await found(store, "resp_0"), chain(1)[0])
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("DELETE FROM responses WHERE id = 'resp_0'")
            connection.execute("UPDATE responses SET input = '[]' WHERE id = 'resp_1'")
        with pytest.raises(StoreError, match="what resp_1 continues is not there"):
            await store.get("a", "resp_2")
        await store.put("a", stored("fresh"))


async def test_a_store_that_cannot_drop_its_oldest_goes_on(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    async with open_sqlite_store(path, limits=Limits(stored_age=100), sources=clock.sources) as store:
        await store.put("a", stored("old"))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE responses SET input = 'nonsense'")
        clock.time += 101
        await store.put("a", stored("new"))
        assert await store.get("a", "new") is not None
    assert "cannot drop its oldest" in caplog.text


# Its end


async def test_what_waits_at_the_end_is_written(path: Path) -> None:
    async with trio.open_nursery() as nursery, open_sqlite_store(path) as store:
        for number in range(50):
            nursery.start_soon(store.put, "a", stored(f"r{number}"))
        await trio.testing.wait_all_tasks_blocked()
    assert query(path, "SELECT count(*) FROM responses") == [(50,)]


async def test_a_closed_store_says_so(path: Path) -> None:
    async with open_sqlite_store(path) as store:
        await store.put("a", stored("r"))
    with pytest.raises(StoreError, match="is closed"):
        await store.put("a", stored("r"))
    with pytest.raises(StoreError, match="is closed"):
        await store.get("a", "r")


async def test_a_store_that_is_cancelled_lets_nobody_wait(path: Path) -> None:
    refused = 0

    async def put(store: SqliteStore, number: int) -> None:
        nonlocal refused
        try:
            await store.put("a", stored(f"r{number}"))
        except StoreError:
            refused += 1

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as scope:
                    async with open_sqlite_store(path, limits=Limits(store_busy=0.2, store_queue=2)) as store:
                        connection.execute("BEGIN IMMEDIATE")
                        for number in range(9):
                            nursery.start_soon(put, store, number)
                        await trio.sleep(0.05)
                        scope.cancel(reason="the server stops")
                        await trio.sleep_forever()
    assert refused == 9


async def test_a_store_that_is_cancelled_when_its_block_has_ended_writes_no_more(path: Path) -> None:
    refused = []

    async def put(store: SqliteStore, number: int) -> None:
        try:
            await store.put("a", stored(f"r{number}"))
        except StoreError as error:
            refused.append(str(error))

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                async with open_sqlite_store(path, limits=Limits(store_busy=0.5, store_batch=1)) as store:
                    connection.execute("BEGIN IMMEDIATE")
                    for number in range(4):
                        nursery.start_soon(put, store, number)
                    await trio.sleep(0.05)
                    nursery.start_soon(_cancel_soon, scope)
    assert scope.cancelled_caught
    assert [error for error in refused if "is closed" in error], refused


async def _cancel_soon(scope: trio.CancelScope) -> None:
    await trio.sleep(0.05)
    scope.cancel(reason="the server stops at once")


async def test_what_the_block_raises_comes_out_as_it_is(path: Path) -> None:
    with pytest.raises(KeyError):
        async with open_sqlite_store(path):
            raise KeyError("mine")
