"""``agentwire trace``: a recording of real programs, shown and judged."""

from __future__ import annotations

import io
import json
import signal
import subprocess
from pathlib import Path

import pytest
import trio
from rich.console import Console

import agentwire
from agentwire.cli import main
from agentwire.cli.trace_view import Filter, show_lines
from agentwire.testing import Trace
from agentwire.testing.trace_file import TraceWriter
from tests.cli.kit import COMMAND, environment
from tests.testing.conversations import Event, answer, conversation, create
from tests.testing.test_timeline import traced


def saved(path: Path, *said: Event) -> str:
    traced(*said).save(path)
    return str(path)


def shown(trace: Trace, *, width: int = 200, full: bool = False, **chosen: object) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None, highlight=False)
    show_lines(trace, Filter(**chosen), console, full=full)  # type: ignore[arg-type]
    return [line.rstrip() for line in file.getvalue().splitlines()]


def two_lanes() -> Trace:
    return traced(create(lane="a"), *answer("resp_1", lane="a"), create(), *answer("resp_2"), ("client", "eof"))


def test_lanes_have_a_column() -> None:
    lines = shown(two_lanes())
    assert lines[0] == "28.000 s, 29 records"
    assert lines[1] == "    0.000 #0 ─▶ a response.create 74 B  “hi”"
    assert lines[6] == "    9.000 #0 ◀─ a response.output_text.delta x 5 in 4.000 s 860 B  “hello”"
    assert lines[11].startswith("   14.000 #0 ─▶   response.create")
    assert lines[-2] == "   28.000 #0 ─▶   says no more"
    assert lines[-1] == "#0 no HTTP: 130 B up, 5104 B down, 2 responses told, the client says no more"


def test_lines_end_where_a_narrow_terminal_does() -> None:
    lines = shown(two_lanes(), width=50)
    assert lines[1] == "    0.000 #0 ─▶ a create 74 B  “hi”"
    assert max(map(len, lines)) <= 50
    assert any(line.endswith("…") for line in lines)


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        ({"lanes": ("a",)}, 10),
        ({"lanes": ("-",)}, 10),
        ({"lanes": ("a", "-")}, 20),
        ({"connections": (1,)}, 0),
        ({"since": 27.5}, 1),
        ({"until": 2}, 3),
        ({"since": 8, "until": 9}, 1),
    ],
)
def test_filters(chosen: dict[str, object], count: int) -> None:
    lines = shown(two_lanes(), **chosen)  # type: ignore[arg-type]
    assert len([line for line in lines if "#0 ─▶" in line or "#0 ◀─" in line]) == count
    assert f"{21 - count} more lines are not shown" in lines


def test_in_full_every_message_is_there() -> None:
    lines = shown(two_lanes(), full=True, lanes=("a",))
    assert sum("output_text.delta" in line and "#0" in line for line in lines) == 5
    assert '               "type": "response.create",' in lines


def test_what_others_wrote_is_shown_and_not_obeyed() -> None:
    said = shown(traced(create(lane="\x1b[31mred", input="\x1b]0;title\x07")))
    assert "\x1b" not in "".join(said)
    assert "\x07" not in "".join(said)


def test_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(tmp_path / "x.trace", *conversation(lane="a"))
    assert main(["trace", "show", file, "--json", "--to", "1"]) == 0
    first, second = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert first == {
        "t": 0.0,
        "connection": 0,
        "by": "client",
        "what": "response.create",
        "bytes": 74,
        "message": create(lane="a"),
    }
    assert second["what"] == "response.created"


def test_what_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "check", saved(tmp_path / "x.trace", *conversation())]) == 0
    assert capsys.readouterr().out == "19 invariants, 0 broken\n"


def test_what_does_not_hold_is_told_with_what_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turn = answer("resp_1")
    file = saved(tmp_path / "x.trace", create(), *turn, turn[-1])
    assert main(["trace", "check", file]) == 1
    out = capsys.readouterr().out
    assert "one_terminal: a response has ended twice\n" in out
    assert "13.000  #0  server  response.completed" in out
    assert out.splitlines()[-1].startswith("19 invariants, 4 broken: nothing_after_terminal, ")
    names = ["nothing_after_terminal", "contiguous_numbers", "one_terminal", "legal_order"]
    assert main(["trace", "check", file, *(f"--without={name}" for name in names)]) == 0
    assert capsys.readouterr().out == "15 invariants, 0 broken\n"


def test_a_recording_that_breaks_off_is_judged_up_to_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.trace"
    file = saved(path, create(), *answer("resp_1")[:-1])
    assert main(["trace", "check", file]) == 1
    capsys.readouterr()
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    assert main(["trace", "check", file]) == 0
    assert "not whole" in capsys.readouterr().err
    assert main(["trace", "show", file]) == 0
    assert "the file breaks off" in capsys.readouterr().out


def test_work_and_sizes_are_judged_on_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.trace"
    said = [
        {"type": "work.started", "kind": "tool", "name": "call_1"},
        {"type": "connection.ended", "cause": "reset"},
        {"type": "size", "name": "window", "bytes": 10},
        {"type": "work.ended", "kind": "tool", "name": "call_1", "how": "done"},
    ]
    lines = [{"agentwire-trace": 1}, *({"t": n, "is": "note", "event": one} for n, one in enumerate(said))]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"is": "stopped"}]))
    assert main(["trace", "check", str(path)]) == 0
    assert main(["trace", "check", str(path), "--cancelled-after", "1"]) == 1
    assert main(["trace", "check", str(path), "--limit", "window=9"]) == 1
    assert "20 invariants, 1 broken: cancelled_within\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nothing.trace"], "cannot read nothing.trace: No such file"),
        (["show", __file__], "is no trace"),
        (["check", "{file}", "--without", "all"], "there are no invariants all; there are nothing_after_terminal"),
        (["check", "{file}", "--limit", "window"], "--limit is NAME=BYTES"),
        (["record", "{new}", "--to", "localhost:8000"], "a server's URL begins with"),
        (["record", "{file}", "--to", "http://localhost:8000"], "exists; name another file, or say --overwrite"),
        (["record", "nowhere/x.trace", "--to", "http://localhost"], "cannot record"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path / "x.trace", *conversation())
    given = [one.format(file=file, new=tmp_path / "new.trace") for one in arguments]
    assert main(["trace", *given]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_has_no_room_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.trace"
    with TraceWriter(path, most=500) as writer:
        for record in traced(*conversation()).records:
            writer.write(record)
    assert main(["trace", "show", str(path)]) == 0
    assert "records are not in the file, which had no room for them" in capsys.readouterr().out


@pytest.mark.socket
async def test_a_server_and_a_client_are_recorded_as_they_talk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.trace"
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            serve = await started(nursery, "serve", "--port", "0")
            record = await started(nursery, "trace", "record", str(path), "--to", serve[1])
            async with agentwire.connect(record[1].replace("http:", "ws:")) as wire, wire.run('say "hi"') as run:
                await run.finish()
                assert run.text == "hi"
            record[0].send_signal(signal.SIGINT)
            assert await record[0].wait() == 0
            serve[0].send_signal(signal.SIGTERM)
            await serve[0].wait()
    assert main(["trace", "check", str(path)]) == 0
    assert main(["trace", "show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "response.output_text.delta" in shown
    assert "the client closes with 1000" in shown


async def started(nursery: trio.Nursery, *arguments: str) -> tuple[trio.Process, str]:
    """A command that says on its first line where it can be reached over HTTP."""
    process = await trio.lowlevel.open_process(
        [*COMMAND, *arguments], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    line = b""
    while b"\n" not in line:
        line += await process.stdout.receive_some()
    nursery.start_soon(process.wait)
    return process, line.decode().splitlines()[0].split("http=")[1]
