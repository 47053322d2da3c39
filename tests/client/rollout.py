"""A rollout of several turns with tools over the real server, for tests that cut it off wherever they like.

The model decides by what is in front of it: it calls what has no answer yet. So it may call a tool again exactly if
the client has lost the answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import attrs
import trio

from agentwire.client import PATIENT, Client, Repeat, Run, Step, TurnLost, connect
from agentwire.engines import Call, Delay, ScriptedEngine, Text, Turn, scripted
from agentwire.protocol.errors import AgentwireError
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import FunctionCall, FunctionCallOutput, Item, Message
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask
from agentwire.runtime.policies import Policy
from agentwire.server import serve
from agentwire.testing import Fault, Network, network, no_leaks

LIMITS = Limits(ping_interval=20, ping_timeout=60, handshake=10, close_grace=5)
STAGES = (("a", "b"), ("c",), ("d", "e"))
"""What is called side by side, one after the other."""
SECONDS = {"a": 2.0, "b": 4.0, "c": 1.0, "d": 0.1, "e": 90.0}


def think(ask: Ask) -> Turn:
    """Call the first that have no answer; then be done."""
    items = tuple(ask.items)
    answered = {item.call_id for item in items if isinstance(item, FunctionCallOutput)}
    known = {item.arguments for item in items if isinstance(item, FunctionCall) and item.call_id in answered}
    for number, stage in enumerate(STAGES):
        missing = [name for name in stage if f'{{"name":"{name}"}}' not in known]
        if missing:
            calls = [part for name in missing for part in (Delay(0.5), Call("work", {"name": name}))]
            return Turn(Text(f"Stage {number}.", pieces=3, every=0.1), *calls, Delay(0.5))
    return Turn(Delay(1), Text("All done.", pieces=3))


@attrs.define
class Rollout:
    """One rollout, and everything that can be said of it afterwards."""

    policy: Policy = PATIENT
    repeat: Repeat = "safe"
    extensions: tuple[str, ...] = ()
    started: list[str] = attrs.field(factory=list)
    ended: list[str] = attrs.field(factory=list)
    steps: list[Step] = attrs.field(factory=list)
    error: BaseException | None = None
    text: str = ""
    run: Run | None = None
    engine: ScriptedEngine = attrs.field(factory=lambda: scripted(think))

    async def work(self, name: str) -> str:
        self.started.append(name)
        try:
            await trio.sleep(SECONDS[name])
        finally:
            self.ended.append(name)
        return f"{name} worked"

    async def play(self, net: Network) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self._serve, net)
            try:
                async with self.connect(net) as wire:
                    await self._run(wire)
            except (AgentwireError, OSError) as error:
                self.error = error
            await trio.sleep(LIMITS.ping_timeout + 30)  # the server notices, too
            nursery.cancel_scope.cancel(reason="the test is over")

    def connect(self, net: Network) -> AbstractAsyncContextManager[Client]:
        return connect(
            "ws://test/v1",
            on_disconnect=self.policy,
            repeat=self.repeat,
            limits=LIMITS,
            sources=Sources.seeded(1),
            connector=net.connect,
        )

    async def _run(self, wire: Client) -> None:
        async with wire.run("Go.", tools=[self.work]) as run:
            self.run = run
            async for step in run:
                self.steps.append(step)
            self.text = run.text

    async def _serve(self, net: Network, *, task_status: trio.TaskStatus[object]) -> None:
        await serve(
            self.engine,
            host=None,
            listeners=[net.listener()],
            limits=LIMITS,
            sources=Sources.seeded(2),
            allowed_hosts=["test"],
            extensions=self.extensions,
            task_status=task_status,
        )

    def check(self, faults: object) -> None:
        """What holds whatever happened."""
        assert not [name for name, count in Counter(self.started).items() if count > 1], faults
        assert sorted(self.started) == sorted(self.ended), faults
        assert self.engine.running == 0, faults
        for ask in self.engine.asks:
            check_history(tuple(ask.items), faults)
        if self.error is not None:
            assert isinstance(self.error, AgentwireError), faults
            return
        assert (self.text, sorted(self.started)) == ("All done.", sorted(SECONDS)), faults
        assert self.run is not None
        told = [step for step in self.steps if isinstance(step, TurnLost)]
        summary = self.run.summary()
        assert summary.lost >= len(told), faults
        assert sorted(result.text[0] for result in summary.results.values()) == sorted(SECONDS), faults


def check_history(items: Sequence[Item], faults: object) -> None:
    """Nothing was said twice, and every call has its answer."""
    told = [item.text for item in items if isinstance(item, Message) and item.role == "user"]
    calls = [item.call_id for item in items if isinstance(item, FunctionCall)]
    outputs = [item.call_id for item in items if isinstance(item, FunctionCallOutput)]
    assert told == ["Go."], faults
    assert len(set(calls)) == len(calls), faults
    assert sorted(calls) == sorted(outputs), faults


async def play(rollout: Rollout, faults: Sequence[Fault]) -> Rollout:
    """Play it on a network of its own, on which these faults happen."""
    async with no_leaks():
        await rollout.play(network(faults=faults))
    return rollout
