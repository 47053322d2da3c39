"""The journal: what it keeps, who holds what, and what goes wrong with files."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from agentwire.client.journal import (
    Journal,
    JournalError,
    JournalHeld,
    JournalMismatch,
    MemoryJournal,
    RunJournal,
    answer,
    file,
    open_journal,
    open_run_journal,
)
from agentwire.client.journal.holds import Holds
from agentwire.client.journal.rows import JOURNAL
from agentwire.protocol.content import InputText
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import CustomToolCall, FunctionCall, Item, Message, OpaqueItem, Reasoning
from agentwire.protocol.limits import Limits
from agentwire.protocol.response import Response, Usage
from agentwire.runtime.tools import ToolResult
from agentwire.stores.sqlite.file import Form, connect
from agentwire.testing import no_leaks

GIVEN = (Message("user", "Ship it."),)
DEPLOY = FunctionCall("c1", "deploy", '{"env":"a"}', id="fc_1", status="completed")
SHELL = CustomToolCall("c2", "shell", "ls", id="ctc_1", status="completed")
THOUGHT = Reasoning(id="rs_1", encrypted_content="sealed")
ODD = OpaqueItem({"type": "odd", "id": "odd_1", "what": [1, None]})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@asynccontextmanager
async def run_in(
    journal: Journal | Path | None, given: tuple[Item, ...] = GIVEN, key: str = "job-17"
) -> AsyncGenerator[RunJournal]:
    limits, sources = Limits(store_busy=0.05), Sources.system()
    async with open_run_journal(journal, key, limits=limits, sources=sources) as run:
        run.begin(given, continues=None, context=())
        yield run


@pytest.fixture(params=["memory", "file"])
def journal(request: pytest.FixtureRequest, path: Path) -> Journal | Path:
    return MemoryJournal() if request.param == "memory" else path


def response(*output: Item) -> Response:
    return Response(id="resp_1", status="completed", output=output, usage=Usage(3, 2, 1))


# A run


async def test_what_happened_is_there_again(journal: Journal | Path) -> None:
    result = ToolResult((InputText("done"),), "it was late", unknown=True)
    async with run_in(journal) as run:
        assert not run.began
        run.heard([THOUGHT, DEPLOY])
        await run.starting(DEPLOY)
        run.heard([THOUGHT, DEPLOY, SHELL])
        await run.starting(SHELL)
        await run.finished(DEPLOY, result)
        await run.ended(response(THOUGHT, DEPLOY, SHELL, ODD), over=False)
        run.said([call_output := _answer(run, DEPLOY)])
        assert run.outcome(SHELL) is None
    async with run_in(journal) as run:
        assert run.began
        assert run.items == [*GIVEN, THOUGHT, DEPLOY, SHELL, ODD]  # nobody had waited for what was said last
        assert run.outcome(DEPLOY) == result
        assert run.was_started(SHELL)
        assert run.outcome(SHELL) is None
        assert not run.was_started(FunctionCall("c3", "deploy", "{}"))
        assert (run.turns, run.usage, run.response) == (1, Usage(3, 2, 1), None)
        run.said([call_output])
        await run.ended(end := response(Message("assistant", "Shipped.", id="msg_1")), over=True)
    async with run_in(journal) as run:
        assert run.items == [*GIVEN, THOUGHT, DEPLOY, SHELL, ODD, call_output, *end.output]
        assert (run.turns, run.response) == (2, end)


def _answer(run: RunJournal, call: FunctionCall) -> Item:
    known = run._calls[call.call_id]
    assert known is not None
    return known[1]


@attrs.define
class Batches:
    """A log that keeps apart what was appended together: a process dies between two of these."""

    batches: list[list[bytes]] = attrs.field(factory=list)

    @property
    def entries(self) -> list[bytes]:
        return [entry for batch in self.batches for entry in batch]

    async def append(self, entries: Sequence[bytes]) -> None:
        await trio.lowlevel.checkpoint()
        self.batches.append([*entries])


async def _live(turns: list[tuple[str, bool]], log: Batches) -> list[Item]:
    """A whole run; each turn is a word of m (a message) and c (a call), and is lost or not. Returns what was said."""
    run = RunJournal(log)
    said: list[Item] = [*GIVEN]
    run.begin(GIVEN, continues=None, context=())
    for turn, (word, lost) in enumerate(turns):
        items: list[Item] = []
        calls: list[FunctionCall] = []
        for place, kind in enumerate(word):
            number = f"{turn}.{place}"
            if kind == "m":
                items.append(Message("assistant", "Hm.", id=f"msg_{number}"))
                continue
            calls.append(FunctionCall(f"call_{number}", "deploy", "{}", id=f"fc_{number}"))
            items.append(calls[-1])
            run.heard(items)
            await run.starting(calls[-1])
        for call in calls[::-1]:
            await run.finished(call, ToolResult(f"did {call.call_id}"))
        if not lost:
            await run.ended(response(*items), over=False)
        elif calls:
            run.lost(items)
        else:
            continue
        outputs = [answer(call, ToolResult(f"did {call.call_id}")) for call in calls]
        run.said(outputs)
        said += [*items, *outputs]
    await run.settle()
    return said


@settings(max_examples=30)
@given(st.lists(st.tuples(st.text("mc", max_size=4), st.booleans()), max_size=4))
def test_whenever_a_process_dies_what_is_left_makes_sense(turns: list[tuple[str, bool]]) -> None:
    """Whatever has been started is in the history, and the history is the beginning of the whole."""
    log = Batches()
    said = trio.run(_live, turns, log)
    assert RunJournal(log).items == said
    for count in range(1, len(log.batches)):
        run = RunJournal(Batches(log.batches[:count]))
        assert run.items == said[: len(run.items)]
        assert {call.call_id for call in run.items if isinstance(call, FunctionCall)} == set(run._calls)
        outcomes = {call_id: known[0].output for call_id, known in run._calls.items() if known is not None}
        assert outcomes == {call_id: f"did {call_id}" for call_id in outcomes}


async def test_a_turn_that_was_lost_leaves_what_stands(journal: Journal | Path) -> None:
    async with run_in(journal) as run:
        run.heard([DEPLOY])
        await run.starting(DEPLOY)
        run.lost([DEPLOY, THOUGHT])
        run.heard([SHELL])
        await run.starting(SHELL)
    async with run_in(journal) as run:
        assert run.items == [*GIVEN, DEPLOY, THOUGHT, SHELL]


async def test_what_a_turn_says_in_the_end_counts(journal: Journal | Path) -> None:
    """Some servers list other items in the end than they had told of."""
    async with run_in(journal) as run:
        run.heard([DEPLOY])
        await run.starting(DEPLOY)
        await run.ended(response(THOUGHT, DEPLOY), over=False)
    async with run_in(journal) as run:
        assert run.items == [*GIVEN, THOUGHT, DEPLOY]


async def test_a_call_that_is_cancelled_before_it_runs_has_not_run(journal: Journal | Path) -> None:
    async with run_in(journal) as run:
        with trio.CancelScope() as scope:
            scope.cancel(reason="the run was left")
            await run.starting(DEPLOY)
            pytest.fail("it runs")
    async with run_in(journal) as run:
        assert not run.was_started(DEPLOY)


async def test_a_key_is_for_one_input(journal: Journal | Path) -> None:
    async with run_in(journal) as run:
        await run.starting(DEPLOY)
    with pytest.raises(JournalMismatch, match="'job-17' of this journal began with another input"):
        async with run_in(journal, (Message("user", "Sink it."),)):
            pytest.fail("it opened")
    async with run_in(journal, (Message("user", "Sink it."),), key="job-18") as run:
        assert not run.began


async def test_a_key_is_held_by_one(journal: Journal | Path) -> None:
    async with run_in(journal):
        with pytest.raises(JournalHeld, match="is open in this process; a run has one owner at a time"):
            async with run_in(journal):
                pytest.fail("it opened")
        async with run_in(journal, key="job-18"):
            pass
    async with run_in(journal):
        pass


async def test_without_a_journal_nothing_is_kept(autojump_clock: MockClock) -> None:
    async with run_in(None) as run:
        run.heard([DEPLOY])
        await run.starting(DEPLOY)
        await run.finished(DEPLOY, ToolResult("done"))
        run.lost([DEPLOY])
        await run.ended(response(), over=True)
        assert not run.was_started(DEPLOY)


async def test_a_journal_in_memory_makes_room_for_what_is_new() -> None:
    journal = MemoryJournal(Limits(journal_memory_bytes=500))
    async with journal.open("held") as held:
        await held.append([b"x" * 400])
        for key in ("a", "b"):
            async with journal.open(key) as log:
                await log.append([b"x" * 300])
        assert (len(journal), journal.bytes) == (1, 400)
    async with journal.open("held") as held:
        assert held.entries == [b"x" * 400]


# Files


async def test_what_is_noted_together_is_written_together(path: Path) -> None:
    async with open_journal(path) as journal, run_in(journal) as run, run_in(journal, key="other") as other:
        before = journal.statistics()
        async with trio.open_nursery() as nursery:
            for one in (run, other):
                for number in range(20):
                    nursery.start_soon(one.starting, FunctionCall(f"c{number}", "deploy", "{}"))
        after = journal.statistics()
    assert after.open == 2
    assert after.written - before.written < 20
    assert after.batches - before.batches < 10
    async with run_in(path) as run:
        assert all(run.was_started(FunctionCall(f"c{number}", "deploy", "{}")) for number in range(20))


async def test_runs_that_name_one_file_have_it_open_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    left = 30
    all_started = trio.Event()

    def counted(form: Form, place: str, limits: Limits) -> sqlite3.Connection:
        opened.append(place)
        return connect(form, place, limits)

    async def work(number: int) -> None:
        nonlocal left
        async with run_in(path, key=f"job {number}") as run:
            await run.starting(DEPLOY)
            left -= 1
            if not left:
                all_started.set()
            if number % 2:
                await trio.sleep_forever()  # it is cancelled

    monkeypatch.setattr("agentwire.client.journal.file.connect", counted)
    async with no_leaks(), trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(work, number)
        with trio.fail_after(30):
            await all_started.wait()
        nursery.cancel_scope.cancel(reason="enough")
    assert opened == [str(path)]
    async with run_in(path, key="job 29") as run:
        assert run.was_started(DEPLOY)
    assert len(opened) == 2
    assert not Holds._open


HOLDER = """
import sys, trio
from agentwire.client.journal import open_journal
async def main():
    async with open_journal(sys.argv[1]) as journal, journal.open("job-17") as log:
        await log.append([b"1"])
        print("held", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


async def test_a_process_holds_its_key_as_long_as_it_lives(path: Path) -> None:
    with trio.fail_after(30):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, env=dict(os.environ)
        )
        try:
            assert process.stdout is not None
            assert (await process.stdout.receive_some()).startswith(b"held")
            async with open_journal(path) as journal:
                with pytest.raises(JournalHeld, match=rf"is open in another process \({process.pid}\)"):
                    async with journal.open("job-17"):
                        pytest.fail("it opened")
                async with journal.open("job-18"):
                    pass
                process.send_signal(signal.SIGKILL)
                await process.wait()
                async with journal.open("job-17") as log:
                    assert log.entries == (b"1",)
        finally:
            process.kill()
            await process.wait()


@attrs.define
class Clock:
    """A wall clock that a test sets."""

    time: float = 1_000_000.0


async def test_what_was_not_used_for_long_goes_unless_it_is_open(path: Path) -> None:
    clock = Clock()
    sources = Sources.seeded(1, lambda: clock.time)
    async with open_journal(path, limits=Limits(journal_age=100), sources=sources) as journal:
        async with journal.open("held") as held:
            async with journal.open("old") as log:
                await log.append([b"1"])
            clock.time += 101
            async with journal.open("new") as log:
                await log.append([b"1"])
            await held.append([b"2"])
        assert journal.statistics().dropped == 1
        async with journal.open("held") as held, journal.open("old") as old:
            assert (held.entries, old.entries) == ((b"2",), ())


async def test_those_that_are_open_do_not_keep_the_others(path: Path) -> None:
    clock = Clock()
    sources = Sources.seeded(1, lambda: clock.time)
    async with open_journal(path, limits=Limits(journal_age=100), sources=sources) as journal, AsyncExitStack() as held:
        for number in range(40):
            await held.enter_async_context(journal.open(f"held {number} \ud800"))
        async with journal.open("old"):
            clock.time += 1
        clock.time += 101
        async with journal.open("new"):
            assert journal.statistics().dropped == 1


async def test_without_room_the_oldest_goes(path: Path) -> None:
    async with open_journal(path, limits=Limits(journal_file_bytes=300_000)) as journal:
        for number in range(8):
            async with journal.open(f"run {number}") as log:
                await log.append([b"x" * 100_000])
        async with journal.open("run 7") as last, journal.open("run 0") as first:
            assert (len(last.entries), len(first.entries)) == (1, 0)


def garbage(path: Path) -> None:
    path.write_bytes(b"this is a letter to somebody, and no database\n" * 100)


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id={JOURNAL.application}")
        connection.execute("PRAGMA user_version=7")
        connection.execute("CREATE TABLE runs (name TEXT)")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (garbage, "cannot open the journal .*: it is no SQLite file"),
        (Path.mkdir, "cannot open the journal .*: Is a directory"),
        (foreign, "cannot use .* as a journal: it is an SQLite file of another program"),
        (newer, "its format is 7, and this version reads format 1"),
    ],
)
async def test_a_file_that_is_no_journal_is_refused(path: Path, spoil: Callable[[Path], None], why: str) -> None:
    spoil(path)
    with pytest.raises(JournalError, match=why):
        async with run_in(path):
            pytest.fail("it opened")
    assert not Holds._open


@pytest.mark.parametrize("entry", [b"nonsense", b'{"entry":"said","items":[7]}', b'{"entry":"other"}'])
async def test_a_damaged_journal_says_so(path: Path, entry: bytes) -> None:
    async with open_journal(path) as journal, journal.open("job-17") as log:
        await log.append([entry])
    with pytest.raises(JournalError, match="the journal is damaged"):
        async with run_in(path):
            pytest.fail("it opened")


async def test_without_room_on_the_disk_no_call_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = attrs.evolve(JOURNAL, settings=(*JOURNAL.settings, "max_page_count=20"))
    monkeypatch.setattr(file, "JOURNAL", small)
    async with open_journal(path) as journal:
        with pytest.raises(JournalError, match="there is no room on its disk"):
            async with journal.open("x" * 100_000):
                pytest.fail("it opened")
        assert journal.statistics().open == 0
    async with run_in(path) as run:
        await run.starting(SHELL)
        run.heard([attrs.evolve(DEPLOY, arguments="x" * 100_000)])
        with pytest.raises(JournalError, match="there is no room on its disk"):
            await run.starting(DEPLOY)
        with pytest.raises(JournalError, match="there is no room on its disk"):
            await run.finished(SHELL, ToolResult("done"))
    async with run_in(path) as run:
        assert (run.was_started(SHELL), run.outcome(SHELL), run.was_started(DEPLOY)) == (True, None, False)


async def test_a_locked_journal_is_not_waited_for_for_ever(path: Path) -> None:
    async with run_in(path) as run:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalError, match="another process has kept it locked"):
                await run.starting(DEPLOY)
    async with run_in(path) as run:
        assert not run.was_started(DEPLOY)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalError, match="another process has kept it locked"):
                async with run_in(path, key="job-18"):
                    pytest.fail("it opened")


async def test_a_journal_that_is_closed_says_so(path: Path) -> None:
    async with open_journal(path) as journal:
        pass
    with pytest.raises(JournalError, match="is closed"):
        async with journal.open("job-17"):
            pytest.fail("it opened")
