"""Every place of a run becomes a fault, and the fault happens at that place."""

from __future__ import annotations

import pytest
import trio

from agentwire.testing.clock import run
from agentwire.testing.cuts import cut_points, every_byte, every_frame
from agentwire.testing.faults import Fault
from agentwire.testing.network import Network, network
from agentwire.transport.frames import client_frame, server_frame

ASK, ANSWER = client_frame(b"ask", b"abcd"), server_frame(b"answer")


async def talk(net: Network) -> list[bytes]:
    """One question, two answers; what the client heard."""
    client, server = net.pair()
    heard: list[bytes] = []

    async def answer() -> None:
        try:
            if await server.receive_some() == ASK:
                await server.send_all(ANSWER)
                await trio.sleep(10)
                await server.send_all(ANSWER)
            await server.aclose()
        except trio.BrokenResourceError:
            server.reset()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        try:
            await client.send_all(ASK)
            while data := await client.receive_some():
                heard.append(data)
        except trio.BrokenResourceError:
            heard.append(b"broken")
        await client.aclose()
    return heard


async def talk_with(fault: Fault) -> list[bytes]:
    return await talk(network(faults=[fault]))


def test_every_frame_of_a_run() -> None:
    places = [(fault.side, fault.at_frame, fault.middle) for fault in cut_points(talk)]
    assert places == [
        ("client", 0, False),
        ("client", 0, True),
        ("client", 1, False),
        ("server", 0, False),
        ("server", 0, True),
        ("server", 1, False),
        ("server", 1, True),
        ("server", 2, False),
    ]


def test_each_fault_happens_where_it_says() -> None:
    half = ANSWER[: len(ANSWER) // 2]
    heard = {(fault.side, fault.at_frame, fault.middle): run(talk_with, fault) for fault in cut_points(talk)}
    assert heard == {
        ("client", 0, False): [],
        ("client", 0, True): [],
        ("client", 1, False): [],
        ("server", 0, False): [],
        ("server", 0, True): [half],
        ("server", 1, False): [ANSWER],
        ("server", 1, True): [ANSWER, half],
        ("server", 2, False): [ANSWER, ANSWER],
    }


def test_kinds_and_sides_can_be_chosen() -> None:
    faults = list(cut_points(talk, kinds=("cut", "reset"), sides=("client",)))
    assert [fault.kind for fault in faults] == ["cut"] * 3 + ["reset"] * 3
    assert {fault.side for fault in faults} == {"client"}


def test_every_byte_of_a_run() -> None:
    faults = list(cut_points(talk, per_byte=True, step=4, seed=1))
    assert [fault.at_byte for fault in faults if fault.side == "client"] == [0, 4, 8, 9]
    assert [fault.at_byte for fault in faults if fault.side == "server"] == [0, 4, 8, 12, 16]


def test_a_trace_of_ones_own() -> None:
    async def main() -> Network:
        net = network()
        await talk(net)
        await talk(net)
        return net

    trace = run(main).trace
    assert [fault.connection for fault in every_frame(trace, sides=("client",), middle=False, connection=1)] == [1, 1]
    assert len(list(every_byte(trace))) == len(ASK) + 1 + 2 * len(ANSWER) + 1


def test_a_scenario_has_to_succeed() -> None:
    async def fails(_: Network) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        cut_points(fails)
