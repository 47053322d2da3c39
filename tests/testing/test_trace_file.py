"""A trace comes back from a file as it was, and a file that is broken says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from agentwire.engines import builtin
from agentwire.testing import Fault, Record, Trace, check_all, network
from agentwire.testing.http_scan import Body, Head
from agentwire.testing.journal import entries
from agentwire.testing.rig import open_rig
from agentwire.testing.scan import Frame
from agentwire.testing.trace import Note
from agentwire.testing.trace_file import TraceFileError, TraceWriter
from agentwire.transport.frames import server_frame


async def test_a_run_comes_back_as_it_was(autojump_clock: object, tmp_path: Path) -> None:
    async def add(a: int, b: int) -> int:
        """Add."""
        await trio.sleep(1)
        return a + b

    async with open_rig(builtin()) as rig, rig.connect() as wire, wire.run("add a=3 b=4", tools=[add]) as run:
        await run.finish()
    rig.journal.add_to(rig.trace)
    rig.trace.save(tmp_path / "run.trace", about={"test": "me"})
    loaded = Trace.load(tmp_path / "run.trace")
    assert loaded.about["test"] == "me"
    assert loaded.about["whole"] is True
    start = rig.trace.records[0].time
    told = [(round(entry.time - start, 6), entry.who, entry.type) for entry in entries(rig.trace)]
    assert [(entry.time, entry.who, entry.type) for entry in entries(loaded)] == told
    assert {"work.started", "work.ended", "model.saw", "connection.ended"} <= {kind for _, _, kind in told}
    check_all(loaded, cancelled_after=1)
    loaded.save(tmp_path / "again.trace", about={"test": "me"})
    assert (tmp_path / "again.trace").read_text().splitlines()[1:] == (tmp_path / "run.trace").read_text().splitlines()[
        1:
    ]


async def test_everything_there_is_can_be_kept(tmp_path: Path) -> None:
    net = network(faults=[Fault("cut", at_byte=150)])
    client, server = net.pair()
    await client.send_all(b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\n\xff\x00\x01")
    await server.send_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: hi\n\n")
    _, other = net.pair()
    await other.send_all(server_frame(b"\xe2\x82") + b"\x89\x00")
    await other.aclose()
    net.trace.add(Record(9.0, 0, "local", Note({"type": "size", "name": "x", "bytes": 1})))
    net.trace.note(9.0, 1, "client", "open")
    net.trace.save(tmp_path / "all.trace")
    loaded = Trace.load(tmp_path / "all.trace")
    assert [(record.connection, record.side, record.what) for record in loaded.records] == [
        (record.connection, record.side, record.what) for record in net.trace.records
    ]
    assert {type(record.what) for record in loaded.records} == {Frame, Head, Body, Note, str}
    assert loaded.frames("server", 1) == 2


def lines(*more: dict[str, Any]) -> str:
    return "".join(json.dumps(line) + "\n" for line in ({"agentwire-trace": 1}, *more))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no trace"),
        ("[1]\n", "is no trace"),
        ("hello\n", "is no trace"),
        ('{"agentwire-trace": 2}\n', "version 2; this agentwire .* reads version 1"),
        (lines() + "x\n", "line 2: it is no JSON object"),
        (lines() + "[]\n{}\n", "line 2: it is no JSON object"),
        (lines({"is": "frame", "t": 0, "by": "client"}), "line 2: KeyError: 'n'"),
        (lines({"is": "stopped", "left_out": "x"}), "line 2: left_out is a number"),
        (lines({"is": "end", "t": "soon", "by": "client", "how": "eof"}), "line 2: ValueError"),
    ],
)
def test_a_file_that_is_none_says_so(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.trace"
    path.write_text(text)
    with pytest.raises(TraceFileError, match=message):
        Trace.load(path)


def test_a_file_that_breaks_off_is_read_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "x.trace"
    path.write_text(lines({"is": "end", "t": 1, "c": 2, "by": "client", "how": "eof"}) + '{"is": "en')
    loaded = Trace.load(path)
    assert loaded.records == [Record(1.0, 2, "client", "eof")]
    assert loaded.about["whole"] is False


def test_what_a_later_version_adds_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x.trace"
    path.write_text(lines({"is": "weather", "t": 1, "by": "client"}, {"is": "end", "t": 1, "by": "sky", "how": "eof"}))
    assert Trace.load(path).records == []


def test_a_file_has_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "x.trace"
    with TraceWriter(path, most=1000) as writer:
        for number in range(100):
            writer.write(Record(float(number), 0, "client", "eof"))
    assert 0 < writer.written < 20
    assert writer.left_out == 100 - writer.written
    assert path.stat().st_size < 2000
    loaded = Trace.load(path)
    assert len(loaded.records) == writer.written
    assert loaded.left_out == writer.left_out
    assert f"({writer.left_out} more were not kept)" in loaded.timeline()


async def test_a_trace_in_memory_has_its_bound() -> None:
    trace = Trace(most=10)
    tap = trace.tap(0, "server")
    for _ in range(5):
        tap.passed(0.0, server_frame(b"12345"))
    assert trace.is_whole is False
    assert len(trace.records) == 2
    assert trace.left_out == 3
    assert trace.frames("server") == 5
