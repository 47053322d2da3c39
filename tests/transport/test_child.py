"""Child processes: lines, stderr, environment, and that nothing of them is left."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import AbstractAsyncContextManager

import pytest
import trio

from agentwire.protocol.limits import Limits
from agentwire.runtime.processes import INHERITED
from agentwire.runtime.tools.source import SessionLost
from agentwire.transport.child import Child, open_child

LIMITS = Limits(mcp_exit=0.2, mcp_stderr_bytes=10, message_bytes=200_000)
IGNORING = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
ECHO = "import sys\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)\n"


def program(code: str, limits: Limits = LIMITS, **env: str) -> AbstractAsyncContextManager[Child]:
    return open_child("kid", (sys.executable, "-c", code), env=env, cwd=None, limits=limits)


def lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123, ASYNC230 - a moment
            return stat.read().split()[2] != "Z"
    except OSError:
        return False


async def line(child: Child) -> str:
    with trio.fail_after(20):
        return (await child.receive_line() or b"").decode()


async def test_lines_go_both_ways_whatever_their_length() -> None:
    async with program(ECHO) as child:
        for text in ("abc", "x" * 150_000, "é"):
            await child.send_line(text.encode())
            assert await line(child) == text[::-1]
    assert not lives(child.pid)


async def test_it_sees_of_our_environment_what_programs_need_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTWIRE_KEYS", "secret")
    async with program("import os; print(' '.join(sorted(os.environ)))", A="1") as child:
        seen = set((await line(child)).split())
        assert await child.receive_line() is None
    assert "A" in seen
    assert seen - {"A", "LC_CTYPE"} <= set(INHERITED)


async def test_one_that_never_stops_complaining_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    code = "import sys; sys.stderr.write('oh no\\n' * 50_000); sys.stderr.close(); print()"
    with caplog.at_level(logging.INFO, "agentwire.child"):
        async with program(code) as child:
            await line(child)
            await child.listen_out()
    shown = [message for message in caplog.messages if message.endswith("oh no")]
    counted = [int(message.split()[2]) for message in caplog.messages if message.endswith("not shown")]
    assert len(shown) + sum(counted) == 50_000
    assert len(shown) <= LIMITS.mcp_stderr_lines * (1 + len(counted))


async def test_what_it_complains_about_is_logged_a_line_at_a_time(caplog: pytest.LogCaptureFixture) -> None:
    code = "import sys; sys.stderr.write('one\\nlonger than ten\\nlast'); sys.stderr.close(); print()"
    with caplog.at_level(logging.INFO, "agentwire.child"):
        async with program(code) as child:
            await line(child)
            await trio.sleep(0.2)
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == ["one", "longer tha", "last"]


async def test_a_line_without_end_is_too_long() -> None:
    async with program("import sys\nwhile True: sys.stdout.write('x' * 65536)") as child:
        with pytest.raises(SessionLost, match="a line of more than"):
            await line(child)


async def test_one_that_listens_no_more_is_lost() -> None:
    async with program("import os, time; os.close(0); print(flush=True); time.sleep(60)") as child:
        await line(child)
        with pytest.raises(SessionLost, match="does not listen"):
            await child.send_line(b"x")


async def test_one_that_does_not_read_is_lost_in_the_end() -> None:
    limits = Limits(mcp_exit=0.2, write_progress=0.2)
    async with program("import time; time.sleep(60)", limits) as child:
        with pytest.raises(SessionLost, match="does not read"):
            await child.send_line(b"x" * 1_000_000)


@pytest.mark.parametrize("stubborn", ["", IGNORING])
async def test_nothing_of_its_group_is_left_however_it_ends(stubborn: str) -> None:
    code = (
        f"import os, subprocess, sys, time\n{stubborn}"
        f"kid = subprocess.Popen([sys.executable, '-c', {IGNORING + 'import time; time.sleep(60)'!r}])\n"
        "print(kid.pid, flush=True); time.sleep(60)"
    )
    with trio.CancelScope() as scope:
        async with program(code) as child:
            grandchild = int(await line(child))
            scope.cancel()
            await trio.sleep_forever()
    assert child.pid != os.getpid()
    for _ in range(100):  # the kernel may still be at it
        if not lives(grandchild):
            break
        await trio.sleep(0.02)
    assert (lives(child.pid), lives(grandchild)) == (False, False)


async def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        async with open_child("kid", ("/no/such/program",), env={}, cwd=None, limits=LIMITS):
            pass
