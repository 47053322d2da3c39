"""Runs whose context is compacted by the server: what it folds is not said again; a server that cannot is asked on."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from agentwire.engines import Call, Text, Turn, scripted
from agentwire.link import SteerRefused
from agentwire.protocol.errors import LocalProtocolError, RequestError
from agentwire.protocol.items import Compaction, FunctionCallOutput
from agentwire.runtime.contracts import Ask
from tests.client.kit import connected
from tests.client.served import served
from tests.link.peer import Json, Peer, call, call_turn, error, text_turn


def model(ask: Ask) -> Turn:
    """Read four long pages, and be done."""
    read = sum(item.type == "function_call_output" for item in ask.items)
    return Turn(Text("Done.")) if read >= 4 else Turn(Call("read", {"page": read}))


async def read(page: int) -> str:
    return f"{page} " + "long " * 2_000


async def test_what_was_compacted_is_not_said_again(autojump_clock: MockClock) -> None:
    engine = scripted(model)
    async with served(engine, extensions=()) as wire:
        async with wire.run("Read.", tools=[read], compact_at=3_000) as run:
            response = await run.finish()
        parent = wire.memory.find(response.id)
        assert parent is not None
        assert isinstance(parent.recall()[0], Compaction)  # with all that it stands for
        await wire.line.current.abort("cut")  # type: ignore[attr-defined]
        async with wire.run("And now?", previous_response_id=response.id) as again:
            assert (await again.finish()).output_text == "Done."
        told = [item for item in engine.asks[-1].items if isinstance(item, FunctionCallOutput)]
        assert len(told) == 4
        assert sum(len(str(item.output)) for item in told) < 25_000


async def test_a_run_that_was_cut_goes_on_from_its_compaction(autojump_clock: MockClock) -> None:
    asked: list[Json] = []
    compaction = {"id": "cmp_1", "type": "compaction", "encrypted_content": "opaque"}

    async def script(peer: Peer) -> None:
        request = await peer.answer(*call_turn("resp_1", call("c1", "read", '{"page": 1}')))
        assert request["context_management"] == [{"type": "compaction", "compact_threshold": 5_000}]
        await peer.answer(*call_turn("resp_2", compaction, call("c2", "read", '{"page": 2}')))
        await peer.request()
        await peer.wire.abort("cut")

    async def again(peer: Peer) -> None:
        asked.append(await peer.answer(*text_turn("resp_3", "Done.")))

    async with connected(script, again) as wire, wire.run("Read.", tools=[read], compact_at=5_000) as run:
        assert (await run.finish()).output_text == "Done."
    assert [item["type"] for item in asked[0]["input"]] == ["compaction", "function_call", "function_call_output"]
    assert "previous_response_id" not in asked[0]


async def test_a_server_that_refuses_is_asked_without(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        refusal = error("unknown_parameter", "Unknown parameter: 'context_management'.")
        assert "context_management" in await peer.answer(refusal)
        request = await peer.answer(*call_turn("resp_1", call("c1", "read", '{"page": 1}')))
        assert request.get("context_management") is None
        request = await peer.answer(*text_turn("resp_2", "Done."))
        assert request.get("context_management") is None

    async with connected(script) as wire, wire.run("Read.", tools=[read], compact_at=5_000) as run:
        assert (await run.finish()).output_text == "Done."
        assert run.turns == 2


async def test_another_refusal_is_raised(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(error("model_not_found"))

    async with connected(script) as wire, wire.run("Read.", compact_at=5_000) as run:
        with pytest.raises(RequestError, match="model_not_found"):
            await run.finish()


async def test_a_threshold_that_is_not_possible(autojump_clock: MockClock) -> None:
    async with served(scripted(model)) as wire:
        with pytest.raises(LocalProtocolError, match="compact_threshold"):
            async with wire.run("Read.", compact_at=10):
                pass


async def test_a_run_that_compacts_is_told_things_between_its_turns(autojump_clock: MockClock) -> None:
    engine = scripted([Turn(Call("read", {"page": 1})), Turn(Text("Done."))])
    async with served(engine) as wire, wire.run("Read.", tools=[read], compact_at=50_000) as run:
        await run.steer("Only page 1.")
        assert (await run.finish()).output_text == "Done."
        with pytest.raises(SteerRefused):
            await run.steer("Too late.")
