"""What is counted, what an engine is shown, and what becomes of turns at the edges: programs on the bare wire.

They look at the server's own figures and at what its engine was asked, where a client alone sees no difference.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import attrs
import pytest
import trio

from agentwire.protocol.errors import EngineError
from agentwire.protocol.items import Message
from agentwire.protocol.limits import Limits
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Ask, Finish, Out, Stored, Summarized
from agentwire.stores import MemoryStore
from agentwire.testing import Rig
from agentwire.testing.conformance import Peer
from agentwire.testing.conformance.turns import Turn
from agentwire.testing.conformance.wire import Closed
from tests.mutants.extended import (
    EXTENDED,
    a_session,
    count,
    engine_of,
    extended,
    hello,
    is_error,
    resume,
    seen,
    speaking,
)

__all__ = ["EXTENDED"]

USER = "user"


def latest(ask: Ask) -> str:
    """The user's last words."""
    return [item.text for item in ask.items if isinstance(item, Message) and item.role == USER][-1]


@attrs.define
class Noting:
    """An engine that notes what it is asked, and does what it is told."""

    asks: list[Ask] = attrs.field(factory=list)
    memos: list[Any] = attrs.field(factory=list)
    compacts: int = 0
    context_tokens: int = 100_000

    async def __call__(self, ask: Ask, out: Out) -> Finish | None:
        """One step: three tokens out, seven in."""
        self.asks.append(ask)
        self.memos.append(ask.memo.value)
        ask.memo.value = f"{ask.memo.value or ''}{len(self.asks)}"
        words = latest(ask).split()
        used = Usage(7, 3)
        match words[0]:
            case "fail":
                out.use(used)
                await out.text("well")
                raise EngineError("It broke.", code="broken", status=502, param="input[0]")
            case "break":
                await out.text("well")
                await trio.sleep(5)
                raise EngineError("It is out of ink.")
            case "pause":
                await out.text("well")
                await trio.sleep(5)
            case "refuse":
                raise EngineError("No.", code="rate_limit_exceeded", status=429, headers={"retry-after": "7"})
            case "hang":
                out.use(used)
                await out.text("so")
                await trio.sleep_forever()
            case "stop":
                await out.text("half")
                return Finish(used, incomplete="max_output_tokens")
            case "count" if ask.step < int(words[1]):
                await out.call("count", {"at": ask.step})
                return Finish(used, members={"model": f"m{ask.step}"})
        await out.text("done")
        return Finish(used)

    async def compact(self, ask: Ask) -> Summarized:
        """A summary."""
        self.compacts += 1
        return Summarized("in short", Usage(11, 5))


def noting(rig: Rig) -> Noting:
    """The engine of a program."""
    assert isinstance(rig.engine, Noting)
    return rig.engine


@contextmanager
def logged() -> Iterator[list[str]]:
    """What the log of turns says meanwhile."""
    lines: list[str] = []
    log, disabled = logging.getLogger("agentwire.turn"), logging.root.manager.disable
    handler, level = logging.Handler(), log.level
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.disable(logging.NOTSET)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        logging.disable(disabled)


@extended(engine=Noting, tools=[count], keys=["sk-one", "sk-two"])
async def everything_is_counted(rig: Rig, peer: Peer) -> None:
    """Turns by outcome, tokens by outcome and by owner, calls, sessions, ends; and a line of the log for each."""
    peer = attrs.evolve(peer, key="sk-one")
    with logged() as lines:
        async with peer.socket() as socket:
            await hello(socket, ["response.cancel"])
            good = (await socket.ask("hi")).completed()
            counted = (await socket.ask("count 2", previous_response_id=good.id)).completed()
            failed = await socket.ask("fail")
            refused = await socket.ask("hi", temperature=9)
            lost = await socket.ask("hi", previous_response_id="resp_none")
            stopped = await socket.ask("stop")
            running = await speaking(socket, "hang")
            await socket.ws.send({"type": "agentwire:response.cancel", "response_id": running})
            cancelled = await socket.until("response.failed")
            left = await speaking(socket, "hang", stream_id="z")
        await rig.gone()
    assert refused.failed
    assert lost.failed
    shown = rig.server.statistics()
    assert shown.turns == {
        "completed": 2,
        "failed": 1,
        "refused": 1,
        "previous_response_not_found": 1,
        "incomplete": 1,
        "cancelled": 2,
    }
    assert {name: (used.input_tokens, used.output_tokens) for name, used in shown.used.items()} == {
        "completed": (28, 12),
        "failed": (7, 3),
        "incomplete": (7, 3),
        "cancelled": (14, 6),
    }
    assert [used.input_tokens for used in shown.used_by.values()] == [56]
    assert (shown.tool_calls, shown.sessions_total) == (2, 1)
    assert sum(shown.ended.values()) == 1
    for turn, tokens in ((good, 7), (counted, 21), (failed, 7), (stopped, 7)):
        assert turn.response["usage"]["input_tokens"] == tokens
    assert cancelled[-1]["response"]["usage"]["input_tokens"] == 7
    assert counted.response["model"] == "m1"
    told = "\n".join(lines)
    for part in (
        f"response {good.id}: completed after ",
        f"response {failed.id}: failed (broken) after ",
        f"response {stopped.id}: incomplete (max_output_tokens) after ",
        f"response {running}: cancelled (agentwire:cancelled) after ",
        f"response {left}: cancelled after ",
        "a request: refused (previous_response_not_found) after 0.000 s, for ",
        "model 'm', 7 tokens in (0 cached), 3 out, for ",
    ):
        assert part in told, (part, told)
    seconds = [float(line.split(" after ")[1].split()[0]) for line in lines if " after " in line]
    assert all(0 <= took < 100 for took in seconds), lines


@extended(engine=Noting, tools=[count])
async def an_engine_is_shown_the_whole_turn(rig: Rig, peer: Peer) -> None:
    """Steps, items, the owner, the root of the conversation, and a memo that goes with it."""
    async with peer.socket() as socket:
        first = (await socket.ask("count 2", stream_id="a")).completed()
        second = (await socket.ask("hi", stream_id="a", previous_response_id=first.id)).completed()
        fork = (await socket.ask("ho", stream_id="b", previous_response_id=second.id)).completed()
        again = (await socket.ask("he", stream_id="a", previous_response_id=second.id)).completed()
    asks, memos = noting(rig).asks, noting(rig).memos
    assert [ask.step for ask in asks] == [0, 1, 2, 0, 0, 0]
    assert [ask.response_id for ask in asks] == [first.id] * 3 + [second.id, fork.id, again.id]
    assert {ask.root_id for ask in asks} == {first.id}
    assert len({ask.principal for ask in asks}) == 1
    assert all(ask.principal for ask in asks)
    assert [ask.used_tokens for ask in asks] == [0, 3, 6, 0, 0, 0]
    assert memos == [None, "1", "12", "123", "1234", "1234"]
    kinds = [[item.type for item in ask.items] for ask in asks[:4]]
    assert kinds[0] == ["message"]
    assert (len(kinds[1]), len(kinds[2]), len(kinds[3])) == (2, 3, 5)
    assert all("count" in [getattr(tool, "name", None) for tool in ask.tools] for ask in asks)
    assert [ask.request.previous_response_id for ask in asks[3:]] == [first.id, second.id, second.id]


@extended(engine=Noting, tools=[count])
async def tokens_are_bounded_over_all_steps(rig: Rig, peer: Peer) -> None:
    """What is left of the bound goes from step to step, and nothing is asked when nothing is left."""
    async with peer.socket() as socket:
        turn = await socket.ask("count 9", max_output_tokens=16)
        assert turn.end["type"] == "response.incomplete"
        assert turn.response["incomplete_details"] == {"reason": "max_output_tokens"}
        assert [ask.max_output_tokens for ask in noting(rig).asks] == [16, 13, 10, 7, 4, 1]
        assert turn.response["usage"]["output_tokens"] == 18
        await socket.usable()


@extended(engine=Noting, tools=[count], limits=Limits(steps=4))
async def steps_end_with_an_error_in_full(rig: Rig, peer: Peer) -> None:
    """Who does not come to an end is told so, exactly."""
    async with peer.socket() as socket:
        turn = await socket.ask("count 9")
        error = turn.events[-2]
        assert (error["status"], error["error"]["code"]) == (500, "server_error")
        assert "4 steps" in error["error"]["message"]
        assert turn.response["error"]["code"] == "server_error"
        assert turn.response["error"]["message"] == error["error"]["message"]
        assert "param" not in turn.response["error"]
        assert len(noting(rig).asks) == 4


@extended(engine=Noting)
async def a_failure_says_what_its_engine_said(rig: Rig, peer: Peer) -> None:
    """Code, status and words, in the error and in the response; and what was used."""
    async with peer.socket() as socket:
        turn = await socket.ask("fail")
        error = turn.events[-2]
        assert (error["status"], error["error"]["code"], error["error"]["message"]) == (502, "broken", "It broke.")
        assert turn.response["error"]["code"] == "broken"
        assert turn.response["error"]["param"] == error["error"]["param"] == "input[0]"
        assert turn.response["usage"]["output_tokens"] == 3
        assert turn.response["completed_at"] is None
        assert turn.response["incomplete_details"] is None
        turn = await socket.ask("refuse")
        assert turn.events[-2]["status"] == 429
        assert turn.response["usage"] is None
        turn = await socket.ask("stop")
        assert turn.response["incomplete_details"] == {"reason": "max_output_tokens"}
        assert turn.response["error"] is None
        assert turn.response["completed_at"] is None
        assert (await socket.ask("hi")).completed().response["completed_at"] is not None


@extended(engine=Noting)
async def a_warm_up_counts_what_it_read(rig: Rig, peer: Peer) -> None:
    """What was known is from the cache, all else goes into it."""
    async with peer.socket() as socket:
        first = (await socket.ask("one two three four five six", generate=False)).completed()
        usage = first.response["usage"]
        assert usage["input_tokens"] > 4
        assert usage["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": usage["input_tokens"]}
        second = (await socket.ask("seven", generate=False, previous_response_id=first.id)).completed()
        more = second.response["usage"]
        details = more["input_tokens_details"]
        assert 0 < details["cached_tokens"] < more["input_tokens"]
        assert details["cached_tokens"] + details["cache_write_tokens"] == more["input_tokens"]
        assert noting(rig).asks == []


@extended(engine=Noting)
async def a_compaction_counts_for_what_it_took(rig: Rig, peer: Peer) -> None:
    """The engine's own summary is counted, as a turn's."""
    async with peer.socket() as socket:
        chain = await socket.ask("hi " * 3000)
        for _ in range(3):
            chain = (await socket.ask("ho " * 3000, previous_response_id=chain.id)).completed()
        before = rig.server.statistics().used["completed"].input_tokens
        items = [{"type": "compaction_trigger"}]
        turn = (await socket.ask(items, previous_response_id=chain.id)).completed()
        assert noting(rig).compacts == 1
        assert turn.response["usage"]["input_tokens"] == 11
        assert rig.server.statistics().used["completed"].input_tokens == before + 11
        assert [item["type"] for item in turn.output] == ["compaction"]


@extended(limits=Limits(lanes=2, queued=2, running=1, steers=1))
async def refusals_say_what_and_where(rig: Rig, peer: Peer) -> None:
    """Codes, places, words, and what to do, of what a connection cannot take."""
    async with peer.socket() as socket:
        (await socket.ask("one")).completed()  # the lane without a name is none of those that are counted
        running = await speaking(socket, "forever", stream_id="a")
        await socket.create("x", stream_id="b")
        await socket.create("x", stream_id="c")
        event = (await socket.until("error", lane="c"))[-1]
        is_error(event, "websocket_stream_limit_reached", "stream_id")
        assert "2 streams" in event["error"]["message"]
        await socket.create("x", stream_id="a")
        await socket.create("x", stream_id="a")
        event = [event for event in await socket.until("error", lane="a") if event["type"] == "error"][-1]
        is_error(event, "websocket_queue_full", status=429)
        assert "2 requests" in event["error"]["message"]
        assert event["headers"] == {"retry-after": "1"}

        async def steer(**more: Any) -> dict[str, Any]:
            message = {"type": "response.steer", "previous_response_id": running, "input": "Stop.", **more}
            await socket.ws.send(message)
            while not (event := await socket.receive())["type"].startswith("response.steer"):
                pass
            return event

        event = await steer(stream_id="a")
        assert event["error"]["code"] == "invalid_input", event
        assert "stream_id" in event["error"]["message"], event
        event = await steer(previous_response_id="resp_none")
        assert event["error"]["code"] == "response_not_found"
        assert "resp_none" in event["error"]["message"]
        assert event["sequence_number"] == 0
        await socket.ws.send({"type": "response.inject", "response_id": "resp_none", "input": ["x"]})
        while (event := await socket.receive())["type"] != "response.inject.failed":
            pass
        assert (event["response_id"], event["input"]) == ("resp_none", ["x"])
        assert event["error"]["code"] == "response_not_found"
        assert "resp_none" in event["error"]["message"]
        assert (await steer())["type"] == "response.steer.accepted"
        event = await steer()
        assert event["error"]["code"] == "too_many_pending_steers", event


@extended()
async def a_steer_that_comes_too_late_hears_why(rig: Rig, peer: Peer) -> None:
    """While a server shuts down, nothing new begins; the steer says so."""
    async with peer.socket() as socket:
        running = await speaking(socket, "forever")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.drain)
            await trio.sleep(1)
            message = {"type": "response.steer", "previous_response_id": running, "input": "Stop."}
            await socket.ws.send(message)
            event = (await socket.until("response.steer.failed"))[-1]
            assert event["error"]["code"] == "successor_creation_failed"
            assert event["steer"]["input"] == "Stop."
            assert "restart" in event["error"]["message"] or "shut" in event["error"]["message"], event
            with suppress(Closed):
                while True:
                    await socket.receive()


@extended(engine=Noting)
async def a_steer_whose_response_fails_hears_why(rig: Rig, peer: Peer) -> None:
    """What was taken is handed back with the reason, after everything else; in a session it is an answer of its own."""
    async with peer.socket() as socket:
        running = await speaking(socket, "break", stream_id="a")
        await socket.ws.send({"type": "response.steer", "previous_response_id": running, "input": "More."})
        told = await socket.until("response.steer.failed", lane="a")
        kinds = [event["type"] for event in told]
        assert kinds[-3:] == ["error", "response.failed", "response.steer.failed"], kinds
        assert told[-1]["error"]["code"] == "successor_creation_failed"
        assert "It is out of ink." in told[-1]["error"]["message"]
        assert told[-1]["steer"]["id"] == told[0]["steer"]["id"]
        assert told[-1]["steer"]["input"] == "More."
        assert told[-1]["sequence_number"] == told[-2]["sequence_number"] + 1


@extended(engine=Noting)
async def a_steer_that_was_taken_before_a_drain_hears_why(rig: Rig, peer: Peer) -> None:
    """Its response ends well, and no successor may begin any more."""
    async with peer.socket() as socket:
        running = await speaking(socket, "pause")
        async with trio.open_nursery() as nursery:
            await socket.ws.send({"type": "response.steer", "previous_response_id": running, "input": "More."})
            await socket.until("response.steer.accepted")
            nursery.start_soon(rig.drain)
            await trio.sleep(1)
            await socket.create("x", stream_id="b")
            (refused,) = await socket.until("error", lane="b")
            told = await socket.until("response.steer.failed")
            assert told[-1]["error"]["code"] == "successor_creation_failed"
            assert told[-1]["steer"]["input"] == "More."
            assert refused["error"]["message"] in told[-1]["error"]["message"]
            with suppress(Closed):
                await socket.until("nothing of this name")


@extended(limits=Limits(queued_bytes=2_000, running=1))
async def bytes_that_wait_are_bounded_exactly(rig: Rig, peer: Peer) -> None:
    """As many as the bound says, and not one more; what has begun counts no longer."""

    def request(lane: str, size: int) -> str:
        head = f'{{"type":"response.create","stream_id":"{lane}","model":"m","store":false,"input":"'
        return head + "x" * (size - len(head) - 2) + '"}'

    async with peer.socket() as socket:
        for _ in range(2):
            running = await speaking(socket, "slowly", stream_id="a")
            assert running
            await socket.ws.send(request("b", 1_200))
            await socket.ws.send(request("c", 801))
            is_error((await socket.until("error", lane="c"))[-1], "websocket_queue_full", status=429)
            await socket.ws.send(request("d", 800))
            for lane in ("a", "b", "d"):
                with trio.fail_after(60):
                    told = await socket.until("response.completed", lane=lane)
                assert told[-1]["response"]["status"] == "completed"
            shown = rig.server.statistics()
            assert (shown.running, shown.queued) == (0, 0)


class SlowStore(MemoryStore):
    """Takes its time."""

    async def put(self, principal: str, stored: Stored) -> None:
        """Keep it after five seconds."""
        await trio.sleep(5)
        await super().put(principal, stored)


@extended(store=SlowStore)
async def what_is_ending_cannot_be_cancelled(rig: Rig, peer: Peer) -> None:
    """Between its last item and its terminal event, a response is over."""
    async with peer.socket() as socket:
        await hello(socket, ["response.cancel"])
        await socket.create("one", store=True)
        (created,) = await socket.until("response.created")
        await socket.until("response.output_item.done")
        await socket.ws.send({"type": "agentwire:response.cancel", "response_id": created["response"]["id"]})
        event = await socket.receive()
        is_error(event, "agentwire:response_not_running", "response_id")
        assert (await socket.receive())["type"] == "response.completed"
        stored = await peer.http("GET", created["response"]["id"])
        assert json.loads(stored.body)["status"] == "completed"


@extended(tools=[count])
async def a_steer_comes_between_two_steps(rig: Rig, peer: Peer) -> None:
    """The response ends before its next step, and its successor has what was steered."""
    async with peer.socket() as socket:
        await socket.create("loop")
        (created,) = await socket.until("response.created")
        message = {"type": "response.steer", "previous_response_id": created["response"]["id"], "input": "end"}
        await socket.ws.send(message)
        told = await socket.until("response.incomplete")
        assert told[-1]["response"]["incomplete_details"] == {"reason": "steered"}
        assert told[-1]["response"]["status"] == "incomplete"
        after = (await socket.finish()).completed()
        assert after.response["previous_response_id"] == created["response"]["id"]
        assert after.text.endswith("end")


@extended(limits=Limits(window_bytes=100_000))
async def a_flood_leaves_room_for_others(rig: Rig, peer: Peer) -> None:
    """However much one lane has to say, another one is told its own in between."""
    async with peer.socket() as socket:
        await socket.create("flood", stream_id="a")
        await socket.until("response.output_text.delta", lane="a")
        await socket.create("one", stream_id="b")
        await trio.sleep(5)
        said = 0
        while (event := await socket.receive()).get("stream_id") != "b" or event["type"] != "response.completed":
            said += len(json.dumps(event)) if event.get("stream_id") == "a" else 0
        assert said < 500_000, said
        (await socket.finish("a")).completed()


@extended()
async def whoever_reads_beside_takes_the_place_of_who_is_gone(rig: Rig, peer: Peer) -> None:
    """A turn whose window is full goes on as it is read over HTTP."""
    async with a_session(peer) as (socket, token):
        running = await speaking(socket, "flood")
        last = socket.events[-1]
    await trio.sleep(5)
    assert rig.server.statistics().running == 1
    place = f"{running}?stream=true&starting_after={last['sequence_number']}"
    reply = await peer.http("GET", place, headers=[("agentwire-session", token)])
    told = [json.loads(line[6:]) for line in reply.body.splitlines() if line.startswith(b"data: {")]
    assert told[0]["sequence_number"] == last["sequence_number"] + 1
    assert told[-1]["type"] == "response.completed"
    assert rig.server.statistics().running == 0


@extended()
async def a_response_goes_on_in_the_background(rig: Rig, peer: Peer) -> None:
    """A session's request that is to run without its client does so, also when the session is over."""
    async with a_session(peer) as (socket, _):
        await socket.create("slowly", background=True, store=True)
        (created,) = await socket.until("response.created")
        assert created["response"]["background"] is True
        await socket.ws.close(1000)
    await trio.sleep(1)
    assert rig.server.statistics().background.running == 1
    await trio.sleep(60)
    told = json.loads((await peer.http("GET", created["response"]["id"])).body)
    assert (told["status"], told["background"]) == ("completed", True)
    async with peer.socket() as plain:
        turn = await plain.ask("one", background=True, store=True)
        assert turn.failed


async def untidy(at: int) -> None:
    """A tool that fails while it is cleaned up."""
    try:
        await trio.sleep(1000)
    finally:
        raise RuntimeError(f"untidy at {at}")


@extended(tools=[untidy])
async def an_untidy_tool_ends_nobody_else(rig: Rig, peer: Peer) -> None:
    """What its clean-up raises when its client goes is the end of that turn alone."""
    async with peer.socket() as other:
        async with peer.socket() as socket:
            await socket.create("untidy")
            await socket.until("response.mcp_call.in_progress")
            await socket.create("one")
        await trio.sleep(1)
        assert rig.server.statistics().sessions == 1
        (await other.ask("one")).completed()
    assert len(engine_of(rig).asks) == 2


@extended(keys=["sk-one", "sk-two"])
async def a_revoked_key_ends_its_own(rig: Rig, peer: Peer) -> None:
    """Its sessions end at once, its connections with 1008; another owner's go on."""
    one, two = (attrs.evolve(peer, key=key) for key in ("sk-one", "sk-two"))
    async with one.socket() as mine, two.socket() as theirs:
        await speaking(mine, "forever")
        running = await speaking(theirs, "forever")
        principal = next(iter(ask.principal for ask in engine_of(rig).asks))
        await rig.server.revoke(principal)
        with pytest.raises(Closed) as closed:
            await mine.until("nothing of this name")
        assert closed.value.code in (1008, 1006)  # its answer to the close may find nobody any more
        await theirs.until("response.output_text.delta")
        assert rig.server.statistics().running == 1
        assert running


@extended()
async def a_session_of_another_owner_is_not_there(rig: Rig, peer: Peer) -> None:
    """With extensions alone: what was not asked for is not granted, and what was is said."""
    async with peer.socket() as socket:
        welcome = await hello(socket, ["goaway", "made-up"])
        assert welcome["extensions"] == ["goaway"]
        assert "session" not in welcome
        turn = await socket.ask("x", previous_response_id="resp_none")
        assert "agentwire:reply" not in turn.end
    await rig.gone()
    async with peer.socket(headers=[("agentwire-extensions", "sessions; within=7")]) as socket:
        welcome = await socket.receive()
        assert (welcome["type"], welcome["session"]["within"]) == ("agentwire:welcome", 7)
        running = await speaking(socket, "forever")
        token, last = welcome["session"]["token"], socket.events[-1]
    await trio.sleep(5)
    async with peer.socket() as socket:
        assert (await resume(socket, token, seen(last, running), within=7))["resumed"] is True
        await socket.until("response.output_text.delta")
    await trio.sleep(8)
    assert rig.server.statistics().detached == 0


@extended(limits=Limits(generous_responses=3), generous=True)
async def a_generous_server_remembers_more(rig: Rig, peer: Peer) -> None:
    """Three responses a lane, and no failure evicts them."""
    async with peer.socket() as socket:
        turns: list[Turn] = [(await socket.ask(str(number))).completed() for number in range(4)]
        (await socket.ask("x", previous_response_id=turns[0].id)).refused("previous_response_not_found")
        assert (await socket.ask("fail", previous_response_id=turns[1].id)).failed
        for turn in turns[1:3]:
            (await socket.ask("x", previous_response_id=turn.id, stream_id="b")).completed()
