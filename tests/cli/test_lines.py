"""Lines from a pipe, from a file, and from nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from agentwire.cli.lines import Lines, LineWriter


async def everything(lines: Lines) -> list[str]:
    found = []
    while (line := await lines.next()) is not None:
        found.append(line)
    return found


async def test_a_file_and_a_last_line_without_an_end(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"one\n\ntw\xc3\xb6\nbad \xff\nlast")
    with file.open("rb") as opened:
        assert await everything(Lines(opened.fileno())) == ["one", "", "twö", "bad �", "last"]


async def test_a_pipe_in_pieces() -> None:
    reading, writing = os.pipe()
    lines = Lines(reading)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def write() -> None:
            for piece in (b"o", b"ne\ntwo\nth", b"ree"):
                os.write(writing, piece)
                await trio.testing.wait_all_tasks_blocked()
            os.close(writing)

        assert await everything(lines) == ["one", "two", "three"]
    os.close(reading)


async def test_waiting_can_be_cancelled_and_loses_nothing(autojump_clock: MockClock) -> None:
    reading, writing = os.pipe()
    lines = Lines(reading)
    os.write(writing, b"on")
    with trio.move_on_after(1) as scope:
        await lines.next()
    assert scope.cancelled_caught
    os.write(writing, b"e\n")
    assert await lines.next() == "one"
    os.close(reading)
    os.close(writing)


async def test_a_line_is_never_torn(autojump_clock: MockClock, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    writer = LineWriter(writing)
    long = b"x" * 300_000
    with trio.move_on_after(1) as scope:
        await writer.put(long)
    assert scope.cancelled_caught
    said = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.put, b"short")
        while not said.endswith(b"short\n"):
            await trio.lowlevel.wait_readable(reading)
            said += os.read(reading, 65_536)
    assert said == long + b"\nshort\n"
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        await writer.put(b"to nobody")
    os.close(writing)
    with (tmp_path / "file").open("wb") as file:
        await LineWriter(file.fileno()).put(b"in a file")
    assert (tmp_path / "file").read_bytes() == b"in a file\n"
