"""Commands that a tool runs: what they print, how they end, and that nothing of them is left."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import trio

import agentwire
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.limits import Limits
from agentwire.runtime.tools import CommandResult, Toolbox

LIMITS = Limits(command_exit=0.3)
IGNORING = "import signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


def lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - a moment
            return stat.read().split()[2] != "Z"
    except OSError:
        return False


async def gone(pid: int) -> None:
    """It is dying: whoever is killed closes its pipes a moment before it is gone."""
    with trio.fail_after(5):
        while lives(pid):  # noqa: ASYNC110 - another process
            await trio.sleep(0.001)


async def pid_in(file: Path) -> int:
    """A pid that a child writes, a line."""
    with trio.fail_after(20):
        while not (file.exists() and file.read_text().endswith("\n")):  # noqa: ASYNC110 - another process
            await trio.sleep(0.01)
    return int(file.read_text())


async def test_a_command_is_its_output_and_its_status() -> None:
    code = "import sys; print('read ' + sys.stdin.read(), flush=True); print('oh', file=sys.stderr); sys.exit(3)"
    with trio.fail_after(20):
        result = await agentwire.run_command([sys.executable, "-c", code], input="this")
    assert result == CommandResult("read this\noh\n", 3)
    assert result.text == "read this\noh\n[exit status 3]"


async def test_a_tool_may_return_it_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")

    async def where() -> CommandResult:
        return await agentwire.run_command(["sh", "-c", "pwd; echo $OPENAI_API_KEY$A"], cwd=tmp_path, env={"A": "a"})

    with trio.fail_after(20):
        result = await Toolbox.of([where]).run("where", "{}", call_id="c", limits=LIMITS)
    assert result.output == f"{tmp_path}\na\n[exit status 0]"


async def test_of_much_output_the_beginning_and_the_end_are_kept_and_none_of_it_waits() -> None:
    code = "print('a' * 300_000 + 'b' * 10)"
    with trio.fail_after(20):
        result = await agentwire.run_command([sys.executable, "-c", code], output_bytes=20, input=b"x" * 300_000)
    assert result.output == "a" * 10 + "\n[cut: 299991 bytes are left out here]\n" + "b" * 9 + "\n"


async def test_a_command_that_is_out_of_time_says_so() -> None:
    with trio.fail_after(20):
        result = await agentwire.run_command(["sh", "-c", "echo begun; sleep 1000"], timeout=0.2)
    assert (result.status, result.timed_out) == (-15, True)
    assert "begun\n".startswith(result.output)  # all of it, unless the machine is very busy
    assert CommandResult("begun\n", -15, timed_out=True).text == "begun\n[it did not end in time, and was killed]"


async def test_a_cancelled_command_has_time_to_clean_up(tmp_path: Path) -> None:
    ready, clean = tmp_path / "ready", tmp_path / "clean"
    script = f"trap 'echo 1 > {clean}; exit' TERM; echo 1 > {ready}; while :; do sleep 0.01; done"
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agentwire.run_command, ["sh", "-c", script])
            await pid_in(ready)
            nursery.cancel_scope.cancel(reason="enough")
    assert clean.read_text() == "1\n"


async def test_nothing_of_a_cancelled_command_is_left(tmp_path: Path) -> None:
    """Neither itself, which ignores SIGTERM, nor its child, which holds the pipes."""
    pids = tmp_path / "parent", tmp_path / "child"
    child = f"{IGNORING}open({str(pids[1])!r}, 'w').write(str(__import__('os').getpid()) + '\\n')\ntime.sleep(1000)"
    code = (
        f"{IGNORING}import os, subprocess\nsubprocess.Popen([sys.executable, '-c', {child!r}])\n"
        f"open({str(pids[0])!r}, 'w').write(str(os.getpid()) + '\\n')\ntime.sleep(1000)"
    )
    found: list[int] = []
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                await agentwire.run_command([sys.executable, "-c", code], limits=LIMITS)

            nursery.start_soon(run)
            found += [await pid_in(file) for file in pids]
            assert all(map(lives, found))
            nursery.cancel_scope.cancel(reason="enough")
    for pid in found:
        await gone(pid)


async def test_what_a_command_leaves_behind_in_its_group_ends_with_it(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with trio.fail_after(20):
        result = await agentwire.run_command(["sh", "-c", f"sleep 1000 & echo $! > {file}; echo done"])
    assert result == CommandResult("done\n", 0)
    await gone(await pid_in(file))


async def test_who_has_left_the_group_and_holds_the_pipes_is_not_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        f"open({str(file)!r}, 'w').write(f'{{child.pid}}\\n')"
    )
    with trio.fail_after(20):
        result = await agentwire.run_command([sys.executable, "-c", code], limits=LIMITS)
    assert result == CommandResult("", 0)
    daemon = await pid_in(file)
    assert lives(daemon)
    os.kill(daemon, signal.SIGKILL)


async def test_what_cannot_be_started_says_so() -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        await agentwire.run_command(["/nowhere/at/all"])
    with pytest.raises(LocalProtocolError, match="a command is a list"):
        await agentwire.run_command("ls -l")


@pytest.mark.parametrize(
    ("result", "end"),
    [
        (CommandResult("", -9), "[ended by signal 9]"),
        (CommandResult("", None), "[it was killed, and nobody knows whether it has ended]"),
    ],
)
def test_every_end_is_told(result: CommandResult, end: str) -> None:
    assert result.text == end
