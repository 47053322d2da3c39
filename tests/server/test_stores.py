"""A server and its store: references, tenants, and a store that fails."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from agentwire.protocol.errors import StoreError
from agentwire.protocol.items import Message
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Out, Store, Stored
from agentwire.stores import MemoryStore, NoStore, open_sqlite_store
from tests.server.kit import Rig, on_loopback


async def recall(ask: Ask, out: Out) -> None:
    """Says what all messages say, oldest first."""
    await out.text("|".join(item.text for item in ask.items if isinstance(item, Message)))


def said(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Store]:
    if request.param == "memory":
        yield MemoryStore()
    else:
        async with open_sqlite_store(tmp_path / "store.db", limits=Limits(store_readers=1)) as opened:
            await opened.get("nobody", "nothing")  # what it opens to read stays open, and is no leak of a server
            yield opened


@asynccontextmanager
async def serving(store: Store, **options: Any) -> AsyncGenerator[Rig]:
    async with on_loopback(recall, store=store, **options) as rig:
        yield rig


@pytest.mark.socket
async def test_an_item_of_any_stored_response_can_be_referred_to(store: Store) -> None:
    async with serving(store) as rig:
        first = await rig.connect()
        made = (await first.ask("one", store=True))[-1]["response"]["output"][0]
        await first.close()
        peer = await rig.connect()
        answer = await peer.ask([{"type": "item_reference", "id": made["id"]}, {"role": "user", "content": "two"}])
        assert said(answer) == "one|two"
        unknown = await peer.ask([{"type": "item_reference", "id": "msg_0"}])
        assert unknown[0]["error"]["code"] == "item_not_found"
        assert unknown[0]["error"]["param"] == "input[0].id"


@pytest.mark.socket
async def test_tenants_never_see_each_others_responses(store: Store) -> None:
    async with serving(store, keys=["one-key", "other-key"]) as rig:
        one, other = [
            await rig.connect(headers=[("authorization", f"Bearer {key}")]) for key in ("one-key", "other-key")
        ]
        response = (await one.ask("mine", store=True))[-1]["response"]
        refused = await other.ask("yours?", previous_response_id=response["id"])
        assert refused[0]["error"]["code"] == "previous_response_not_found"
        refused = await other.ask([{"type": "item_reference", "id": response["output"][0]["id"]}])
        assert refused[0]["error"]["code"] == "item_not_found"
        assert said(await one.ask("still mine", previous_response_id=response["id"])) == "mine|mine|still mine"


@pytest.mark.socket
async def test_a_mixed_chain_is_kept_whole(store: Store) -> None:
    async with serving(store) as rig:
        peer = await rig.connect()
        hidden = (await peer.ask("a", store=False))[-1]["response"]["id"]
        shown = (await peer.ask("b", store=True, previous_response_id=hidden))[-1]["response"]["id"]
        elsewhere = await rig.connect()
        assert said(await elsewhere.ask("c", previous_response_id=shown)) == "a|a|b|a|a|b|c"
        refused = await elsewhere.ask("d", previous_response_id=hidden)
        assert refused[0]["error"]["code"] == "previous_response_not_found"


class Broken(MemoryStore):
    """Nothing can be written, and nothing read."""

    async def put(self, principal: str, stored: Stored) -> None:
        await trio.lowlevel.checkpoint()
        raise StoreError("cannot write to the store: there is no room on its disk")

    async def get(self, principal: str, response_id: str) -> Stored | None:
        await trio.lowlevel.checkpoint()
        raise StoreError("cannot read the store: the file is damaged")


@pytest.mark.socket
async def test_a_store_that_fails_costs_the_turns_that_need_it_alone() -> None:
    async with serving(Broken()) as rig:
        peer = await rig.connect()
        written = await peer.ask("a", store=True)
        assert [event["type"] for event in written[-2:]] == ["error", "response.failed"]
        assert written[-1]["response"]["error"]["code"] == "server_error"
        read = await peer.ask("b", previous_response_id="resp_unknown")
        assert (read[0]["type"], read[0]["status"], len(read)) == ("error", 500, 1)
        assert said(await peer.ask("c", store=False)) == "c"


@pytest.mark.socket
async def test_a_server_that_keeps_nothing_says_so() -> None:
    async with serving(NoStore()) as rig:
        peer = await rig.connect()
        events = await peer.ask("a", store=True)
        assert {event["response"]["store"] for event in events if "response" in event} == {False}
        assert said(await peer.ask("b", store=True, previous_response_id=events[-1]["response"]["id"])) == "a|a|b"
