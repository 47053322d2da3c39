"""The one-line form: every fault is tried, what is not survived is told, and what may end badly does."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

import agentwire
from agentwire.client import Client
from agentwire.engines.script import Call, Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.testing import Fault, InvariantBroken, Leaked, Network, NotSurvived, Rig, network, survives
from agentwire.testing.stage import Hung
from agentwire.testing.survives import ENVIRONMENT
from agentwire.testing.watch import Broken, Violation
from agentwire.transport.frames import client_frame, server_frame
from tests.testing.conversations import answer, create

WRITER = scripted([Turn(Text("Well."), Call("send_mail", {"to": "Ada"})), Turn(Text("done"))])


@pytest.fixture(autouse=True)
def no_fault_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)


@attrs.define
class Mail:
    """A tool with an effect."""

    sent: list[str] = attrs.field(factory=list)

    async def send_mail(self, to: str) -> str:
        """Send a mail."""
        await trio.sleep(1)
        self.sent.append(to)
        return "sent"


async def write(client: Client, mail: Mail) -> None:
    async with client.run("Write to Ada.", tools=[mail.send_mail]) as run:
        await run.finish()


def not_survived(test: Callable[..., None], *arguments: Any) -> NotSurvived:
    with pytest.raises(NotSurvived) as caught:
        test(*arguments)
    return caught.value


# What is survived


def test_a_run_survives_every_frame_of_its_connection() -> None:
    tried: list[int] = []

    @survives(engine=WRITER)
    async def test(rig: Rig) -> None:
        mail = Mail()
        async with rig.connect() as wire:
            await write(wire, mail)
        assert mail.sent == ["Ada"]
        tried.append(len(rig.net.links))

    test()
    assert tried[0] == 1
    assert tried.count(2) > 50


def test_where_there_never_was_a_connection_its_error_will_do() -> None:
    ends: list[bool] = []

    @survives(cut=[Fault("reset", at_byte=0, connection=None), Fault("cut", at_frame=3)])
    async def test(rig: Rig) -> None:
        ends.append(False)
        async with rig.connect(transport="websocket") as wire:
            await wire.respond("hi")
        ends[-1] = True

    test()
    assert ends == [True, False, True]


def test_under_cancel_a_run_may_end_with_its_connection() -> None:
    engine = scripted(Turn(Text("slow", pieces=3, every=1)))
    ended: list[bool] = []

    @survives(policy=agentwire.Cancel(), engine=engine)
    async def test(wire: Client) -> None:
        ended.append(False)
        await wire.respond("hi")
        ended[-1] = True

    test()
    assert ended[0]
    assert False in ended


def test_what_else_a_run_may_end_with_can_be_said() -> None:
    def make(**how: Any) -> Callable[..., None]:
        @survives(cut=[Fault("cut", at_frame=2)], **how)
        async def test(rig: Rig) -> None:
            async with rig.connect() as wire, trio.open_nursery() as nursery:
                nursery.start_soon(wire.respond, "hi")
                await wire.respond("hi")
                if len(rig.net.links) > 1:
                    raise LookupError

        return test

    make(allow=(LookupError,))()
    assert isinstance(not_survived(make()).error, LookupError)


def test_a_second_handshake_takes_nothing_away_and_is_given_up_by_the_server() -> None:
    @survives(cut=[Fault("duplicate"), Fault("duplicate", seconds=3)], engine=WRITER)
    async def test(rig: Rig) -> None:
        mail = Mail()
        async with rig.connect() as wire:
            await write(wire, mail)
        assert mail.sent == ["Ada"]
        await rig.gone()

    test()


# What is not


def test_a_failure_is_told_with_its_fault_and_the_line_that_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "tests/test_mail.py::test_one_mail (call)")

    @survives(engine=WRITER)
    async def test_one_mail(rig: Rig) -> None:
        mail = Mail()
        for _ in range(2):  # a retry of the kind that does everything again
            with suppress(agentwire.ConnectionEnded):
                async with rig.connect(on_disconnect=agentwire.Cancel()) as wire:
                    await write(wire, mail)
                    break
        assert mail.sent == ["Ada"]

    error = not_survived(test_one_mail)
    assert isinstance(error.error, AssertionError)
    (fault,) = error.plan
    assert fault.at_frame is not None
    assert 1 <= len(error.plans) < 20
    text = str(error)
    assert text.startswith(f"test_one_mail does not survive {fault}.\n{len(error.plans)} of ")
    assert "['Ada', 'Ada'] == ['Ada']" in text
    assert "test_survives.py:" in text
    assert re.search(r"#1 client --> frame 0 text \d+ B response.create", text)
    assert re.search(r"tool +send_mail\(.*\) done\n", text)
    assert text.endswith(f"{ENVIRONMENT}='{fault}' pytest 'tests/test_mail.py::test_one_mail'")

    monkeypatch.setenv(ENVIRONMENT, str(fault))
    assert not_survived(test_one_mail).plans == ((fault,),)
    monkeypatch.setenv(ENVIRONMENT, "a meteorite")
    with pytest.raises(LookupError, match="a meteorite"):
        test_one_mail()


def test_the_traceback_begins_in_the_test() -> None:
    @survives(cut=[Fault("cut", at_frame=2)])
    async def test(rig: Rig) -> None:
        async with rig.connect() as wire:
            await wire.respond("hi")
        assert len(rig.net.links) == 1

    error = not_survived(test)
    names = []
    step = error.__traceback__
    while step is not None:
        names.append(step.tb_frame.f_code.co_name)
        step = step.tb_next
    assert names[-1] == "test"
    assert "run" not in names


def test_what_is_left_behind_is_a_failure() -> None:
    kept: list[Any] = []

    @survives(cut=[Fault("cut", at_frame=1)])
    async def test(rig: Rig) -> None:
        async with rig.connect() as wire:
            await wire.respond("hi")
        if len(rig.net.links) > 1:
            kept.append(network().pair())

    assert isinstance(not_survived(test).error, Leaked)


def test_a_run_that_hangs_is_a_failure_that_says_where() -> None:
    @survives(cut=[Fault("cut", at_frame=1)], within=500)
    async def test(rig: Rig) -> None:
        async with rig.connect() as wire:
            await wire.respond("hi")
            if len(rig.net.links) > 1:
                await trio.sleep_forever()

    error = not_survived(test).error
    assert isinstance(error, Hung)
    assert "test_survives.py" in str(error)


def test_a_tool_that_runs_twice_is_a_failure_even_if_the_test_is_content() -> None:
    @survives(cut=[Fault("cut", at_frame=1)])
    async def test(rig: Rig) -> None:
        async with rig.connect() as wire:
            await wire.respond("hi")
        for _ in range(len(rig.net.links)):
            with rig.journal.work("tool", "call_1"):
                pass

    assert "call 'call_1' has run twice" in str(not_survived(test))


def test_a_server_that_says_what_is_not_legal_is_a_failure() -> None:
    @survives(cut=[Fault("cut", at_frame=1)])
    async def test(rig: Rig) -> None:
        async with rig.connect() as wire:
            await wire.respond("hi")
        if len(rig.net.links) > 1:
            rig.watch.violations.append(Violation("shape", "it is not", "there", ()))

    assert isinstance(not_survived(test).error, Broken)


def test_what_fails_without_a_fault_is_that_failure_alone() -> None:
    @survives
    async def test(rig: Rig) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        test()


def test_of_several_faults_those_are_left_out_that_do_not_matter() -> None:
    harmless = [Fault("split", size=7), Fault("slow", "client", rate=1000.0)]
    deadly = Fault("cut", at_frame=2)

    @survives(cut=[harmless, [harmless[0], deadly, harmless[1]]])
    async def test(rig: Rig) -> None:
        async with rig.connect() as wire:
            await wire.respond("hi")
        assert len(rig.net.links) == 1

    error = not_survived(test)
    assert error.plan == (deadly,)
    assert len(error.plans) == 1


# Where it is cut


def cuts_of(**how: Any) -> list[str]:
    """The faults of a test with two connections."""
    met: list[str] = []

    @survives(**how)
    async def test(rig: Rig) -> None:
        faults = {record.what for record in rig.trace.records if isinstance(record.what, str)}
        for _ in range(2):
            async with rig.connect() as wire:
                await wire.respond("hi")
        told = [record.what for record in rig.trace.records if isinstance(record.what, str)]
        met.extend(what for what in told if "connection" in what and what not in faults)

    test()
    return met


def test_all_connections_are_cut() -> None:
    met = cuts_of(limit=12)
    assert len(met) <= 12
    assert {what[-2] for what in met} == {"0", "1"}


def test_every_byte() -> None:
    met = cuts_of(cut="every byte", step=300)
    places = {int(match[1]) for what in met if (match := re.search(r"client at byte (\d+)", what))}
    assert {0, 300} <= places


def test_kinds_may_be_faults_that_say_more() -> None:
    met = cuts_of(kinds=["reset", Fault("stall", seconds=40)], limit=20)
    assert {re.match(r"reset|stall 40 s", what)[0] for what in met} == {"reset", "stall 40 s"}  # type: ignore[index]


def test_a_handshake_is_doubled_once() -> None:
    met = cuts_of(kinds=["duplicate"])
    assert met == [f"duplicate client before frame 0 (connection {number})" for number in (0, 1)]


def test_a_function_may_say_where() -> None:
    def last_frame(net: Network) -> Iterator[Fault]:
        assert len(net.links) == 2
        yield Fault("cut", at_frame=net.trace.frames("server", 1), connection=1)

    (met,) = cuts_of(cut=last_frame)
    assert met.endswith("(connection 1)")


def test_faults_are_drawn_by_the_seed() -> None:
    assert cuts_of(limit=5, seed=1) == cuts_of(limit=5, seed=1)
    assert cuts_of(limit=5, seed=1) != cuts_of(limit=5, seed=2)


# What a test is given


def test_a_network_alone_for_a_server_and_a_client_of_ones_own() -> None:
    heard: list[bytes] = []

    @survives(cut="every byte", latency=0.5)
    async def test(network: Network) -> None:
        async def answer(stream: trio.abc.Stream) -> None:
            with suppress(trio.BrokenResourceError):
                while data := await stream.receive_some():
                    await stream.send_all(data.upper())

        async with trio.open_nursery() as nursery:
            await nursery.start(network.serve, answer)
            with suppress(trio.BrokenResourceError):
                async with await network.connect() as stream:
                    await stream.send_all(b"hello")
                    heard.append(await stream.receive_some())
            nursery.cancel_scope.cancel()

    test()
    assert heard[0] == b"HELLO"
    assert {b"", b"H", b"HE", b"HEL"} <= set(heard)


def test_the_rules_hold_of_anybodys_server_of_the_mode() -> None:
    def make(*events: dict[str, Any]) -> Callable[..., None]:
        @survives(cut=[])
        async def test(network: Network) -> None:
            client, server = network.pair()
            await client.send_all(client_frame(json.dumps(create()).encode(), b"abcd"))
            for event in events:
                await server.send_all(server_frame(json.dumps(event).encode()))
            client.reset()
            server.reset()

        return test

    make(*answer("resp_1"))()
    with pytest.raises(InvariantBroken):
        make(*answer("resp_1")[1:])()


def test_its_server_and_a_client() -> None:
    @survives(cut=[])
    async def test(wire: Client, server: agentwire.Server) -> None:
        await wire.respond("hi")
        assert server.statistics().connections == 1

    test()


def test_a_seed_decides_all_that_is_drawn() -> None:
    drawn: list[float] = []

    @survives(cut=[Fault("split"), Fault("merge", size=9, seconds=1)])
    async def test(rig: Rig) -> None:
        drawn.append(random.random())
        async with rig.connect():
            pass

    random.seed(5)
    test()
    test()
    after = random.random()
    random.seed(5)
    assert after == random.random()
    assert len(set(drawn)) == 1
    assert len(drawn) == 6


def test_a_scripted_engine_begins_anew_each_time() -> None:
    engine = scripted([Turn(Text("one"))], order="calls")

    @survives(engine=engine, limit=3)
    async def test(rig: Rig) -> None:
        async with rig.connect() as wire:
            await wire.respond("hi")
        assert rig.engine is not engine

    test()
    assert engine.asks == []


def test_options_are_the_servers() -> None:
    @survives(cut=[], keys=["secret"])
    async def test(rig: Rig) -> None:
        with pytest.raises(agentwire.HandshakeRefused):
            async with rig.connect():
                pass
        async with rig.connect(key="secret") as wire:
            await wire.respond("hi")

    test()


# Mistakes


async def asks_for_nothing() -> None:
    """A test."""


def plain(rig: Rig) -> None:
    """No test."""


@pytest.mark.parametrize(("test", "says"), [(asks_for_nothing, "nothing that could break"), (plain, "async function")])
def test_a_test_that_cannot_be_cut_is_refused(test: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        survives(test)


def test_one_that_uses_no_connection_is_no_proof() -> None:
    @survives
    async def test(rig: Rig) -> None:
        await trio.sleep(1)

    with pytest.raises(ValueError, match="it made no connection"):
        test()


def test_one_over_http_has_no_frames() -> None:
    def make(**how: Any) -> Callable[..., None]:
        @survives(**how)
        async def test(rig: Rig) -> None:
            async with rig.connect(transport="http") as wire:
                await wire.respond("hi")

        return test

    with pytest.raises(ValueError, match='say cut="every byte"'):
        make()()
    make(cut="every byte", step=500)()


def test_a_place_that_there_is_not_is_no_proof() -> None:
    with pytest.raises(ValueError, match="none of its 2 faults has happened"):
        cuts_of(cut=[Fault("cut", at_frame=500), Fault("cut", at_time=7200)])
    assert len(cuts_of(cut=[Fault("cut", at_frame=500), Fault("cut", at_frame=1)])) == 1


def test_an_unknown_place_is_refused() -> None:
    with pytest.raises(ValueError, match="every frame"):
        cuts_of(cut="every word")


# Under pytest

TESTS = """
import pytest

from agentwire.testing import Rig, survives


@pytest.mark.parametrize("word", ["hi", "ho"])
@survives(limit=3)
async def test_with_fixtures(tmp_path, rig: Rig, word: str) -> None:
    async with rig.connect() as wire:
        (tmp_path / "said").write_text((await wire.respond(word)).output_text)


class TestInAClass:
    @survives(limit=3)
    async def test_fails(self, rig: Rig) -> None:
        async with rig.connect() as wire:
            await wire.respond("hi")
        assert len(rig.net.links) == 1


@survives(limit=1)
async def test_left_out(rig: Rig) -> None:
    pytest.skip("not now")
"""


def test_under_pytest_with_fixtures_and_parameters(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:trio"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 2 passed, 1 skipped" in ran.stdout
    assert "TestInAClass.test_fails does not survive" in ran.stdout
    assert re.search(r"pytest 'test_some.py::TestInAClass::test_fails'", ran.stdout)
