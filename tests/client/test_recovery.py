"""What becomes of a turn that is lost or refused: asked again, said in full, or told; by the rules of the module."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentwire.client import Client
from agentwire.link import Fate, RequestLost, ResponseError
from agentwire.protocol.errors import LocalProtocolError, RequestError
from agentwire.protocol.events import OutputTextDelta
from agentwire.protocol.items import Message
from agentwire.runtime.policies import Cancel, Resume
from agentwire.testing import network, no_leaks, run
from tests.client.kit import connected
from tests.link.peer import LIMITS, Json, Peer, Script, created, delta, done, ended, error, message, text_turn

LIMIT_REACHED = error("websocket_connection_limit_reached", "Your connection has had its hour.")
MCP = {"type": "mcp", "server_label": "s", "server_url": "https://tools.example"}
MCP_CALL = {"type": "mcp_call", "id": "mcp_1", "server_label": "s", "name": "look", "arguments": "{}", "output": "seen"}
USER = {"type": "message", "role": "user"}


@attrs.define
class Asked:
    """The requests that came, whatever the connection."""

    requests: list[Json] = attrs.field(factory=list)

    def answer(self, *turns: list[Json]) -> Script:
        """A connection on which each request is answered with the next of these."""

        async def serve(peer: Peer) -> None:
            for turn in turns:
                self.requests.append(await peer.answer(*turn))

        return serve

    def lose(self, *events: Json) -> Script:
        """A connection that is lost a moment after a request came, and so much of its answer went out."""

        async def serve(peer: Peer) -> None:
            self.requests.append(await peer.answer(*events))
            await trio.sleep(1)
            await trio.aclose_forcefully(peer.stream)

        return serve

    def says(self, index: int) -> tuple[str | None, list[str]]:
        """What a request continues, and its items: the text of a message, or the type of anything else."""
        request = self.requests[index]
        return request.get("previous_response_id"), [_text(item) for item in request.get("input", ())]


def _text(item: Json) -> str:
    content = item.get("content")
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content) or item["type"]
    return str(content or item["type"])


# Lost


async def test_a_request_that_brought_nothing_is_asked_again(autojump_clock: MockClock) -> None:
    asked = Asked()
    scripts = asked.answer(text_turn("resp_1", "one")), asked.answer(text_turn("resp_3", "three"))

    async def lose(peer: Peer) -> None:
        await scripts[0](peer)
        await asked.lose()(peer)

    async with no_leaks(), connected(lose, scripts[1]) as wire:
        first = await wire.respond("1")
        async with wire.turn("2", previous_response_id=first.id) as turn:
            assert (await turn.response()).output_text == "three"
            assert turn.repeated == 1
    assert asked.says(1) == ("resp_1", ["2"])
    assert asked.says(2) == (None, ["1", "one", "2"])


async def test_a_reader_who_looks_in_now_and_then_uses_no_attempts_up(autojump_clock: MockClock) -> None:
    asked = Asked()

    async def serve(peer: Peer) -> None:
        await asked.answer([error("server_error", status=503)])(peer)
        other = await peer.request()
        await trio.sleep(20)
        peer.say(*text_turn("resp_2", "two"), lane=other["stream_id"])
        await asked.answer([error("server_error", status=503)], text_turn("resp_1", "one"))(peer)

    async with (
        no_leaks(),
        connected(serve) as wire,
        wire.lane() as lane,
        lane.turn("1") as turn,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(lane.respond, "2")
        for _ in range(10):
            with trio.move_on_after(1):
                await turn.__anext__()
        assert (await turn.response()).output_text == "one"
    assert len(asked.requests) == 3


@pytest.mark.parametrize("whole", [True, False])
async def test_an_answer_that_nobody_has_seen_is_asked_for_again(autojump_clock: MockClock, whole: bool) -> None:
    asked = Asked()
    began = [created("resp_1"), done(message("old")), delta("half of it")]
    async with (
        no_leaks(),
        connected(asked.lose(*began), asked.answer(text_turn("resp_2", "new"))) as wire,
        wire.turn("Hi") as turn,
    ):
        if whole:
            assert (await turn.response()).output_text == "new"
            assert (turn.text, turn.response_id) == ("new", "resp_2")
            return
        with pytest.raises(RequestLost) as caught:
            await _read(turn.__anext__)
        lost = caught.value
        assert (lost.fate, lost.response_id, lost.text) == (Fate.STARTED, "resp_1", "half of it")
        assert [item.text for item in lost.items if isinstance(item, Message)] == ["old"]
        assert turn.may_ask_again(lost)
        await turn.ask_again(lost)
        assert turn.items == ()
        assert [event.delta async for event in turn if isinstance(event, OutputTextDelta)] == ["new"]


async def _read(next_one: Callable[[], Any]) -> None:
    while True:
        await next_one()


@pytest.mark.parametrize(
    ("repeat", "fields", "again"),
    [
        ("safe", {}, True),
        ("safe", {"store": True}, False),
        ("safe", {"tools": [MCP]}, False),
        ("safe", {"tools": [{"type": "web_search"}]}, False),
        ("safe", {"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}, False),
        ("safe", {"tools": [{"type": "shell"}, {"type": "custom", "name": "c"}, {"type": "apply_patch"}]}, True),
        ("safe", {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}]}, True),
        ("safe", {"tools": [{"type": "namespace", "name": "n", "tools": [MCP]}]}, False),
        ("always", {"store": True, "tools": [MCP]}, True),
        ("never", {}, False),
    ],
)
async def test_what_is_asked_again_is_a_policy(
    autojump_clock: MockClock, repeat: str, fields: dict[str, Any], again: bool
) -> None:
    asked = Asked()
    scripts = asked.lose(), asked.answer(text_turn("resp_1", "ok"))
    async with no_leaks(), connected(*scripts, repeat=repeat) as wire:
        if again:
            assert (await wire.respond("Hi", **fields)).output_text == "ok"
        else:
            with pytest.raises(RequestLost, match="the peer ended") as caught:
                await wire.respond("Hi", **fields)
            assert caught.value.fate is Fate.UNKNOWN
    assert len(asked.requests) == 1 + again


async def test_there_is_no_other_policy(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(LocalProtocolError, match="one of safe, always, never, not 'often'")):
        async with connected(repeat="often"):
            raise AssertionError("it must not connect")


async def test_what_a_server_does_unasked_is_not_asked_for_twice(autojump_clock: MockClock) -> None:
    asked = Asked()
    item = {"type": "response.output_item.added", "output_index": 0, "item": {**MCP_CALL, "output": None}}
    scripts = asked.lose(created("resp_1"), item), asked.lose(), asked.answer(text_turn("resp_2", "ok"))
    async with no_leaks(), connected(*scripts) as wire:
        with pytest.raises(RequestLost, match="started"):
            await wire.respond("Look.")
        with pytest.raises(RequestLost, match="unknown"):  # this server runs tools that no request names
            await wire.respond("Look again.")
        assert (await wire.respond("Hi")).output_text == "ok"


async def test_it_is_asked_so_often_and_no_more(autojump_clock: MockClock) -> None:
    asked = Asked()
    limits = attrs.evolve(LIMITS, request_attempts=3)
    began = trio.current_time()
    async with no_leaks(), connected(*[asked.lose()] * 5, limits=limits) as wire:
        with pytest.raises(RequestLost) as caught:
            await wire.respond("Hi")
        assert (caught.value.fate, len(asked.requests)) == (Fate.UNKNOWN, 3)
        assert trio.current_time() > began + 3  # not in a storm
        with pytest.raises(RequestLost):
            await wire.respond("Hi")  # the next one has attempts of its own


async def test_where_nobody_is_left_the_first_loss_is_told(autojump_clock: MockClock) -> None:
    asked = Asked()
    began = created("resp_1"), delta("half")
    async with no_leaks(), connected(asked.lose(*began), on_disconnect=Resume(within=20)) as wire:
        with pytest.raises(RequestLost, match="nobody listens") as caught:
            await wire.respond("Hi")
        lost = caught.value
        assert (lost.fate, lost.response_id, lost.text) == (Fate.STARTED, "resp_1", "half")
        with pytest.raises(RequestLost) as caught:
            await wire.respond("Hi")
        assert caught.value.fate is Fate.NEVER_SENT


async def test_under_cancel_nothing_is_asked_again(autojump_clock: MockClock) -> None:
    asked = Asked()
    async with no_leaks(), connected(asked.lose(), asked.answer(), on_disconnect=Cancel()) as wire:
        with pytest.raises(RequestLost):
            await wire.respond("Hi")
        assert wire.ended is not None
        with pytest.raises(RequestLost) as caught:
            await wire.respond("Hi")
        assert caught.value.fate is Fate.NEVER_SENT


async def test_what_a_server_rejects_is_not_offered_again(autojump_clock: MockClock) -> None:
    asked = Asked()

    async def reject(peer: Peer) -> None:
        await asked.answer([created("resp_1")])(peer)
        asked.requests.append(await peer.request())
        await peer.wire.close(1009, "too large")

    async with (
        no_leaks(),
        connected(reject, asked.answer(text_turn("resp_2", "small")), repeat="always") as wire,
        wire.turn("Small.") as turn,
    ):
        with pytest.raises(RequestLost, match="1009 too large") as caught:
            await wire.respond("Large.")
        assert caught.value.fate is Fate.UNKNOWN
        assert (await turn.response()).output_text == "small"  # it was not to blame
    assert len(asked.requests) == 3


@pytest.mark.parametrize("began", [False, True])
async def test_a_server_that_falls_silent_is_asked_elsewhere(autojump_clock: MockClock, began: bool) -> None:
    """What still comes of the first answer then reaches nobody, and whatever else runs there goes on."""
    limits, asked = attrs.evolve(LIMITS, first_event=30, event_silence=30, ping_interval=5), Asked()

    async def forget(peer: Peer) -> None:
        other, silent = await peer.request(), await peer.request()
        if began:
            peer.say(created("resp_1"), delta("stale"), lane=silent.get("stream_id"))
        for _ in range(3):
            await trio.sleep(25)
            peer.say({"type": "keepalive"}, lane=other.get("stream_id"))
        late = text_turn("resp_1", "stale", "stale")
        peer.say(*(late[2:] if began else late), lane=silent.get("stream_id"))
        peer.say(*text_turn("resp_0", "patience"), lane=other.get("stream_id"))

    async with (
        no_leaks(),
        connected(forget, asked.answer(text_turn("resp_2", "fresh"), text_turn("resp_3", "on")), limits=limits) as wire,
        trio.open_nursery() as nursery,
    ):

        async def wait() -> None:
            assert (await wire.respond("Slow.")).output_text == "patience"

        nursery.start_soon(wait)
        await trio.sleep(0.1)
        assert (await wire.respond("Lost.")).output_text == "fresh"
        await trio.sleep(100)
        assert (await wire.respond("Next.")).output_text == "on"


async def test_turns_side_by_side_are_lost_and_asked_again_each_for_itself(autojump_clock: MockClock) -> None:
    async def lose(peer: Peer) -> None:
        for _ in range(3):
            await peer.answer(created("resp_old"), delta("stale"))
        await trio.sleep(1)
        await trio.aclose_forcefully(peer.stream)

    async def echo(peer: Peer) -> None:
        for number in range(3):
            request = await peer.request()
            peer.say(*text_turn(f"resp_{number}", request["input"][0]["content"]), lane=request.get("stream_id"))

    async with no_leaks(), connected(lose, echo) as wire, trio.open_nursery() as nursery:

        async def ask(text: str) -> None:
            assert (await wire.respond(text)).output_text == text

        for text in ("a", "b", "c"):
            nursery.start_soon(ask, text)


async def test_what_waited_for_its_lane_was_never_sent(autojump_clock: MockClock) -> None:
    asked = Asked()
    async with (
        no_leaks(),
        connected(asked.lose(created("resp_1")), asked.answer(text_turn("resp_2", "ok")), repeat="never") as wire,
        wire.turn("first", stream_id="x") as first,
    ):
        assert (await wire.respond("second", stream_id="x")).output_text == "ok"
        with pytest.raises(RequestLost):
            await first.response()


async def test_a_run_that_waited_for_its_lane_was_never_sent(autojump_clock: MockClock) -> None:
    asked = Asked()
    async with (
        no_leaks(),
        connected(asked.lose(created("resp_1")), asked.answer(text_turn("resp_2", "ok")), repeat="never") as wire,
        wire.turn("first", stream_id="x"),
        wire.run("second", stream_id="x") as run,
    ):
        assert (await run.finish()).output_text == "ok"


async def test_what_no_connection_takes_is_never_sent(autojump_clock: MockClock) -> None:
    asked, limits = Asked(), attrs.evolve(LIMITS, request_attempts=1)
    async with (
        no_leaks(),
        connected(asked.lose(created("resp_1")), asked.answer(text_turn("resp_2", "ok")), limits=limits) as wire,
        wire.turn("first", stream_id="x"),
    ):
        with pytest.raises(RequestLost) as caught:
            await wire.respond("second", stream_id="x")
        assert caught.value.fate is Fate.NEVER_SENT
        assert (await wire.respond("third", stream_id="x")).output_text == "ok"


@pytest.mark.parametrize("whole", [True, False])
def test_it_can_be_cancelled_at_any_moment(whole: bool) -> None:
    """Nothing of what was cancelled is left, and the next turn gets its own answer."""
    for quarter in range(1, 32 if whole else 12, 2):
        asked = run(cancelled_after, quarter / 4, whole)
        assert asked.says(-1)[1][-1] == "Next."


async def cancelled_after(seconds: float, whole: bool) -> Asked:
    asked, busy = Asked(), error("overloaded", status=503)

    async def slow(peer: Peer) -> None:
        while True:
            request = await peer.request()
            asked.requests.append(request)
            for event in text_turn(f"resp_{len(asked.requests)}", asked.says(-1)[1][-1]):
                await trio.sleep(0.5)
                peer.say(event, lane=request.get("stream_id"))

    scripts = asked.lose(created("resp_1")), asked.lose(delta("half")), asked.answer([busy]), slow, slow, slow
    async with no_leaks(), connected(*scripts, net=network(latency=0.1)) as wire:
        with trio.move_on_after(seconds):
            async with wire.turn("Hi") as turn:
                if whole:
                    assert (await turn.response()).output_text == "Hi"
                else:
                    with suppress(RequestLost):
                        await _read(turn.__anext__)
        assert (await wire.respond("Next.", stream_id=turn.stream_id)).output_text == "Next."
    return asked


# Refused


async def test_what_the_server_has_forgotten_is_said_in_full_once(autojump_clock: MockClock) -> None:
    asked, refused = Asked(), error("previous_response_not_found", param="previous_response_id")
    turns = [text_turn("resp_1", "one"), [refused], text_turn("resp_2", "two"), [refused], [refused]]
    async with no_leaks(), connected(asked.answer(*turns)) as wire:
        first = await wire.respond("1")
        second = await wire.respond("2", previous_response_id=first.id)
        assert second.output_text == "two"
        with pytest.raises(RequestError, match="previous_response_not_found"):
            await wire.respond("3", previous_response_id=second.id)
    assert [asked.says(index) for index in range(5)] == [
        (None, ["1"]),
        ("resp_1", ["2"]),
        (None, ["1", "one", "2"]),
        ("resp_2", ["3"]),
        (None, ["1", "one", "2", "two", "3"]),
    ]


@pytest.mark.parametrize(
    "refusal",
    [
        {"type": "error", "code": "previous_response_not_found", "message": "No.", "param": None},
        error("not_found", "Unknown id.", status=404, param=None) | {"error": {"param": "previous_response_id"}},
    ],
)
async def test_other_words_for_that_are_understood(autojump_clock: MockClock, refusal: Json) -> None:
    if "error" in refusal:
        refusal["error"] |= {"type": "invalid_request_error", "code": "bad_id", "message": "No such response."}
    asked = Asked()
    turns = [text_turn("resp_1", "one"), [refusal], text_turn("resp_2", "two")]
    async with connected(asked.answer(*turns)) as wire:
        first = await wire.respond("1")
        assert (await wire.respond("2", previous_response_id=first.id)).output_text == "two"


async def test_what_the_client_does_not_know_cannot_be_said_in_full(autojump_clock: MockClock) -> None:
    asked, refused = Asked(), error("previous_response_not_found")
    async with connected(asked.answer([refused], text_turn("resp_1", "ok"))) as wire:
        with pytest.raises(RequestError, match="previous_response_not_found"):
            await wire.respond("Hi", previous_response_id="resp_elsewhere")
        assert len(asked.requests) == 1
        assert (await wire.respond("Hi")).output_text == "ok"


async def test_a_server_that_could_not_begin_is_asked_again_in_full(autojump_clock: MockClock) -> None:
    asked, broken = Asked(), error("server_error", status=500)
    turns = [text_turn("resp_1", "one"), [broken], [broken], text_turn("resp_2", "two")]
    async with connected(asked.answer(*turns)) as wire:
        first = await wire.respond("1")
        began = trio.current_time()
        assert (await wire.respond("2", previous_response_id=first.id)).output_text == "two"
        assert trio.current_time() > began + 0.5
    assert asked.says(1) == ("resp_1", ["2"])
    assert asked.says(2) == asked.says(3) == (None, ["1", "one", "2"])


async def test_a_server_says_how_long_to_wait(autojump_clock: MockClock) -> None:
    asked = Asked()
    soon, late = error("overloaded", status=503), error("overloaded", status=503)
    soon["error"]["headers"], late["error"]["headers"] = {"retry-after": "7"}, {"retry-after": "700"}
    async with connected(asked.answer([soon], text_turn("resp_1", "ok"), [late])) as wire:
        began = trio.current_time()
        assert (await wire.respond("Hi")).output_text == "ok"
        assert trio.current_time() == began + 7
        with pytest.raises(RequestError, match="overloaded") as caught:
            await wire.respond("Hi")
        assert caught.value.headers == {"retry-after": "700"}


async def test_a_request_that_did_not_arrive_whole_is_sent_again(autojump_clock: MockClock) -> None:
    asked, half = Asked(), error("request_timeout", status=408)
    async with connected(asked.answer([half], text_turn("resp_1", "ok")), repeat="never") as wire:
        assert (await wire.respond("Hi")).output_text == "ok"


@pytest.mark.parametrize(
    ("refusal", "repeat"),
    [
        (error("rate_limit_exceeded", status=429), "always"),
        (error("model_not_found", status=404), "always"),
        (error("server_error", status=500), "never"),
    ],
)
async def test_other_refusals_are_the_callers(autojump_clock: MockClock, refusal: Json, repeat: str) -> None:
    asked = Asked()
    async with connected(asked.answer([refusal], text_turn("resp_1", "ok")), repeat=repeat) as wire:
        with pytest.raises(RequestError, match="No"):
            await wire.respond("Hi")
        assert (await wire.respond("Hi")).output_text == "ok"


async def test_a_refusal_after_the_beginning_is_a_failed_response(autojump_clock: MockClock) -> None:
    asked = Asked()
    async with connected(asked.answer([created("resp_1"), error("server_error", status=500, number=1)])) as wire:
        with pytest.raises(ResponseError):
            await wire.respond("Hi")
    assert len(asked.requests) == 1


async def test_an_old_connection_answers_with_its_age(autojump_clock: MockClock) -> None:
    asked = Asked()
    scripts = asked.answer(text_turn("resp_1", "one"), [LIMIT_REACHED]), asked.answer(text_turn("resp_2", "two"))
    async with no_leaks(), connected(*scripts) as wire:
        first = await wire.respond("1", store=True)
        assert (await wire.respond("2", previous_response_id=first.id, store=True)).output_text == "two"
    assert asked.says(2) == ("resp_1", ["2"])  # what is stored can be continued anywhere


async def test_a_caller_who_does_not_wait_may_come_back(autojump_clock: MockClock) -> None:
    asked, busy = Asked(), error("overloaded", status=503)
    busy["error"]["headers"] = {"retry-after": "20"}
    async with (
        no_leaks(),
        connected(asked.answer([busy], text_turn("resp_1", "ok"))) as wire,
        wire.turn("Hi") as turn,
    ):
        with trio.move_on_after(5):
            await anext(turn)
        assert (await turn.response()).output_text == "ok"
    assert len(asked.requests) == 2


# What is said in full


async def forget(wire: Client) -> None:
    """The next turn goes over another connection."""
    await wire.line.current.close()


async def test_a_fork_says_its_own_branch(autojump_clock: MockClock) -> None:
    asked = Asked()
    turns = text_turn("resp_1", "one"), text_turn("resp_2", "two")
    async with connected(asked.answer(*turns), asked.answer(text_turn("resp_3", "other two"))) as wire:
        first = await wire.respond("1")
        await wire.respond("2", previous_response_id=first.id)
        await forget(wire)
        await wire.respond("other 2", previous_response_id=first.id)
    assert asked.says(2) == (None, ["1", "one", "other 2"])


async def test_what_only_the_server_could_read_is_left_out(autojump_clock: MockClock) -> None:
    asked = Asked()
    thoughts: list[Json] = [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "sealed"},
        {"type": "reasoning", "id": "rs_3", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a', "status": "incomplete"},
        message("one"),
    ]
    turn = [created("resp_1"), ended("resp_1", "incomplete", thoughts)]
    async with connected(asked.answer(turn), asked.answer(text_turn("resp_2", "two"))) as wire:
        first = await wire.respond("1")
        await forget(wire)
        await wire.respond("2", previous_response_id=first.id)
    assert [item.get("id") for item in asked.requests[1]["input"]] == [None, "rs_2", "rs_3", "msg_1", None]


async def test_what_was_compacted_is_not_said_again(autojump_clock: MockClock) -> None:
    asked = Asked()
    compaction = {"type": "compaction", "id": "cmp_1", "encrypted_content": "folded"}
    compacting = [created("resp_2"), ended("resp_2", output=[message("lost"), compaction, message("two")])]
    async with connected(
        asked.answer(text_turn("resp_1", "one"), compacting), asked.answer(text_turn("resp_3", "three"))
    ) as wire:
        first = await wire.respond("1")
        second = await wire.respond("2", previous_response_id=first.id)
        await forget(wire)
        await wire.respond("3", previous_response_id=second.id)
    assert asked.says(2) == (None, ["compaction", "two", "3"])


async def test_a_warm_up_is_a_part_of_the_conversation(autojump_clock: MockClock) -> None:
    asked = Asked()
    tool = {"type": "function", "name": "f"}
    warm = [created("resp_w"), ended("resp_w")]
    async with connected(
        asked.answer(warm, text_turn("resp_1", "one")), asked.answer(text_turn("resp_2", "two"))
    ) as wire:
        prepared = await wire.respond("Know this.", generate=False, model="m", instructions="Be brief.", tools=[tool])
        await wire.respond(previous_response_id=prepared.id)
        await forget(wire)
        await wire.respond("2", previous_response_id=prepared.id, instructions="Be long.")
    assert asked.says(1) == ("resp_w", [])
    assert asked.says(2) == (None, ["Know this.", "2"])
    for request, instructions in zip(asked.requests, ("Be brief.", "Be brief.", "Be long."), strict=True):
        assert (request["model"], request["instructions"], len(request["tools"])) == ("m", instructions, 1)


async def test_what_continues_an_unknown_response_goes_on_continuing_it(autojump_clock: MockClock) -> None:
    asked = Asked()
    async with connected(asked.answer(text_turn("resp_1", "one")), asked.answer(text_turn("resp_2", "two"))) as wire:
        first = await wire.respond("1", previous_response_id="resp_stored")
        await forget(wire)
        await wire.respond("2", previous_response_id=first.id)
    assert asked.says(1) == ("resp_stored", ["1", "one", "2"])


async def test_what_was_forgotten_here_too_is_said_so(autojump_clock: MockClock) -> None:
    asked, limits = Asked(), attrs.evolve(LIMITS, remembered_bytes=10)
    refused = error("previous_response_not_found")
    async with connected(asked.answer(text_turn("resp_1", "one")), asked.answer([refused]), limits=limits) as wire:
        first = await wire.respond("1")
        assert wire.memory.statistics().forgotten == 1
        await forget(wire)
        with pytest.raises(RequestError, match="previous_response_not_found"):
            await wire.respond("2", previous_response_id=first.id)
