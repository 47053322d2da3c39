"""What a block leaves behind is named; what was there before, or ends by itself, is not."""

from __future__ import annotations

import os

import pytest
import trio
import trio.testing

from agentwire.testing import leaks
from agentwire.testing.leaks import Leaked, no_leaks, open_descriptors
from agentwire.testing.network import network
from agentwire.testing.streams import MemoryStream


async def lingers() -> None:
    await trio.sleep_forever()


async def half_closed() -> tuple[MemoryStream, MemoryStream]:
    client, server = network().pair()
    await server.aclose()
    return client, server


async def fails() -> None:
    raise LookupError(network().pair())


async def test_a_clean_block_passes() -> None:
    outside = network().pair()
    async with no_leaks():
        client, server = network().pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lingers)
            nursery.cancel_scope.cancel(reason="test")
        await client.aclose()
        await server.aclose()
        os.close(os.dup(0))
    for stream in outside:
        await stream.aclose()


async def test_a_task_is_named_with_its_place() -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(Leaked, match=r"left behind:\n  task the one: test_leaks.py:\d+ in lingers") as leak:
            async with no_leaks():
                nursery.start_soon(lingers, name="the one")
        assert len(leak.value.left) == 1
        nursery.cancel_scope.cancel(reason="test")


async def test_a_task_that_ends_soon_is_no_leak() -> None:
    async def ends(rounds: int) -> None:
        for _ in range(rounds):
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        async with no_leaks(rounds=20):
            nursery.start_soon(ends, 10)
        with pytest.raises(Leaked):
            async with no_leaks(rounds=20):
                nursery.start_soon(ends, 100)


@pytest.mark.parametrize("listed", [True, False])
async def test_a_descriptor_is_named(listed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not listed:
        monkeypatch.setattr(leaks, "_LISTED", leaks._LISTED / "not there")
    descriptors: tuple[int, ...] = ()
    with pytest.raises(Leaked, match="descriptor") as leak:
        async with no_leaks(rounds=2):
            descriptors = os.pipe()
    assert len(leak.value.left) == 2
    for descriptor in descriptors:
        assert f"descriptor {descriptor}: {open_descriptors()[descriptor]}" in leak.value.left
        os.close(descriptor)
        assert descriptor not in open_descriptors()


async def test_a_stream_is_named() -> None:
    client: MemoryStream | None = None
    with pytest.raises(Leaked) as leak:
        async with no_leaks(rounds=2):
            client, _ = await half_closed()
    assert leak.value.left == ("stream <MemoryStream client of connection 0>",)
    assert client is not None
    await client.aclose()


async def test_an_exception_passes() -> None:
    with pytest.raises(LookupError):
        async with no_leaks():
            await fails()
