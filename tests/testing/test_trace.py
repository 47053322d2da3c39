"""A trace tells what was said, by whom and when."""

from __future__ import annotations

import trio

from agentwire.testing.network import network
from agentwire.testing.scan import Frame
from agentwire.transport.frames import client_frame, server_frame


async def test_a_timeline_for_people(autojump_clock: object) -> None:
    net = network()
    client, server = net.pair()
    started = trio.current_time()
    await client.send_all(b"GET / HTTP/1.1\r\nupgrade: websocket\r\n\r\n")
    await client.send_all(client_frame(b'{"type":"response.create","stream_id":"a"}', b"abcd"))
    await trio.sleep(1.25)
    await server.send_all(server_frame(b'{"type":"response.created","sequence_number":0,"stream_id":"a"}'))
    await server.send_all(b"\x01\x03one\x89\x00\x80\x03two")
    await server.send_all(b"\x88\x06\x03\xe8done")
    await server.send_all(server_frame(b"[1]") + b"\x8b\x00")
    await server.aclose()
    lines = [line.split("#", 1)[1] for line in net.trace.timeline().splitlines()]
    assert lines == [
        "0 client --> GET / (to upgrade)",
        "0 client --> frame 0 text 42 B response.create a",
        "0 server <-- frame 0 text 63 B response.created a 0",
        "0 server <-- frame 1 text (more follows) 3 B",
        "0 server <-- frame 2 ping 0 B",
        "0 server <-- frame 3 continuation 3 B",
        "0 server <-- frame 4 close 6 B 1000 done",
        "0 server <-- frame 5 text 3 B",
        "0 server <-- frame 6 opcode 0xb 0 B",
        "0 server <-- close",
    ]
    assert [record.time - started for record in net.trace.records] == 2 * [0] + 8 * [1.25]


async def test_events_are_whole_messages_in_json() -> None:
    net = network()
    for _ in range(2):
        client, server = net.pair()
        await server.send_all(b'\x01\x03{"a\x89\x00\x80\x04":1}')
        await server.send_all(server_frame(b"not json") + server_frame(b"[]"))
        await client.send_all(client_frame(b'{"b":2}', b"abcd"))
    assert [(side, event) for side, _, event in net.trace.events()] == 2 * [("server", {"a": 1}), ("client", {"b": 2})]
    assert [event for _, _, event in net.trace.events(connection=1)] == [{"a": 1}, {"b": 2}]


async def test_without_payloads_there_are_sizes() -> None:
    net = network(keep=False)
    _, server = net.pair()
    await server.send_all(server_frame(b'{"a":1}') + b"\x88\x02\x03\xe8")
    assert [record.what for record in net.trace.records] == [Frame(0, 1, True, 7), Frame(1, 8, True, 2)]
    assert net.trace.frames("server") == 2
    assert net.trace.bytes("server") == 13
    assert net.trace.frames("client") == net.trace.bytes("client") == 0
    assert net.trace.frames("server", 1) == 0
    assert net.trace.events() == []
