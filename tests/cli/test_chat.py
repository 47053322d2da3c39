"""``agentwire chat``: what is asked and answered, what Ctrl-C does, and how it fails."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import trio
from rich.console import Console

from agentwire.cli.chat import Talk
from agentwire.cli.failures import CommandFailed
from agentwire.cli.interrupts import Interrupts
from agentwire.cli.lines import Lines
from agentwire.cli.reaching import Settings, split_url
from agentwire.cli.terminal import Screen
from agentwire.engines import builtin
from agentwire.protocol.errors import EngineError
from agentwire.protocol.hello import EXTENSIONS
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Engine, Finish, Out
from agentwire.runtime.tools import LocalTool
from agentwire.server import Server, serve
from agentwire.testing.relay import open_relay
from tests.cli.kit import COMMAND, environment, run_command, wait_until

pytestmark = pytest.mark.socket

TOOLS = """
def add(a: int, b: int) -> int:
    "Add two numbers."
    print("adding")
    return a + b
"""


@asynccontextmanager
async def server_of(engine: Engine, **options: Any) -> AsyncGenerator[Server]:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, engine, **options))
        yield server
        nursery.cancel_scope.cancel(reason="the test is over")


class Seat:
    """Somebody at the keyboard of one conversation."""

    def __init__(self, url: str | None, message: str | None = None, *, tools: tuple[Any, ...] = ()) -> None:
        reading, self.keyboard = os.pipe()
        self.out, self.err = StringIO(), StringIO()
        screen = Screen(Console(file=self.out, width=200), Console(file=self.err, width=200))
        settings = Settings(url, None, None, None, tuple(LocalTool.of(tool) for tool in tools))
        self.talk = Talk(settings, message, screen, Lines(reading), Interrupts(screen.note, leave=self._leave))
        self.code: int | None = None
        self.left_at_once = 0
        self._reading = reading

    def type(self, text: str) -> None:
        os.write(self.keyboard, text.encode())

    def leave(self) -> None:
        os.close(self.keyboard)

    def _leave(self, _code: int) -> None:
        self.left_at_once += 1

    async def run(self) -> None:
        self.code = await self.talk.run()
        os.close(self._reading)

    async def shows(self, text: str) -> None:
        await wait_until(lambda: text in self.out.getvalue() + self.err.getvalue())


async def slow(ask: Ask, out: Out) -> Finish | None:
    """Says how many items it was given; then it takes for ever if it is asked to."""
    await out.text(f"{len(ask.items)} items. ")
    if "slow" in getattr(ask.items[-1], "text", ""):
        await trio.sleep_forever()
    return None


# As a process


async def test_one_message_is_answered_once_and_stdout_holds_the_answer_alone() -> None:
    ran = await run_command("chat", "say", '"hello there"')
    assert (ran.code, ran.out) == (0, "hello there\n")
    assert "not a language model" in ran.err


async def test_every_line_is_a_message_of_one_conversation() -> None:
    ran = await run_command("chat", stdin=b"my name is Ada\n\n  \nwhat is my name?")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "You said that name is Ada."
    assert len(ran.out.splitlines()) == 2


async def test_tools_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TOOLS, encoding="utf-8")
    ran = await run_command("chat", "--tools", "mine:add", "call add with a=3 and b=4", cwd=tmp_path)
    assert (ran.code, ran.out) == (0, "add(a=3, b=4) returned: 7\n")
    assert 'add {"a":3,"b":4}' in ran.err
    assert "adding" in ran.err.splitlines()


def test_a_text_may_begin_with_an_address() -> None:
    text = "https://example.com/notes says what?"
    assert split_url([text]) == (None, [text])
    assert split_url(["https://example.com/v1", text]) == ("https://example.com/v1", [text])


async def test_ctrl_c_while_one_message_is_answered(tmp_path: Path) -> None:
    async with server_of(slow) as server:
        command = [*COMMAND, "chat", server.url, "be slow"]
        run = partial(trio.run_process, command, env=environment(), check=False)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                process = await nursery.start(partial(run, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
                assert await process.stdout.receive_some()
                process.send_signal(signal.SIGINT)
                assert await process.wait() == 130
            await wait_until(lambda: not server.statistics().sessions)


CANNOT = {
    "nobody there": (("ws://127.0.0.1:1/v1", "hi"), 1, "cannot connect to ws://127.0.0.1:1/v1"),
    "odd scheme": (("htp://127.0.0.1/v1", "hi"), 2, "htp://127.0.0.1/v1 is not a server's address"),
    "no such scheme": (("wss://", "hi"), 2, "is not the address of a server"),
    "no key file": (("--key-file", "nothing", "hi"), 2, "cannot read nothing"),
    "empty key file": (("--key-file", "empty", "hi"), 2, "no API key in empty"),
    "no module": (("--tools", "not_here:x", "hi"), 2, "no module 'not_here'"),
}


@pytest.mark.parametrize("case", CANNOT)
async def test_what_cannot_be_done_is_one_line(tmp_path: Path, case: str) -> None:
    (tmp_path / "empty").write_text("# none\n", encoding="utf-8")
    arguments, code, told = CANNOT[case]
    ran = await run_command("chat", *arguments, cwd=tmp_path)
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err
    assert ran.err.count("\n") == 1


async def test_a_key_from_a_file_and_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("# ours\nright-key\n", encoding="utf-8")
    async with server_of(builtin(), keys=["right-key"]) as server:
        good = await run_command("chat", server.url, "--key-file", "key", 'say "hi"', cwd=tmp_path)
        also = await run_command("chat", server.url, 'say "hi"', env={"AGENTWIRE_API_KEY": "right-key"})
        bad = await run_command("chat", server.url, 'say "hi"', env={"AGENTWIRE_API_KEY": "wrong-key"})
    assert (good.code, good.out, also.code, also.out) == (0, "hi\n", 0, "hi\n")
    assert (bad.code, bad.out) == (1, "")
    assert "This API key is not known here." in bad.err


# Within this process


@pytest.mark.parametrize("extensions", [(), EXTENSIONS], ids=["none", "all"])
async def test_ctrl_c_cancels_the_answer_and_the_conversation_goes_on(extensions: Sequence[str]) -> None:
    with trio.fail_after(30):
        async with server_of(slow, extensions=extensions) as server, trio.open_nursery() as nursery:
            seat = Seat(server.url)
            nursery.start_soon(seat.run)
            seat.type("first\n")
            await seat.shows("1 items.")
            seat.type("slow one\n")
            await seat.shows("3 items.")
            signal.raise_signal(signal.SIGINT)
            await seat.shows("cancelled")
            if extensions:
                await wait_until(lambda: not server.statistics().running)
            seat.type("last\n")
            await seat.shows("4 items.")
            seat.leave()
        assert seat.code == 0
        assert server.statistics().sessions_total == 1
    assert seat.out.getvalue().split("\n") == ["1 items. ", "3 items. ", "4 items. ", ""]


async def test_ctrl_c_again_while_a_tool_still_cleans_up_leaves_at_once() -> None:
    cleaning = trio.Event()

    async def stubborn() -> str:
        try:
            await trio.sleep_forever()
        finally:
            cleaning.set()
            with trio.CancelScope(shield=True):
                await gone.wait()

    gone = trio.Event()
    with trio.fail_after(30):
        async with server_of(builtin()) as server, trio.open_nursery() as nursery:
            seat = Seat(server.url, tools=(stubborn,))
            nursery.start_soon(seat.run)
            seat.type("call stubborn\n")
            await seat.shows("stubborn {}")
            signal.raise_signal(signal.SIGINT)
            await cleaning.wait()
            assert seat.left_at_once == 0
            signal.raise_signal(signal.SIGINT)
            assert seat.left_at_once == 1
            gone.set()
            await seat.shows("cancelled")
            seat.leave()
        assert seat.code == 0


async def test_ctrl_c_between_answers_ends_it() -> None:
    with trio.fail_after(30):
        async with server_of(slow) as server, trio.open_nursery() as nursery:
            seat = Seat(server.url)
            nursery.start_soon(seat.run)
            seat.type("first\n")
            await seat.shows("1 items.")
            await trio.testing.wait_all_tasks_blocked(0.05)
            signal.raise_signal(signal.SIGINT)
    seat.leave()
    assert seat.code == 130


async def test_sigterm_cancels_the_answer_and_ends_the_conversation() -> None:
    with trio.fail_after(30):
        async with server_of(slow) as server, trio.open_nursery() as nursery:
            seat = Seat(server.url)
            nursery.start_soon(seat.run)
            seat.type("slow one\nlast\n")
            await seat.shows("1 items.")
            signal.raise_signal(signal.SIGTERM)
    seat.leave()
    assert seat.code == 143
    assert seat.out.getvalue() == "1 items. \n"


async def test_a_connection_that_ended_in_between_is_opened_again() -> None:
    with trio.fail_after(30):
        async with server_of(slow, limits=Limits(connection_age=0.3)) as server, trio.open_nursery() as nursery:
            seat = Seat(server.url)
            nursery.start_soon(seat.run)
            seat.type("first\n")
            await seat.shows("1 items.")
            await wait_until(lambda: server.statistics().listening.accepted > 1)
            seat.type("second\n")
            await seat.shows("3 items.")
            seat.leave()
        assert seat.code == 0


@pytest.mark.parametrize("extensions", [(), EXTENSIONS], ids=["forgetful", "sessions"])
async def test_a_plug_that_is_pulled_in_the_middle_of_an_answer(extensions: Sequence[str]) -> None:
    go_on = trio.Event()

    async def engine(ask: Ask, out: Out) -> None:
        await out.text(f"{len(ask.items)} it")
        await go_on.wait()
        await out.text("ems.")

    with trio.fail_after(30):
        async with server_of(engine, extensions=extensions) as server, trio.open_nursery() as nursery:
            assert server.port is not None
            async with open_relay("127.0.0.1", server.port) as relay:
                seat = Seat(relay.through(server.url))
                nursery.start_soon(seat.run)
                seat.type("first\n")
                await seat.shows("1 it")
                relay.cut()
                await seat.shows("the connection was")
                go_on.set()
                await seat.shows("ems.")
                seat.type("second\n")
                await seat.shows("3 items.")
                seat.leave()
                await wait_until(lambda: seat.code == 0)
    whole = ["1 items."] if extensions else ["1 it", "1 items."]
    assert seat.out.getvalue().splitlines() == [*whole, "3 items."]
    assert ("what it wrote is void" in seat.err.getvalue()) == (not extensions)


async def test_a_refusal_is_told_and_the_conversation_goes_on() -> None:
    async def moody(ask: Ask, out: Out) -> None:
        if "please" not in getattr(ask.items[-1], "text", ""):
            raise EngineError("say please", code="rude", status=400)
        await out.text("\x1b]0;title\x07with \x1b[31mpleasure\tnow")

    with trio.fail_after(30):
        async with server_of(moody) as server, trio.open_nursery() as nursery:
            seat = Seat(server.url)
            seat.type("answer\nplease answer\n")
            seat.leave()
            nursery.start_soon(seat.run)
        assert seat.code == 0
        assert "say please" in seat.err.getvalue()
        assert seat.out.getvalue() == "]0;titlewith [31mpleasure\tnow\n"
        async with server_of(moody) as server:
            with pytest.raises(CommandFailed, match="say please"):
                await Seat(server.url, "answer").talk.run()


async def test_reasoning_and_the_servers_tools_are_notes() -> None:
    async def thinker(ask: Ask, out: Out) -> None:
        if ask.step == 0:
            await out.reasoning("hm, ")
            await out.reasoning("well")
            await out.call("add", {"a": 1, "b": 2})
        else:
            await out.text("three")

    def add(a: int, b: int) -> int:
        return a + b

    with trio.fail_after(30):
        async with server_of(thinker, tools=[add]) as server:
            seat = Seat(server.url, "go")
            await seat.run()
    assert seat.out.getvalue() == "three\n"
    assert seat.err.getvalue().splitlines() == ["hm, well", 'add {"a":1,"b":2}: 3']
