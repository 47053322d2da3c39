"""The server under test as a process: started, asked to leave, killed, started again, and never left behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

from agentwire.runtime.processes import group_lives
from agentwire.testing.conformance.process import NotStarted, start_server
from tests.server.kit import eventually

pytestmark = pytest.mark.socket

SERVER = """
import signal, socket, subprocess, sys, time
port, folder, mode = int(sys.argv[1]), sys.argv[2], sys.argv[3]
with open(f"{folder}/starts", "a") as file:
    file.write(f"{port}\\n")
print("hello", "x" * 2000, flush=True)
if mode == "fails":
    sys.exit("no weights")
if mode == "idles":
    time.sleep(60)
if mode == "hesitates":
    time.sleep(0.3)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("upstream", sys.argv[4], flush=True)
def leave(*_):
    child.kill()
    sys.exit(3)
signal.signal(signal.SIGTERM, leave)
with socket.create_server(("127.0.0.1", port)) as listener:
    while True:
        listener.accept()[0].close()
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    (tmp_path / "server.py").write_text(SERVER, encoding="utf-8")
    return [sys.executable, str(tmp_path / "server.py"), "{port}", "{folder}"]


async def test_it_is_started_asked_to_leave_and_killed(command: list[str]) -> None:
    words = [*command, "serves", "{upstream}|{upstream_root}|{upstream_wire}|{other}"]
    with trio.fail_after(30):
        async with start_server(words, upstream="http://127.0.0.1:9/v1", upstream_wire="http://x/v1") as server:
            first = server.pid
            assert first is not None
            lives = server.running
            assert lives
            assert server.url == f"http://127.0.0.1:{server.port}/v1"
            await server.start()  # it runs already
            assert server.pid == first
            await server.terminate()
            assert await server.wait() == 3
            lives = server.running
            assert not lives
            await server.terminate()  # nobody is there
            await server.start()
            assert server.pid != first
            await server.kill()
            assert await server.wait() == -9
            await server.kill()
            await server.start()
            last = server.pid
            assert last is not None
            folder = Path(server.command[3])
            assert folder.joinpath("starts").read_text().split() == [str(server.port)] * 3
            assert "upstream http://127.0.0.1:9/v1|http://127.0.0.1:9|http://x/v1|{other}" in server.lines
            assert max(map(len, server.lines)) == 500
        await eventually(lambda: not group_lives(last))  # the system has to take note of the grandchild's end
        assert not folder.exists()


@pytest.mark.parametrize(
    ("mode", "message"), [("fails", "it ended before it listened"), ("idles", "nobody listens on 127.0.0.1:")]
)
async def test_one_that_does_not_listen(command: list[str], mode: str, message: str) -> None:
    with trio.fail_after(30):
        with pytest.raises(NotStarted, match=message) as caught:
            async with start_server([*command, mode], ready=1 if mode == "idles" else 20):
                pass
        assert "hello xxx" in str(caught.value)


async def test_a_start_that_was_cut_short_is_waited_for_by_the_next(command: list[str]) -> None:
    with trio.fail_after(30):
        async with start_server([*command, "hesitates", "-"]) as server:
            await server.kill()
            with trio.move_on_after(0.1) as scope:
                await server.start()
            assert scope.cancelled_caught
            await server.start()
            await trio.aclose_forcefully(await trio.open_tcp_stream(server.host, server.port))


async def test_what_cannot_be_started() -> None:
    with pytest.raises(NotStarted, match="No such file"):
        async with start_server("/no/such/program --port {port}"):
            pass
    with pytest.raises(ValueError, match=r"asks for {upstream}, and there is no companion"):
        async with start_server("serve --upstream {upstream}"):
            pass


async def test_an_address_and_an_environment_of_its_own(command: list[str]) -> None:
    with trio.fail_after(30):
        words = " ".join((*command, "serves", "'$HOME {host}'"))
        async with start_server(words, url="ws://{host}:{port}/a", env={**os.environ, "PYTHONUNBUFFERED": "1"}) as one:
            assert one.url == f"ws://127.0.0.1:{one.port}/a"
            assert "upstream $HOME 127.0.0.1" in one.lines
