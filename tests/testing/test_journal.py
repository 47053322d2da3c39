"""A journal takes down what happens, and anything that recorded events can be read like one."""

from __future__ import annotations

import pytest
import trio

from agentwire.testing.journal import Entry, Journal, entries
from agentwire.testing.network import network
from agentwire.transport.frames import client_frame, server_frame


async def test_work_is_noted_with_how_it_ended(autojump_clock: object) -> None:
    journal = Journal()
    started = trio.current_time()
    with journal.work("tool", "call_1"):
        await trio.sleep(1)
    with pytest.raises(LookupError), journal.work("tool", "call_2"):
        raise LookupError
    with trio.move_on_after(2), journal.work("engine", "resp_1"):
        await trio.sleep_forever()
    journal.connection_ended("gone")
    assert [(entry.time - started, entry.who, *entry.event.values()) for entry in journal.entries] == [
        (0, "local", "work.started", "tool", "call_1"),
        (1, "local", "work.ended", "tool", "call_1", "done"),
        (1, "local", "work.started", "tool", "call_2"),
        (1, "local", "work.ended", "tool", "call_2", "failed"),
        (1, "local", "work.started", "engine", "resp_1"),
        (3, "local", "work.ended", "engine", "resp_1", "cancelled"),
        (3, "local", "connection.ended", "gone"),
    ]


async def test_what_went_by_is_put_in_its_place(autojump_clock: object) -> None:
    net = network()
    client, server = net.pair()
    journal = Journal()
    await client.send_all(client_frame(b'{"type":"response.create"}', b"abcd"))
    await trio.sleep(1)
    journal.note("client", {"type": "thinks"})
    await trio.sleep(1)
    await server.send_all(server_frame(b'{"type":"response.created"}'))
    journal.wire(net.trace)
    assert [(entry.who, entry.type) for entry in journal.entries] == [
        ("client", "response.create"),
        ("client", "thinks"),
        ("server", "response.created"),
    ]
    assert [entry.type for entry in entries(net.trace)] == ["response.create", "response.created"]


def test_lists_are_read_too() -> None:
    entry = Entry(5.0, "local", {"type": "size"})
    read = entries([entry, ("client", 2.5, {"a": 1}), {"type": "response.create"}, {"type": "error"}, {"type": "size"}])
    assert [(one.time, one.who) for one in read] == [
        (5.0, "local"),
        (2.5, "client"),
        (2.0, "client"),
        (3.0, "server"),
        (4.0, "local"),
    ]
    assert entries(Journal(clock=lambda: 0.0)) == ()


def test_an_entry_is_one_line() -> None:
    entry = Entry(1.5, "server", {"type": "response.created", "stream_id": "a", "response": {"id": "r" * 100}})
    assert str(entry) == f"     1.500  #0  server  response.created stream_id='a' response={{'id': '{'r' * 49}..."
    assert str(Entry(0, "client", {"type": 7})) == "     0.000  #0  client  (no type)"
