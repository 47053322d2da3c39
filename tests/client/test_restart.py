"""Runs with a journal: what a run that begins again knows, what it does with it, and what it does not do twice."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentwire.client import (
    CallUnknown,
    JournalError,
    JournalHeld,
    JournalMismatch,
    MemoryJournal,
    RunLost,
    ToolFailed,
    ToolLike,
    TurnsExhausted,
)
from agentwire.client.repeating import Repeat
from agentwire.link import Fate
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.items import FunctionCall
from agentwire.runtime.policies import Cancel
from agentwire.runtime.tools import ToolError, tool
from agentwire.testing import no_leaks
from tests.client.kit import connected, steps_of
from tests.link.peer import LIMITS, Json, Peer, call, call_turn, created, done, ended, message, text_turn

FIRST = call("c1", "note", '{"what":"one"}')
SECOND = call("c2", "stick", "{}")
ASKED = {"type": "message", "role": "user", "content": "Go."}


@attrs.define
class Tools:
    """Tools that count what they do; ``stick`` never ends."""

    did: list[str] = attrs.field(factory=list)
    stuck: trio.Event = attrs.field(factory=trio.Event)

    async def note(self, what: str) -> str:
        self.did.append(what)
        return f"noted {what}"

    async def stick(self) -> str:
        self.did.append("stick")
        self.stuck.set()
        await trio.sleep_forever()
        raise AssertionError


@tool(rerun="safe", name="stick")
async def stick_safely() -> str:
    return "unstuck"


def outputs(request: Json) -> list[str]:
    return [item["output"] for item in request["input"] if item["type"] == "function_call_output"]


def types(request: Json) -> list[str]:
    return [item["type"] for item in request["input"]]


async def die(journal: MemoryJournal, tools: Tools, *events: Json) -> None:
    """A run whose first turn says this; it ends when ``stick`` runs and everything else has ended."""

    async def serve(peer: Peer) -> None:
        await peer.answer(*events)

    async with connected(serve) as wire, wire.run("Go.", tools=[tools.note, tools.stick], journal=journal, key="k"):
        await tools.stuck.wait()
        await trio.testing.wait_all_tasks_blocked()


# Going on


async def test_a_run_that_begins_again_goes_on_where_it_was(autojump_clock: MockClock) -> None:
    journal, tools = MemoryJournal(), Tools()
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}
    await die(journal, tools, *call_turn("resp_1", thought, FIRST, SECOND))

    async def serve(peer: Peer) -> None:
        request = await peer.answer(*text_turn("resp_2", "done"))
        assert request["input"][0] == ASKED
        assert types(request)[1:] == ["reasoning", *["function_call"] * 2, *["function_call_output"] * 2]
        first, second = outputs(request)
        assert first == "noted one"
        assert second.startswith("ToolError: the process that ran this call died before it said what came of it.")
        assert "previous_response_id" not in request

    async with (
        no_leaks(),
        connected(serve) as wire,
        wire.run("Go.", tools=[tools.note, tools.stick], journal=journal, key="k") as run,
    ):
        assert (await run.finish()).output_text == "done"
        assert (run.turns, run.usage.total_tokens) == (2, 10)
        assert run.results["c1"].text == "noted one"
        assert run.results["c2"].unknown
    assert sorted(tools.did) == ["one", "stick"]


async def test_a_turn_that_died_in_the_middle_leaves_its_calls(autojump_clock: MockClock) -> None:
    """Its items stand, so that the model is not asked for the same again."""
    journal, tools = MemoryJournal(), Tools()
    await die(journal, tools, created("resp_1"), done(message("Let me see.")), done(FIRST, 1), done(SECOND, 2))

    async def serve(peer: Peer) -> None:
        request = await peer.answer(*text_turn("resp_2", "done"))
        assert types(request)[:4] == ["message", "message", "function_call", "function_call"]
        assert outputs(request) == ["noted one", "unstuck"]

    async with connected(serve) as wire:
        tools_again: list[ToolLike] = [tools.note, stick_safely]
        async with wire.run("Go.", tools=tools_again, journal=journal, key="k") as run:
            await run.finish()
    assert sorted(tools.did) == ["one", "stick"]


async def test_what_was_folded_before_is_not_said_again(autojump_clock: MockClock) -> None:
    journal, tools = MemoryJournal(), Tools()
    folded = {"type": "compaction", "id": "cmp_1", "encrypted_content": "sealed"}
    await die(journal, tools, *call_turn("resp_1", folded, FIRST, SECOND))

    async def serve(peer: Peer) -> None:
        request = await peer.answer(*text_turn("resp_2", "done"))
        assert types(request)[:3] == ["compaction", "function_call", "function_call"]

    async with (
        connected(serve) as wire,
        wire.run("Go.", tools=[tools.note, tools.stick], journal=journal, key="k") as run,
    ):
        await run.finish()


async def test_a_turn_that_died_without_a_call_is_asked_again(autojump_clock: MockClock) -> None:
    journal, tools = MemoryJournal(), Tools()

    async def fail(peer: Peer) -> None:
        await peer.answer(created("resp_1"), done(message("Let me see.")))
        await trio.aclose_forcefully(peer.stream)

    async with connected(fail, on_disconnect=Cancel()) as wire, wire.run("Go.", journal=journal, key="k") as run:
        with pytest.raises(RunLost):
            await run.finish()

    async def serve(peer: Peer) -> None:
        request = await peer.answer(*text_turn("resp_2", "done"))
        assert request["input"] == [ASKED]

    async with connected(serve) as wire, wire.run("Go.", tools=[tools.note], journal=journal, key="k") as run:
        await run.finish()


@pytest.mark.parametrize("repeat", ["safe", "always"])
async def test_a_turn_that_leaves_traces_is_not_asked_for_twice(autojump_clock: MockClock, repeat: Repeat) -> None:
    """Not even by another process, unless all may be repeated."""
    journal = MemoryJournal()
    asked: list[Json] = []

    async def vanish(peer: Peer) -> None:
        asked.append(await peer.request())
        await trio.aclose_forcefully(peer.stream)

    async def serve(peer: Peer) -> None:
        asked.append(await peer.answer(*text_turn("resp_2", "done")))

    for number in range(2):
        async with (
            connected(vanish, on_disconnect=Cancel()) as wire,
            wire.run("Go.", journal=journal, key="k", store=True) as run,
        ):
            with pytest.raises(RunLost) as caught:
                await run.finish()
        assert caught.value.fate is Fate.UNKNOWN
        assert len(asked) == 1
        assert ("the process that asked for this turn died" in str(caught.value)) == (number == 1)
    async with connected(serve, repeat=repeat) as wire, wire.run("Go.", journal=journal, key="k", store=True) as run:
        if repeat == "always":
            await run.finish()
        else:
            with pytest.raises(RunLost):
                await run.finish()
    assert len(asked) == (2 if repeat == "always" else 1)


async def test_a_run_that_is_over_is_told_at_once(autojump_clock: MockClock) -> None:
    journal, tools = MemoryJournal(), Tools()

    async def serve(peer: Peer) -> None:
        await peer.answer(*call_turn("resp_1", FIRST))
        await peer.answer(*text_turn("resp_2", "done"))

    async def refuse(peer: Peer) -> None:
        raise AssertionError(await peer.request())

    seen: list[tuple[object, ...]] = []
    for script in (serve, refuse):
        async with connected(script) as wire, wire.run("Go.", tools=[tools.note], journal=journal, key="k") as run:
            response = await run.finish()
            seen.append((response, run.text, run.turns, run.usage, run.results))
            if script is refuse:
                assert await steps_of(run) == []
    assert seen[0] == seen[1]
    assert seen[0][1] == "done"
    assert tools.did == ["one"]


async def test_calls_whose_outcome_is_unknown_can_be_raised(autojump_clock: MockClock) -> None:
    journal, tools = MemoryJournal(), Tools()
    await die(journal, tools, *call_turn("resp_1", FIRST, SECOND))

    async def serve(peer: Peer) -> None:
        request = await peer.answer(*text_turn("resp_2", "done"))
        assert outputs(request)[0] == "noted one"

    async with connected(serve) as wire:
        options: Json = {"tools": [tools.note, tools.stick], "journal": journal, "key": "k"}
        for _ in range(2):
            async with wire.run("Go.", **options, unknown="raise") as run:
                with pytest.raises(CallUnknown, match=r"took effect, .*: stick \(c2\)") as caught:
                    await run.finish()
                assert isinstance(caught.value.calls[0], FunctionCall)
        async with wire.run("Go.", **options) as run:
            await run.finish()
    assert sorted(tools.did) == ["one", "stick"]


async def test_turns_are_counted_over_all_beginnings(autojump_clock: MockClock) -> None:
    journal, tools = MemoryJournal(), Tools()

    async def serve(peer: Peer) -> None:
        await peer.answer(*call_turn("resp_1", FIRST))
        request = await peer.answer(*text_turn("resp_2", "done"))
        assert outputs(request) == ["noted one"]

    async with connected(serve) as wire:
        options: Json = {"tools": [tools.note], "journal": journal, "key": "k"}
        for _ in range(2):
            async with wire.run("Go.", **options, max_turns=1) as run:
                with pytest.raises(TurnsExhausted):
                    await run.finish()
        async with wire.run("Go.", **options, max_turns=2) as run:
            await run.finish()
    assert tools.did == ["one"]


async def test_a_turn_that_died_in_the_middle_counts_where_its_calls_stand(autojump_clock: MockClock) -> None:
    """So that a process that dies again and again comes to an end."""
    journal, tools = MemoryJournal(), Tools()
    await die(journal, tools, created("resp_1"), done(FIRST), done(SECOND, 1))

    async def serve(peer: Peer) -> None:
        await peer.answer(*text_turn("resp_2", "done"))

    async with connected(serve) as wire:
        options: Json = {"tools": [tools.note, tools.stick], "journal": journal, "key": "k"}
        for _ in range(2):
            async with wire.run("Go.", **options, max_turns=1) as run:
                with pytest.raises(TurnsExhausted):
                    await run.finish()
        async with wire.run("Go.", **options, max_turns=2) as run:
            await run.finish()
            assert run.turns == 2
        async with wire.run("Go.", **options) as run:
            await run.finish()
            assert run.turns == 2


async def test_a_run_that_continues_what_only_its_client_knows_can_be_said_in_full(autojump_clock: MockClock) -> None:
    journal, tools = MemoryJournal(), Tools()

    async def before(peer: Peer) -> None:
        await peer.answer(*text_turn("resp_0", "Ready."))
        await peer.answer(*call_turn("resp_1", FIRST, SECOND))

    options: Json = {
        "tools": [tools.note, tools.stick],
        "journal": journal,
        "key": "k",
        "previous_response_id": "resp_0",
    }
    async with connected(before) as wire:
        await wire.respond("Are you ready?")
        async with wire.run("Go.", **options):
            await tools.stuck.wait()
            await trio.testing.wait_all_tasks_blocked()

    async def after(peer: Peer) -> None:
        request = await peer.answer(*text_turn("resp_2", "done"))
        assert [item.get("content") for item in request["input"][:1]] == ["Are you ready?"]
        assert types(request)[1:4] == ["message", "message", "function_call"]
        assert "previous_response_id" not in request

    async with connected(after) as wire, wire.run("Go.", **options) as run:
        await run.finish()


async def test_a_key_is_for_one_run_at_a_time_and_one_input(autojump_clock: MockClock) -> None:
    journal = MemoryJournal()

    async def serve(peer: Peer) -> None:
        await peer.request()

    async with connected(serve) as wire:
        async with wire.run("Go.", journal=journal, key="k"):
            with pytest.raises(JournalHeld, match="'k'"):
                async with wire.run("Go.", journal=journal, key="k"):
                    pytest.fail("it runs")
        with pytest.raises(JournalMismatch, match="began with another input"):
            async with wire.run("Stop.", journal=journal, key="k"):
                pytest.fail("it runs")
        with pytest.raises(JournalMismatch, match="began with another input"):
            async with wire.run("Go.", journal=journal, key="k", previous_response_id="resp_9"):
                pytest.fail("it runs")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"key": "k"}, "a journal needs a key"),
        ({"journal": MemoryJournal()}, "a journal needs a key"),
        ({"journal": MemoryJournal(), "key": ""}, "a journal needs a key"),
        ({"tool_errors": "hide"}, "tool_errors must be one of tell, tell_type, raise"),
        ({"unknown": "hide"}, "unknown must be one of tell, raise"),
    ],
)
async def test_what_makes_no_sense_is_refused(autojump_clock: MockClock, options: Json, words: str) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()

    async with connected(serve) as wire:
        with pytest.raises(LocalProtocolError, match=words):
            async with wire.run("Go.", **options):
                pytest.fail("it runs")


# What fails a run


@attrs.define
class Full:
    """A journal of one run, whose disk is full after so many entries."""

    room: int

    @property
    def entries(self) -> Sequence[bytes]:
        return ()

    async def append(self, entries: Sequence[bytes]) -> None:
        await trio.lowlevel.checkpoint()
        self.room -= len(entries)
        if self.room < 0:
            raise JournalError("cannot write to the journal: there is no room on its disk")

    @asynccontextmanager
    async def open(self, key: str) -> AsyncGenerator[Full]:
        await trio.lowlevel.checkpoint()
        yield self


async def test_without_a_journal_that_can_be_written_no_tool_runs(autojump_clock: MockClock) -> None:
    """The turn that still talks is cut off, and what runs is cancelled."""
    tools = Tools()

    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"), done(SECOND))
        await tools.stuck.wait()
        peer.say(done(FIRST, 1))

    async with (
        no_leaks(),
        connected(serve) as wire,
        wire.run("Go.", tools=[tools.note, tools.stick], journal=Full(3), key="k") as run,
    ):
        with pytest.raises(JournalError, match="no room on its disk"):
            await run.finish()
        assert [call.call_id for call in run.summary().unfinished] == ["c2"]
    assert tools.did == ["stick"]


async def test_an_exception_of_a_tool_can_fail_the_run(autojump_clock: MockClock) -> None:
    tools = Tools()

    async def fail(how: str) -> None:
        await tools.stuck.wait()
        raise ToolError("not today") if how == "told" else ValueError("secret")

    async def tell(peer: Peer) -> None:
        await peer.answer(*call_turn("resp_1", call("c0", "fail", '{"how":"told"}'), call("c1", "fail", '{"how":""}')))
        request = await peer.answer(*text_turn("resp_2", "done"))
        assert outputs(request) == ["ToolError: not today", "ToolError: ValueError"]

    both = call("c1", "fail", '{"how":""}')

    async def stop(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"), done(both), done(SECOND, 1))

    async with (
        no_leaks(),
        connected(stop) as wire,
        wire.run("Go.", tools=[fail, tools.stick], tool_errors="raise") as run,
    ):
        with pytest.raises(ToolFailed, match=r"tool fail \(c1\) failed: ValueError: secret") as caught:
            await run.finish()
        assert isinstance(caught.value.__cause__, ValueError)
    async with connected(tell) as wire, wire.run("Go.", tools=[fail], tool_errors="tell_type") as run:
        await run.finish()


async def test_a_tool_that_tells_the_model_fails_nothing(autojump_clock: MockClock) -> None:
    async def fail() -> None:
        raise ToolError("not today")

    async def serve(peer: Peer) -> None:
        await peer.answer(*call_turn("resp_1", call("c1", "fail", "{}")))
        request = await peer.answer(*text_turn("resp_2", "done"))
        assert outputs(request) == ["ToolError: not today"]

    async with connected(serve) as wire, wire.run("Go.", tools=[fail], tool_errors="raise") as run:
        await run.finish()


async def test_a_thread_that_is_left_alone_is_counted_and_unknown(tmp_path: Path) -> None:
    go_on = threading.Event()
    limits = attrs.evolve(LIMITS, tool_seconds=0.01, cleanup=0.01)

    def stubborn() -> None:
        go_on.wait(30)

    async def serve(peer: Peer) -> None:
        await peer.answer(*call_turn("resp_1", call("c1", "stubborn", "{}")))
        await peer.answer(*text_turn("resp_2", "done"))

    path = tmp_path / "journal.db"
    with trio.fail_after(20):
        async with connected(serve, limits=limits) as wire:
            async with wire.run("Go.", tools=[stubborn], journal=path, key="k") as run:
                await run.finish()
                assert run.statistics().tools_abandoned == 1
            async with wire.run("Go.", tools=[stubborn], journal=path, key="k") as run:
                await run.finish()
                assert run.results["c1"].unknown
    go_on.set()


async def test_calls_that_only_the_last_event_tells_of_are_written_down(autojump_clock: MockClock) -> None:
    journal, tools = MemoryJournal(), Tools()
    await die(journal, tools, created("resp_1"), ended("resp_1", output=[FIRST, SECOND]))

    async def serve(peer: Peer) -> None:
        request = await peer.answer(*text_turn("resp_2", "done"))
        assert types(request) == ["message", *["function_call"] * 2, *["function_call_output"] * 2]

    async with (
        connected(serve) as wire,
        wire.run("Go.", tools=[tools.note, tools.stick], journal=journal, key="k") as run,
    ):
        await run.finish()
    assert sorted(tools.did) == ["one", "stick"]
