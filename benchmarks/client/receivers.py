"""The clients that are compared: each reads one answer to its end, event by event, and says what that cost.

    python benchmarks/client/receivers.py NAME PORT EVENTS

Run by the interpreter that has the client; prints seconds of CPU and of time as JSON. It reads two answers of a tenth
first, so that imports and first times are not counted, and a collector of its own choice is nobody's advantage: it is
off for all.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

Note = Callable[[int], None]


class Clock:
    """Seconds of CPU and of time since it was started."""

    def __init__(self) -> None:
        gc.collect()
        gc.disable()
        self.cpu, self.time = time.process_time(), time.perf_counter()

    def report(self) -> str:
        """As JSON."""
        return json.dumps({"cpu": time.process_time() - self.cpu, "time": time.perf_counter() - self.time})


def check(pieces: int, count: int) -> None:
    """Nothing was left out."""
    if pieces != count:
        raise RuntimeError(f"{pieces} text events came, and {count} were asked for")


def counted(stream: Iterator[Any]) -> int:
    """How many text events there are up to the end of the response."""
    pieces = 0
    for event in stream:
        kind = event.type
        if kind == "response.output_text.delta":
            pieces += len(event.delta) > 0
        elif kind == "response.completed":
            break
    return pieces


async def counted_async(stream: AsyncIterator[Any]) -> int:
    """The same of an asynchronous one."""
    pieces = 0
    async for event in stream:
        kind = event.type
        if kind == "response.output_text.delta":
            pieces += len(event.delta) > 0
        elif kind == "response.completed":
            break
    return pieces


async def rounds(read: Callable[[int], Awaitable[None]], count: int) -> None:
    """Warm up, then measure."""
    for _ in range(2):
        await read(count // 10)
    clock = Clock()
    await read(count)
    print(clock.report())


def rounds_sync(read: Callable[[int], None], count: int) -> None:
    """The same without ``await``."""
    for _ in range(2):
        read(count // 10)
    clock = Clock()
    read(count)
    print(clock.report())


def agentwire_trio(port: int, count: int) -> None:
    """agentwire, in Trio."""
    import trio

    import agentwire

    async def main() -> None:
        async with agentwire.connect(f"ws://127.0.0.1:{port}/v1") as wire:

            async def read(wanted: int) -> None:
                async with wire.turn("go", model=str(wanted)) as turn:
                    check(await counted_async(turn), wanted)

            await rounds(read, count)

    trio.run(main)


def agentwire_sync(port: int, count: int) -> None:
    """agentwire, blocking: over a Trio loop in a thread."""
    from agentwire import sync

    with sync.connect(f"ws://127.0.0.1:{port}/v1") as wire:

        def read(wanted: int) -> None:
            with wire.turn("go", model=str(wanted)) as turn:
                check(counted(turn), wanted)

        rounds_sync(read, count)


def agentwire_aio(port: int, count: int) -> None:
    """agentwire, in asyncio: over a Trio loop in a thread."""
    import asyncio

    from agentwire import aio

    async def main() -> None:
        async with aio.connect(f"ws://127.0.0.1:{port}/v1") as wire:

            async def read(wanted: int) -> None:
                async with wire.turn("go", model=str(wanted)) as turn:
                    check(await counted_async(turn), wanted)

            await rounds(read, count)

    asyncio.run(main())


def _sdk(port: int, kind: str) -> Any:
    import openai

    return getattr(openai, kind)(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)


def openai_websocket(port: int, count: int) -> None:
    """openai-python over its WebSocket, blocking."""
    with _sdk(port, "OpenAI").responses.connect() as connection:

        def read(wanted: int) -> None:
            connection.response.create(model=str(wanted), input="go", store=False)
            check(counted(iter(connection)), wanted)

        rounds_sync(read, count)


def openai_websocket_async(port: int, count: int) -> None:
    """openai-python over its WebSocket, in asyncio."""
    import asyncio

    async def main() -> None:
        async with _sdk(port, "AsyncOpenAI").responses.connect() as connection:

            async def read(wanted: int) -> None:
                await connection.response.create(model=str(wanted), input="go", store=False)
                check(await counted_async(aiter(connection)), wanted)

            await rounds(read, count)

    asyncio.run(main())


def openai_http(port: int, count: int) -> None:
    """openai-python over HTTP, blocking."""
    client = _sdk(port, "OpenAI")

    def read(wanted: int) -> None:
        with client.responses.create(model=str(wanted), input="go", store=False, stream=True) as stream:
            check(counted(iter(stream)), wanted)

    rounds_sync(read, count)


def openai_http_async(port: int, count: int) -> None:
    """openai-python over HTTP, in asyncio."""
    import asyncio

    async def main() -> None:
        client = _sdk(port, "AsyncOpenAI")

        async def read(wanted: int) -> None:
            async with await client.responses.create(model=str(wanted), input="go", store=False, stream=True) as stream:
                check(await counted_async(aiter(stream)), wanted)

        await rounds(read, count)

    asyncio.run(main())


RECEIVERS = {
    "agentwire": agentwire_trio,
    "agentwire.sync": agentwire_sync,
    "agentwire.aio": agentwire_aio,
    "openai, WebSocket": openai_websocket,
    "openai, WebSocket, asyncio": openai_websocket_async,
    "openai, HTTP": openai_http,
    "openai, HTTP, asyncio": openai_http_async,
}

if __name__ == "__main__":
    RECEIVERS[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
