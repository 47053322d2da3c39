"""The client for plain Python: blocking calls, iterators and contexts, over one loop in a thread of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import trio

import agentwire
import agentwire.sync
from agentwire.client import TextDelta, ToolFinished, TurnFinished
from agentwire.client.portal import Portal
from agentwire.engines.script import Call, Delay, Hang, Text, Turn
from agentwire.engines.scripted import ScriptedEngine, scripted
from agentwire.protocol.events import OutputTextDelta
from tests.client.threads import loops, serving

pytestmark = pytest.mark.socket


@pytest.fixture(autouse=True)
def keyboard() -> Iterator[None]:
    """Ctrl-C interrupts, also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_whole_answer() -> None:
    with serving(scripted(Turn(Text("Hello.")))) as url, agentwire.sync.connect(url) as wire:
        response = wire.respond("Hi.")
        assert response.output_text == "Hello."
        assert wire.ended is None
        assert wire.statistics().events > 5
    assert not loops()


def test_a_turn_event_by_event_and_another_one_that_continues_it() -> None:
    engine = scripted([Turn(Text("one two", pieces=2)), Turn(Text("three"))])
    with serving(engine) as url, agentwire.sync.connect(url) as wire:
        with wire.turn("Count.") as turn:
            said = [event.delta for event in turn if isinstance(event, OutputTextDelta)]
            assert "".join(said) == turn.text == "one two"
            assert turn.response().output_text == "one two"
        with wire.turn("On.", previous_response_id=turn.response_id) as turn:
            assert turn.response().output_text == "three"
            assert turn.fate is agentwire.Fate.FINISHED


def test_a_run_with_a_plain_function_in_a_thread() -> None:
    threads: list[threading.Thread] = []

    def double(x: int) -> int:
        threads.append(threading.current_thread())
        return 2 * x

    engine = scripted([Turn(Call("double", {"x": 21})), Turn(Text("42."))])
    with (
        serving(engine) as url,
        agentwire.sync.connect(url, tools=[double]) as wire,
        wire.run("Double 21.") as run,
    ):
        steps = list(run)
        assert [type(step) for step in steps if not isinstance(step, TextDelta)][-1] is TurnFinished
        (finished,) = [step for step in steps if isinstance(step, ToolFinished)]
        assert finished.result.text == "42"
        assert (run.text, run.turns, run.finish().output_text) == ("42.", 2, "42.")
        assert run.response is not None
        assert run.summary().results.keys() == run.results.keys()
        assert run.statistics().tools_finished == 1
    assert threads[0] not in (threading.main_thread(), *loops())


def test_errors_are_raised_where_the_caller_is() -> None:
    async def failing(ask: agentwire.Ask, out: agentwire.Out) -> None:
        raise agentwire.EngineError("out of order", code="broken", status=503)

    with serving(failing) as url, agentwire.sync.connect(url) as wire:
        with pytest.raises(agentwire.ResponseError, match="out of order"):
            wire.respond("Hi.")
        with pytest.raises(agentwire.LocalProtocolError), wire.turn("Hi.", temperature="hot"):
            pass
    assert not loops()


def test_nobody_there_is_told_and_leaves_no_loop_behind() -> None:
    with pytest.raises(agentwire.ConnectFailed), agentwire.sync.connect("ws://127.0.0.1:1/v1"):
        pass
    assert not loops()


def test_a_closed_connection_is_told_whoever_asks() -> None:
    with serving(scripted(Turn(Text("Hello.")))) as url, agentwire.sync.connect(url) as wire, wire.lane() as lane:
        pass
    assert not loops()
    with pytest.raises(agentwire.RequestLost) as lost:
        wire.respond("Hi.")
    assert lost.value.fate is agentwire.Fate.NEVER_SENT
    for context in (wire.turn, wire.run, lane.turn, wire.lane):
        with pytest.raises(agentwire.RequestLost), context():
            pass
    assert wire.wait_ended() is wire.ended


LEFT_OPEN = """
import sys, agentwire.sync
connecting = agentwire.sync.connect(sys.argv[1])
wire = connecting.__enter__()
asking = wire.turn("Hi.")
next(asking.__enter__())
print("the end")
"""


def test_a_process_ends_that_has_left_something_open() -> None:
    engine = scripted(Turn(Text("Hello."), Hang()))
    with serving(engine) as url:
        ran = subprocess.run([sys.executable, "-c", LEFT_OPEN, url], capture_output=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"the end\n", b"")


def test_nothing_is_asked_of_a_loop_whose_thread_python_has_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    portal = Portal.take()
    with monkeypatch.context() as ending:
        ending.setattr(sys, "is_finalizing", lambda: True)
        asked = portal.submit(trio.lowlevel.checkpoint)
    portal.release()
    with pytest.raises(agentwire.RequestLost):
        asked.future.result()


FORKED = """
import os, sys, warnings, agentwire.sync
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork that has more threads than one, since Python 3.12
def tell(what: object) -> None:
    os.write(1, f"{what}\\n".encode())  # in one piece, since both processes write there
with agentwire.sync.connect(sys.argv[1]) as wire:
    child = os.fork()
    try:
        tell(wire.respond("Hi.").output_text)
    except agentwire.RequestLost as lost:
        tell(lost)
        with agentwire.sync.connect(sys.argv[1]) as own:
            tell(own.respond("Hi.").output_text)
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""


def test_a_forked_process_is_told_and_connects_for_itself() -> None:
    with serving(scripted(Turn(Text("Hello.")))) as url:
        ran = subprocess.run([sys.executable, "-c", FORKED, url], capture_output=True, timeout=60, check=False)
    lost = b"connection ended: it belongs to the process that forked this (no close frame sent or received); "
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert sorted(ran.stdout.splitlines()) == [b"Hello.", b"Hello.", lost + b"the request: never sent"]


def test_two_connections_share_the_loop() -> None:
    with serving(scripted(Turn(Text("Hello.")))) as url, agentwire.sync.connect(url) as one:
        with agentwire.sync.connect(url) as other:
            assert len(loops()) == 1
            assert other.respond("Hi.").output_text == "Hello."
        assert one.respond("Hi.").output_text == "Hello."
    assert not loops()


def test_many_threads_use_one_connection() -> None:
    answers: list[str] = []
    with serving(scripted(Turn(Text("Hello.")))) as url, agentwire.sync.connect(url) as wire:
        threads = [threading.Thread(target=lambda: answers.append(wire.respond("Hi.").output_text)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == ["Hello."] * 8


def interrupt_once(engine: ScriptedEngine) -> None:
    """Ctrl-C, as soon as the model is at work."""

    def press() -> None:
        while not engine.running:
            time.sleep(0.001)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=press).start()


def test_ctrl_c_cancels_what_is_waited_for() -> None:
    engine = scripted([Turn(Delay(600), Text("late")), Turn(Text("Hello."))], order="calls")
    with serving(engine) as url:
        with agentwire.sync.connect(url) as wire:
            interrupt_once(engine)
            with pytest.raises(KeyboardInterrupt):
                wire.respond("Hi.")
            assert wire.respond("Hi again.").output_text == "Hello."
        assert len(engine.cancelled) == 1
    assert not loops()


def test_an_interrupted_iteration_goes_on_where_it_was() -> None:
    engine = scripted(Turn(Text("one "), Delay(0.5), Text("two")))
    pieces: list[str] = []
    with serving(engine) as url, agentwire.sync.connect(url) as wire, wire.turn("Count.") as turn:
        pieces.append(next(event.delta for event in turn if isinstance(event, OutputTextDelta)))
        threading.Timer(0.05, interrupt_once, (engine,)).start()
        with pytest.raises(KeyboardInterrupt):
            next(turn)
        pieces.extend(event.delta for event in turn if isinstance(event, OutputTextDelta))
    assert pieces == ["one ", "two"]


def test_leaving_a_run_cancels_its_tools_and_waits_for_them() -> None:
    cleaned = threading.Event()

    async def slow() -> str:
        try:
            await trio.sleep(600)
            return "never"
        finally:
            cleaned.set()

    engine = scripted([Turn(Call("slow", {})), Turn(Text("done"))])
    with serving(engine) as url, agentwire.sync.connect(url, tools=[slow]) as wire:
        with wire.run("Go.") as run:
            for step in run:
                if isinstance(step, TurnFinished):
                    break
        assert cleaned.is_set()


def test_it_cannot_be_used_in_its_own_loop() -> None:
    portal = Portal.take()
    try:

        async def nested() -> None:
            portal.submit(trio.lowlevel.checkpoint)

        with pytest.raises(RuntimeError, match="cannot be used in Trio code"):
            portal.submit(nested).future.result()
    finally:
        portal.release()


def test_lanes_and_a_warm_up() -> None:
    with serving(scripted(Turn(Text("Hello.")))) as url, agentwire.sync.connect(url) as wire:
        ready = wire.warm_up(instructions="Be brief.")
        with wire.lane("plan") as plan, wire.lane() as other:
            assert (plan.name, other.name) == ("plan", "auto-1")
            assert plan.respond("Hi.", previous_response_id=ready.id).output_text == "Hello."
            with other.turn("Hi.") as turn, plan.run("Hi.") as run:
                assert turn.response().output_text == run.finish().output_text
                assert turn.stream_id == "auto-1"
    assert not loops()


def test_a_turn_is_steered_and_another_one_cancelled() -> None:
    engine = scripted([Turn(Hang()), Turn(Text("Only tests.")), Turn(Text("Let me"), Hang())], order="calls")
    with serving(engine) as url, agentwire.sync.connect(url) as wire:
        with wire.turn("Look.") as turn:
            steer = turn.steer("Only tests.")
            assert turn.response().output_text == "Only tests."
            assert [response.status for response in turn.responses] == ["incomplete", "completed"]
            assert steer.delivered() == turn.response_id
            assert (steer.fate, steer.input, steer.error) == (agentwire.SteerFate.DELIVERED, "Only tests.", None)
            assert (steer.response_id, steer.successor_id) == tuple(response.id for response in turn.responses)
            assert (steer.id is None, turn.repeated) == (False, 0)
            assert [one.delivered() for one in turn.steers] == [turn.response_id]
        with wire.turn("Look.") as turn:
            next(turn)
            turn.cancel()
            assert list(turn) == []
            with pytest.raises(agentwire.TurnCancelled):
                turn.response()
            assert turn.cancelled
    assert [cancelled.reason for cancelled in engine.cancelled][1:] != []
    assert not loops()


def test_a_sub_agent() -> None:
    def model(ask: agentwire.Ask) -> Turn:
        if ask.request.instructions == "Search.":
            return Turn(Text("found"))
        return Turn(Text("Done.")) if len(ask.items) > 1 else Turn(Call("search", {"task": "x"}))

    with serving(scripted(model)) as url, agentwire.sync.connect(url) as wire:
        search = wire.sub_agent("search", instructions="Search.")
        with wire.run("Go.", tools=[search]) as run:
            assert run.finish().output_text == "Done."
            assert [result.text for result in run.results.values()] == ["found"]
    assert not loops()
