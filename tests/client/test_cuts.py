"""A rollout over the real server, cut at every frame: what was started ends, and everybody is told why."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
import trio

from agentwire.client import RunLost, RunSummary, connect
from agentwire.engines import Call, Delay, ScriptedEngine, Text, Turn, scripted
from agentwire.link import Fate, RequestLost
from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.hello import EXTENSIONS
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.policies import Cancel, Policy, Resume
from agentwire.server import serve
from agentwire.testing import Fault, Network, cut_points, network, no_leaks, run
from agentwire.testing.faults import Kind

LIMITS = Limits(ping_interval=20, ping_timeout=60, handshake=10, close_grace=5)


@attrs.define
class Witness:
    """A tool, on either side, that tells what became of each of its calls."""

    started: list[str] = attrs.field(factory=list)
    ended: dict[str, str] = attrs.field(factory=dict)
    cleaned: list[str] = attrs.field(factory=list)

    async def work(self, name: str, seconds: float) -> str:
        self.started.append(name)
        try:
            await trio.sleep(seconds)
        except trio.Cancelled as cancelled:
            self.ended[name] = f"cancelled: {cancelled.reason}"
            raise
        else:
            self.ended[name] = "finished"
        finally:
            with trio.move_on_after(1, shield=True):
                await trio.sleep(0.5)
            self.cleaned.append(name)
        return f"{name} worked"


@attrs.define
class Rollout:
    """One conversation: two client tools side by side, a server tool, another client tool, and an answer."""

    policy: Policy
    client: Witness = attrs.field(factory=Witness)
    server: Witness = attrs.field(factory=Witness)
    summary: RunSummary | None = None
    error: BaseException | None = None
    text: str = ""
    engine: ScriptedEngine = attrs.field(
        factory=lambda: scripted(
            [
                Turn(
                    Text("First.", pieces=2, every=0.1),
                    Call("work", {"name": "a", "seconds": 2}),
                    Delay(1),
                    Call("work", {"name": "b", "seconds": 4}),
                    Delay(0.1),
                ),
                Turn(Delay(1), Call("serve_tool", {"name": "s", "seconds": 3})),
                Turn(Text("Then."), Call("work", {"name": "c", "seconds": 2}), Delay(1)),
                Turn(Delay(1), Text("All "), Text("done.")),
            ]
        )
    )

    async def play(self, net: Network) -> None:
        async def serve_tool(name: str, seconds: float) -> str:
            return await self.server.work(name, seconds)

        async with trio.open_nursery() as nursery:

            async def start_server(*, task_status: trio.TaskStatus[object]) -> None:
                await serve(
                    self.engine,
                    host=None,
                    listeners=[net.listener()],
                    tools=[serve_tool],
                    limits=LIMITS,
                    sources=Sources.seeded(2),
                    allowed_hosts=["test"],
                    extensions=EXTENSIONS,
                    task_status=task_status,
                )

            await nursery.start(start_server)
            try:
                await self._run(net)
            except (ConnectionEnded, OSError) as error:
                self.error = error
            await trio.sleep(LIMITS.ping_timeout + 30)  # the other side notices, too
            nursery.cancel_scope.cancel(reason="the test is over")

    async def _run(self, net: Network) -> None:
        options = {"limits": LIMITS, "sources": Sources.seeded(1), "connector": net.connect}
        async with (
            connect("ws://test/v1", on_disconnect=self.policy, **options) as wire,  # type: ignore[arg-type]
            wire.run("Go.", tools=[self.client.work]) as rollout,
        ):
            try:
                self.text = (await rollout.finish()).output_text
            finally:
                self.summary = rollout.summary()


async def play(policy: Policy, fault: Fault | None) -> Rollout:
    rollout = Rollout(policy)
    async with no_leaks():
        await rollout.play(network(faults=[] if fault is None else [fault]))
    return rollout


def faults(kinds: Sequence[Kind]) -> list[Fault]:
    return list(cut_points(Rollout(Cancel()).play, kinds=kinds))


def check(rollout: Rollout, fault: Fault) -> None:
    """What holds whatever happened."""
    client, server = rollout.client, rollout.server
    for witness in (client, server):
        assert sorted(witness.cleaned) == sorted(witness.started) == sorted(witness.ended), fault
        assert len(set(witness.started)) == len(witness.started), fault
    assert rollout.engine.running == 0, fault
    if rollout.summary is not None:
        finished = sorted(name for name, end in client.ended.items() if end == "finished")
        results = sorted(result.text.split()[0] for result in rollout.summary.results.values())
        assert results == finished, fault
        cut_off = sorted(name for name, end in client.ended.items() if end != "finished")
        assert len(rollout.summary.unfinished) == len(cut_off), fault
    if rollout.error is None:
        assert rollout.text == "All done.", fault
    else:
        assert rollout.text == "", fault
        assert isinstance(rollout.error, RequestLost | ConnectionEnded), fault


def test_without_a_fault_it_is_done() -> None:
    rollout = run(play, Cancel(), None)
    assert rollout.text == "All done."
    assert rollout.client.ended == {"a": "finished", "b": "finished", "c": "finished"}
    assert rollout.server.ended == {"s": "finished"}
    assert rollout.summary is not None
    assert rollout.summary.turns == 3


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_under_cancel_everything_ends_with_the_connection(kind: Kind) -> None:
    seen: set[str] = set()
    for fault in faults([kind]):
        rollout = run(play, Cancel(), fault)
        check(rollout, fault)
        for name, end in rollout.client.ended.items():
            assert end == "finished" or end.startswith("cancelled: the connection was lost: connection ended: "), fault
            seen.add(f"{name} {end.split(':')[0]}")
        for name, end in rollout.server.ended.items():
            assert end == "finished" or end.startswith("cancelled: connection ended: "), (fault, end)
            seen.add(f"{name} {end.split(':')[0]}")
        if isinstance(rollout.error, RunLost):
            seen.add(str(rollout.error.fate))
    assert {"a finished", "a cancelled", "b finished", "b cancelled", "c finished", "c cancelled"} <= seen
    assert {"s finished", str(Fate.UNKNOWN), str(Fate.STARTED)} <= seen
    assert kind == "reset" or str(Fate.FINISHED) in seen


def test_a_cut_while_a_server_tool_works_cancels_it() -> None:
    for kind in ("cut", "reset"):
        fault = Fault(kind, at_time=7)
        rollout = run(play, Cancel(), fault)
        check(rollout, fault)
        assert rollout.server.ended["s"].startswith("cancelled: connection ended: ")
        assert rollout.engine.cancelled == []


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_under_resume_nobody_notices(kind: Kind) -> None:
    """The run is done whatever is cut, unless there was no session yet: then nothing had begun."""
    done = 0
    for fault in faults([kind]):
        rollout = run(play, Resume(within=60), fault)
        check(rollout, fault)
        if rollout.error is not None:
            assert fault.at_frame in (0, 1), fault
            assert rollout.engine.asks == [], fault
            continue
        done += 1
        assert set(rollout.client.ended.values()) == set(rollout.server.ended.values()) == {"finished"}, fault
        assert (len(rollout.engine.asks), rollout.engine.cancelled) == (4, []), fault
    assert done > 50


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_peer_that_falls_silent_is_a_lost_connection(side: str) -> None:
    fault = Fault("stall", side, at_time=7)  # type: ignore[arg-type]
    rollout = run(play, Cancel(), fault)
    check(rollout, fault)
    assert isinstance(rollout.error, RunLost)
