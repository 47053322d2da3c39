"""Runs: the loop of turns and tools, its steps, its bounds and its ends."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentwire.client import (
    CallUnanswerable,
    ReasoningDelta,
    RunLost,
    ServerToolFinished,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnsExhausted,
    TurnStarted,
)
from agentwire.link import Fate, RequestLost, ResponseError, TurnOverflow
from agentwire.protocol.errors import LocalProtocolError, RequestError
from agentwire.protocol.tools import OpaqueTool
from agentwire.runtime.policies import Cancel, Resume
from agentwire.runtime.tools import ToolCall, tool
from agentwire.testing import Fault, network, no_leaks
from tests.client.kit import connected, kinds, steps_of
from tests.link.peer import LIMITS, Json, Peer, call, call_turn, created, delta, done, ended, error, message, text_turn


async def grep(pattern: str) -> str:
    return f"found {pattern}"


async def nap(seconds: int) -> str:
    await trio.sleep(seconds)
    return f"slept {seconds}"


async def forever() -> None:
    await trio.sleep_forever()


# The loop


async def test_a_run_is_turns_and_tools_until_the_model_is_done(autojump_clock: MockClock) -> None:
    requests: list[Json] = []

    async def serve(peer: Peer) -> None:
        requests.append(await peer.answer(*call_turn("resp_1", call("c1", "grep", '{"pattern":"x"}'))))
        requests.append(await peer.answer(*text_turn("resp_2", "It is ", "there.")))

    async with (
        no_leaks(),
        connected(serve, model="m") as wire,
        wire.run("Find x.", tools=[grep], instructions="Search.") as run,
    ):
        steps = await steps_of(run)
        begun = kinds(steps[: steps.index(TurnStarted(2, "resp_2"))])
        assert sorted(begun) == ["ToolFinished", "ToolStarted", "TurnFinished", "TurnStarted"]
        assert begun.index("TurnStarted") == 0
        assert begun.index("ToolStarted") < begun.index("ToolFinished")
        assert kinds(steps[4:]) == ["TurnStarted", "TextDelta", "TextDelta", "TurnFinished"]
        assert run.text == "It is there."
        assert run.response is not None
        assert (run.response.id, run.turns, run.usage.total_tokens) == ("resp_2", 2, 10)
        assert {call_id: result.text for call_id, result in run.results.items()} == {"c1": "found x"}
        assert (await run.finish()) is run.response
    first, second = requests
    assert first["input"] == [{"type": "message", "role": "user", "content": "Find x."}]
    assert second["previous_response_id"] == "resp_1"
    assert second["input"] == [{"type": "function_call_output", "call_id": "c1", "output": "found x"}]
    for request in requests:  # settings are never inherited
        assert (request["instructions"], request["tools"][0]["name"], request["model"]) == ("Search.", "grep", "m")


async def test_finish_needs_nobody_who_reads_steps(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(*call_turn("resp_1", call("c1", "grep", '{"pattern":"x"}')))
        await peer.answer(created("resp_2"), *(delta("x") for _ in range(500)), ended("resp_2", output=[message("ok")]))

    async with connected(serve, tools=[grep]) as wire, wire.run("Go.") as run:
        assert (await run.finish()).output_text == "ok"
        assert run.statistics().steps_waiting == 0


async def test_tools_run_side_by_side_from_the_moment_they_are_called(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        calls = [call(f"c{seconds}", "nap", f'{{"seconds":{seconds}}}') for seconds in (3, 1, 2)]
        await peer.request()
        peer.say(created("resp_1"), done(calls[0]))
        await trio.sleep(2)
        peer.say(done(calls[1], 1), done(calls[2], 2))
        await trio.sleep(2)
        peer.say(ended("resp_1", output=calls))
        request = await peer.answer(*text_turn("resp_2", "done"))
        assert [item["output"] for item in request["input"]] == ["slept 3", "slept 1", "slept 2"]

    began = trio.current_time()
    async with connected(serve) as wire, wire.run("Go.", tools=[nap]) as run:
        finished = [step for step in await steps_of(run) if isinstance(step, ToolFinished)]
        assert {step.call.call_id: step.seconds for step in finished} == {"c3": 3, "c1": 1, "c2": 2}
    assert trio.current_time() == began + 4


async def test_so_many_tools_run_at_once(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(*call_turn("resp_1", *(call(f"c{n}", "nap", '{"seconds":1}') for n in range(6))))
        await peer.answer(*text_turn("resp_2", "done"))

    began = trio.current_time()
    async with connected(serve) as wire, wire.run("Go.", tools=[nap], concurrency=2) as run:
        await run.finish()
    assert trio.current_time() == began + 3


async def test_what_the_tools_answer_badly_goes_to_the_model(autojump_clock: MockClock) -> None:
    custom = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c3", "name": "exec", "input": "ls"}

    async def serve(peer: Peer) -> None:
        await peer.answer(*call_turn("resp_1", call("c1", "missing"), call("c2", "grep", "{}"), custom))
        request = await peer.answer(*text_turn("resp_2", "done"))
        first, second, third = request["input"]
        assert first["output"] == "ToolError: there is no tool 'missing'; the tools are: grep"
        assert "missing required field `pattern`" in second["output"]
        assert (third["type"], third["output"]) == (
            "custom_tool_call_output",
            "ToolError: there is no free-text tool 'exec'",
        )

    async with connected(serve) as wire, wire.run("Go.", tools=[grep]) as run:
        await run.finish()


async def test_a_free_text_tool_gets_what_the_model_wrote(autojump_clock: MockClock) -> None:
    asked = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c1", "name": "shell", "input": 'ls "a"\n'}

    @tool(free_text={"type": "grammar", "syntax": "regex", "definition": "ls .*"})
    async def shell(command: str) -> str:
        """Run a command."""
        return f"ran {command!r}"

    async def serve(peer: Peer) -> None:
        request = await peer.answer(*call_turn("resp_1", asked))
        grammar = {"type": "grammar", "syntax": "regex", "definition": "ls .*"}
        offered = {"type": "custom", "name": "shell", "description": "Run a command.", "format": grammar}
        assert request["tools"] == [offered]
        request = await peer.answer(*text_turn("resp_2", "done"))
        output = {"type": "custom_tool_call_output", "call_id": "c1", "output": "ran 'ls \"a\"\\n'"}
        assert request["input"] == [output]

    async with connected(serve) as wire, wire.run("Go.", tools=[shell]) as run:
        await run.finish()


async def test_a_call_id_runs_once(autojump_clock: MockClock) -> None:
    ran: list[str] = []

    async def deploy(env: str, call: ToolCall) -> str:
        ran.append(f"{call.id} {env}")
        return f"deployed {env}"

    async def serve(peer: Peer) -> None:
        first = call("c1", "deploy", '{"env":"a"}')
        await peer.answer(*call_turn("resp_1", first, first))
        request = await peer.answer(*call_turn("resp_2", call("c1", "deploy", '{"env":"a"}')))
        assert [item["output"] for item in request["input"]] == ["deployed a"]
        request = await peer.answer(*call_turn("resp_3", call("c1", "deploy", '{"env":"b"}')))
        assert [item["output"] for item in request["input"]] == ["deployed a"]
        request = await peer.answer(*text_turn("resp_4", "done"))
        assert "was used before, for another call; it was not run" in request["input"][0]["output"]

    async with connected(serve) as wire, wire.run("Go.", tools=[deploy]) as run:
        await run.finish()
    assert ran == ["c1 a"]


async def test_of_two_calls_with_one_id_the_first_runs_and_is_answered(autojump_clock: MockClock) -> None:
    ran: list[str] = []

    async def deploy(env: str) -> str:
        ran.append(env)
        return f"deployed {env}"

    async def serve(peer: Peer) -> None:
        calls = (call("c1", "deploy", '{"env":"a"}'), call("c1", "deploy", '{"env":"b"}'))
        await peer.answer(*call_turn("resp_1", *calls))
        request = await peer.answer(*text_turn("resp_2", "done"))
        assert [item["output"] for item in request["input"]] == ["deployed a"]

    async with connected(serve) as wire, wire.run("Go.", tools=[deploy]) as run:
        await run.finish()
    assert ran == ["a"]


async def test_calls_that_only_the_last_event_tells_of_are_run(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(created("resp_1"), ended("resp_1", output=[call("c1", "grep", '{"pattern":"x"}')]))
        request = await peer.answer(*text_turn("resp_2", "done"))
        assert request["input"][0]["output"] == "found x"

    async with connected(serve) as wire, wire.run("Go.", tools=[grep]) as run:
        await run.finish()


async def test_reasoning_and_the_servers_own_tools_are_steps(autojump_clock: MockClock) -> None:
    place = {"item_id": "rs_1", "output_index": 0}
    mcp = {"type": "mcp_call", "id": "mcp_1", "server_label": "s", "name": "look", "arguments": "{}", "output": "seen"}

    async def serve(peer: Peer) -> None:
        await peer.answer(
            created("resp_1"),
            {"type": "response.reasoning_text.delta", "content_index": 0, "delta": "hm", **place},
            {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": "aha", **place},
            done(mcp),
            ended("resp_1", output=[mcp, message("ok")]),
        )

    async with connected(serve) as wire, wire.run("Go.") as run:
        steps = await steps_of(run)
    assert steps[1:3] == [ReasoningDelta("hm"), ReasoningDelta("aha")]
    assert isinstance(steps[3], ServerToolFinished)
    assert steps[3].call.output == "seen"


async def test_a_forced_choice_of_tools_counts_for_the_first_turn(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        first = await peer.answer(*call_turn("resp_1", call("c1", "grep", '{"pattern":"x"}')))
        second = await peer.answer(*text_turn("resp_2", "done"))
        assert (first["tool_choice"], second.get("tool_choice", "auto")) == ("required", "auto")

    async with connected(serve) as wire, wire.run("Go.", tools=[grep], tool_choice="required") as run:
        await run.finish()


async def test_a_run_has_its_lane_for_itself(autojump_clock: MockClock) -> None:
    lanes: list[tuple[str, str | None]] = []

    async def serve(peer: Peer) -> None:
        for number in range(3):
            request = await peer.request()
            lane = request.get("stream_id")
            content = request["input"][0].get("content", "output")
            lanes.append((content, lane))
            calls = content == "Run."
            turn = call_turn("resp_r", call("c1", "ask", "{}")) if calls else text_turn(f"resp_{number}", "done")
            peer.say(*turn, lane=lane)

    async with connected(serve) as wire:

        async def ask() -> str:
            return (await wire.respond("Turn.")).output_text  # while the run's lane is idle

        async with wire.run("Run.", tools=[ask]) as run:
            await run.finish()
    assert lanes == [("Run.", None), ("Turn.", "auto-1"), ("output", None)]


# Its ends


async def test_max_turns_end_a_run_with_everything_so_far(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        for number in range(3):
            await peer.answer(*call_turn(f"resp_{number}", call(f"c{number}", "grep", '{"pattern":"x"}')))

    async with connected(serve) as wire, wire.run("Go.", tools=[grep], max_turns=3) as run:
        with pytest.raises(TurnsExhausted, match="not done after 3 turns") as caught:
            await steps_of(run)
    summary = caught.value.summary
    assert (summary.turns, list(summary.results), summary.usage.total_tokens) == (3, ["c0", "c1", "c2"], 15)
    assert summary.response is not None
    assert summary.response.id == "resp_2"


async def test_an_incomplete_response_ends_a_run(autojump_clock: MockClock) -> None:
    whole, half = call("c1", "grep", '{"pattern":"x"}'), {**call("c2", "grep", '{"pat'), "status": "incomplete"}

    async def serve(peer: Peer) -> None:
        await peer.answer(created("resp_1"), done(whole), done(half, 1), ended("resp_1", "incomplete", [whole, half]))

    async with connected(serve) as wire, wire.run("Go.", tools=[grep]) as run:
        response = await run.finish()
        assert response.status == "incomplete"
        assert list(run.results) == ["c1"]


async def test_what_no_function_can_answer_ends_a_run(autojump_clock: MockClock) -> None:
    click = {"type": "computer_call", "id": "cc_1", "call_id": "c9", "action": {}, "status": "completed"}

    async def serve(peer: Peer) -> None:
        await peer.answer(*call_turn("resp_1", click))

    tools = [OpaqueTool({"type": "computer"})]
    async with connected(serve) as wire, wire.run("Go.", tools=tools) as run:
        with pytest.raises(CallUnanswerable, match="computer_call") as caught:
            await run.finish()
    assert caught.value.item.raw["call_id"] == "c9"
    assert caught.value.summary.response is not None


async def test_a_refusal_ends_a_run_and_cancels_nothing_that_ran(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(*call_turn("resp_1", call("c1", "grep", '{"pattern":"x"}')))
        await peer.answer(error("model_not_found"))
        await peer.answer(*text_turn("resp_2", "ok"))

    async with connected(serve) as wire:
        async with wire.run("Go.", tools=[grep]) as run:
            with pytest.raises(RequestError, match="model_not_found"):
                await run.finish()
            assert list(run.results) == ["c1"]
        assert (await wire.respond("Next.")).output_text == "ok"


async def test_a_failed_response_cancels_the_tools_that_it_called(autojump_clock: MockClock) -> None:
    reasons: list[str] = []

    async def hang() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            reasons.append(str(cancelled.reason))
            raise

    async def serve(peer: Peer) -> None:
        await peer.answer(created("resp_1"), done(call("c1", "hang")))
        await trio.sleep(1)
        peer.say(ended("resp_1", "failed", error={"code": "server_error", "message": "Broke."}))

    async with no_leaks(), connected(serve) as wire, wire.run("Go.", tools=[hang]) as run:
        with pytest.raises(ResponseError, match="Broke"):
            await run.finish()
        assert run.summary().unfinished[0].call_id == "c1"
    assert reasons == ["the run failed: 500 server_error: Broke."]


async def test_leaving_a_run_cancels_its_tools_and_waits_for_their_cleanup(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    async def hang() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            seen.append(str(cancelled.reason))
            raise
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            seen.append("clean")

    async def serve(peer: Peer) -> None:
        await peer.answer(*call_turn("resp_1", call("c1", "hang")))
        await peer.answer(*text_turn("resp_2", "ok"))

    async with no_leaks(), connected(serve) as wire:
        async with wire.run("Go.", tools=[hang]) as run:
            async for step in run:
                if isinstance(step, ToolStarted):
                    break
        assert seen == ["the run was left", "clean"]
        assert (await wire.respond("Next.")).output_text == "ok"


async def test_what_the_body_raises_comes_out_as_itself(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(*call_turn("resp_1", call("c1", "forever")))

    async with connected(serve) as wire:
        with pytest.raises(KeyError, match="body"):
            async with wire.run("Go.", tools=[forever]):
                raise KeyError("body")


async def test_the_models_text_waits_for_a_slow_watcher_and_tools_do_not(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        calls = [call(f"c{number}", "grep", '{"pattern":"x"}') for number in range(10)]
        items = [done(item, index) for index, item in enumerate(calls)]
        await peer.answer(created("resp_1"), *items, *(delta("x") for _ in range(50)), ended("resp_1", output=calls))
        await peer.answer(*text_turn("resp_2", "done"))

    limits = attrs.evolve(LIMITS, run_steps=4)
    async with connected(serve, limits=limits) as wire, wire.run("Go.", tools=[grep]) as run:
        await trio.sleep(10)
        statistics = run.statistics()
        assert (statistics.turns, statistics.tools_finished) == (1, 10)
        assert statistics.steps_waiting <= 4 + 2 * 10
        steps = await steps_of(run)
        assert sum(isinstance(step, TextDelta) for step in steps) == 51


async def test_a_watcher_that_never_reads_costs_its_run_alone(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(created("resp_1"), *(delta("x" * 100) for _ in range(200)), ended("resp_1"))
        await peer.answer(*text_turn("resp_2", "fine"))

    limits = attrs.evolve(LIMITS, run_steps=4, turn_buffer_bytes=5000)
    async with connected(serve, limits=limits) as wire, wire.run("Go.") as run:
        await trio.sleep(1)
        assert (await wire.respond("Hi", stream_id="other")).output_text == "fine"
        with pytest.raises(TurnOverflow):
            await steps_of(run)


@pytest.mark.parametrize("bound", ["max_turns", "concurrency"])
async def test_bounds_are_checked(autojump_clock: MockClock, bound: str) -> None:
    async def serve(peer: Peer) -> None: ...

    async with connected(serve) as wire:
        with pytest.raises(LocalProtocolError, match=f"{bound} must be at least 1"):
            async with wire.run("Go.", **{bound: 0}):  # type: ignore[arg-type]
                raise AssertionError("it must not start")


async def test_a_function_that_is_no_tool_is_refused_before_connecting() -> None:
    def bad(*args: int) -> None: ...

    async def serve(peer: Peer) -> None: ...

    with pytest.RaisesGroup(LocalProtocolError):
        async with connected(serve, tools=[bad]):
            raise AssertionError("it must not connect")


# The connection is lost


class Witness:
    """Tools that tell what became of them."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.ended: list[float] = []

    async def work(self, seconds: int) -> str:
        try:
            await trio.sleep(seconds)
        except trio.Cancelled as cancelled:
            self.reasons.append(str(cancelled.reason))
            raise
        finally:
            self.ended.append(trio.current_time())
        return f"worked {seconds}"


@pytest.mark.parametrize("after_the_turn", [True, False])
async def test_cancel_ends_the_tools_with_the_connection(autojump_clock: MockClock, after_the_turn: bool) -> None:
    witness, net = Witness(), network()
    calls = [call("c1", "work", '{"seconds":1}'), call("c2", "work", '{"seconds":100}')]

    async def serve(peer: Peer) -> None:
        turn = call_turn("resp_1", *calls)
        await peer.answer(*(turn if after_the_turn else turn[:-1]))
        await trio.sleep(5)
        net.arm(Fault("reset"))

    began = trio.current_time()
    async with (
        no_leaks(),
        connected(serve, net=net, on_disconnect=Cancel()) as wire,
        wire.run("Go.", tools=[witness.work]) as run,
    ):
        with pytest.raises(RunLost, match="reset by the peer") as caught:
            await steps_of(run)
    lost = caught.value
    assert witness.reasons == [
        "the connection was lost: connection ended: connection reset by the peer (no close frame sent or received)"
    ]
    assert witness.ended == [began + 1, began + 5]
    assert {call_id: result.text for call_id, result in lost.summary.results.items()} == {"c1": "worked 1"}
    assert [unfinished.call_id for unfinished in lost.summary.unfinished] == ["c2"]
    assert lost.response_id == "resp_1"
    assert lost.fate is (Fate.FINISHED if after_the_turn else Fate.STARTED)


async def test_a_lost_connection_does_not_touch_a_long_tool(autojump_clock: MockClock) -> None:
    witness, net = Witness(), network()

    async def lose(peer: Peer) -> None:
        await peer.answer(*call_turn("resp_1", call("c1", "work", '{"seconds":500}')))
        await trio.sleep(5)
        net.arm(Fault("cut"))

    async def go_on(peer: Peer) -> None:
        request = await peer.answer(*text_turn("resp_2", "done"))
        assert "previous_response_id" not in request
        assert [item["type"] for item in request["input"]] == ["message", "function_call", "function_call_output"]

    async with (
        no_leaks(),
        connected(lose, go_on, net=net, on_disconnect=Resume(within=20)) as wire,
        wire.run("Go.", tools=[witness.work]) as run,
    ):
        assert (await run.finish()).output_text == "done"
        assert run.summary().lost == 0
    assert witness.reasons == []


async def test_a_run_that_nobody_takes_up_again_has_the_results_of_its_tools(autojump_clock: MockClock) -> None:
    witness, net = Witness(), network()

    async def lose(peer: Peer) -> None:
        await peer.answer(*call_turn("resp_1", call("c1", "work", '{"seconds":100}')))
        await trio.sleep(5)
        net.arm(Fault("cut"))

    async with (
        no_leaks(),
        connected(lose, net=net, on_disconnect=Resume(within=20)) as wire,
        wire.run("Go.", tools=[witness.work]) as run,
    ):
        with pytest.raises(RunLost, match="never sent") as caught:
            await run.finish()
    assert {call_id: result.text for call_id, result in caught.value.summary.results.items()} == {"c1": "worked 100"}
    assert witness.reasons == []


async def test_an_answer_that_was_whole_when_the_connection_ended_counts(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(*text_turn("resp_1", "done"))
        await peer.wire.close(1012, "going down")

    async with connected(serve) as wire, wire.run("Go.") as run:
        await trio.sleep(1)
        assert (await run.finish()).output_text == "done"


async def test_a_run_on_a_dead_connection_says_so(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.wire.close(1012, "going down")

    async with connected(serve, on_disconnect=Cancel()) as wire:
        await wire.wait_ended()
        with pytest.raises(RequestLost, match="going down") as caught:
            async with wire.run("Go."):
                raise AssertionError("it must not start")
        assert caught.value.fate is Fate.NEVER_SENT


async def test_steps_carry_numbers_and_ids(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(*call_turn("resp_1", call("c1", "grep", '{"pattern":"x"}')))
        await peer.answer(*text_turn("resp_2", "done"))

    @tool(name="grep")
    def search(pattern: str) -> str:
        return pattern

    async with connected(serve, tools=[search]) as wire, wire.run("Go.") as run:
        started = [step for step in await steps_of(run) if isinstance(step, TurnStarted)]
    assert started == [TurnStarted(1, "resp_1"), TurnStarted(2, "resp_2")]
