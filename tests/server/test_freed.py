"""What a turn or a connection held is freed when it ends, and not when the collector comes: that one counts objects.

A request of many megabytes is one object, so a ring of references around it could wait for thousands of others.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from agentwire.protocol.errors import EngineError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Finish, Out
from agentwire.server import Server, serve
from tests.server.kit import Rig

Scenario = Callable[[Rig], Awaitable[None]]


async def engine(ask: Ask, out: Out) -> Finish | None:
    """Does what the input's text says."""
    match str(ask.request.input[-1].content):  # type: ignore[union-attr]
        case "silence":
            await out.text("one")
            await trio.sleep_forever()
        case "crash":
            raise ZeroDivisionError("a fault of the engine")
        case "refuse":
            raise EngineError("no", code="model_overloaded", status=503)
        case "broken":
            await out.open_call("look")
        case "call":
            await out.call("look", {})
        case "much":
            while True:
                await out.text("x" * 1000)
        case "cut":
            return Finish(incomplete="max_output_tokens")
        case _:
            await out.text("hello")
    return None


@asynccontextmanager
async def unwatched() -> AsyncGenerator[Rig]:
    """A server on 127.0.0.1 at which nothing looks: who watches its tasks, or stands in for its sockets, holds them."""
    streams: list[trio.abc.AsyncResource] = []
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            server: Server = await nursery.start(partial(serve, engine, limits=Limits(response_bytes=100_000)))
            yield Rig(server, nursery, partial(trio.open_tcp_stream, "127.0.0.1", server.port or 0), streams)
            for stream in streams:
                await trio.aclose_forcefully(stream)
            nursery.cancel_scope.cancel(reason="the test is over")


@contextmanager
def nothing_for_the_collector() -> Generator[None]:
    """All that the block leaves behind is freed without the collector."""
    gc.collect()
    gc.disable()
    try:
        yield
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = [type(each).__qualname__ for each in gc.garbage if _is_ours(type(each).__module__)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == []


def _is_ours(module: str) -> bool:
    return module.startswith("agentwire.") and not module.startswith("agentwire.testing")


def said(content: str, **fields: Any) -> Scenario:
    """A turn over a WebSocket, which is closed then."""

    async def scenario(rig: Rig) -> None:
        peer = await rig.connect()
        await peer.create(content, **fields)
        await peer.until("response.completed", "response.incomplete", "response.failed", "error")
        await peer.close()

    return scenario


async def gone(rig: Rig) -> None:
    """The client goes while its turn runs."""
    peer = await rig.connect()
    await peer.create("silence")
    await peer.until("response.output_text.delta")
    await trio.aclose_forcefully(peer.stream)


async def not_json(rig: Rig) -> None:
    """A message that is none."""
    peer = await rig.connect()
    await peer.say("{")
    await peer.until("error")
    await peer.close()


async def not_text(rig: Rig) -> None:
    """A message that ends the connection."""
    peer = await rig.connect()
    await peer.say(b"\xff")
    await peer.read_on()
    await trio.aclose_forcefully(peer.stream)


def posted(body: bytes) -> Scenario:
    """A turn over HTTP."""

    async def scenario(rig: Rig) -> None:
        peer = await rig.http()
        head = (
            b"POST /v1/responses HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        )
        await peer.ask(head % len(body), body, method="POST")
        await trio.aclose_forcefully(peer.stream)

    return scenario


SCENARIOS: dict[str, Scenario] = {
    "completed": said("hi"),
    "stored": said("hi", store=True),
    "warm-up": said("hi", generate=False),
    "refused for what it continues": said("hi", previous_response_id="resp_none"),
    "refused for a member": said("hi", temperature="hot"),
    "crashed": said("crash"),
    "failed": said("refuse"),
    "left open": said("broken"),
    "against its rules": said("call"),
    "as large as it may be": said("much"),
    "cut short": said("cut"),
    "gone": gone,
    "not JSON": not_json,
    "not text": not_text,
    "posted": posted(b'{"model":"m","input":"hi"}'),
    "streamed": posted(b'{"model":"m","input":"hi","stream":true}'),
    "posted and failed": posted(b'{"model":"m","input":"crash"}'),
    "posted and refused": posted(b'{"model":"m","input":"hi","previous_response_id":"no"}'),
    "posted and no JSON": posted(b"{"),
}


@pytest.mark.parametrize("name", SCENARIOS)
async def test_what_it_held_is_freed_at_its_end(name: str) -> None:
    async with unwatched() as rig:
        await SCENARIOS[name](rig)  # what is made once
        await rig.gone()
        with nothing_for_the_collector():
            for _ in range(3):
                await SCENARIOS[name](rig)
                await rig.gone()
                await wait_all_tasks_blocked()
