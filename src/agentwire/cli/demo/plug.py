"""The plug is pulled while an agent works: what was running, what was cancelled, why, and how soon.

The connection is reset by the relay between client and server, so that each side has to notice for itself. The moments
are those at which the tools and the engine saw `trio.Cancelled`, on one clock, counted from the cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import attrs
import trio

from agentwire.cli.demo.rollout import MODEL
from agentwire.cli.demo.view import View
from agentwire.cli.demo.watch import Doing, Side, Watch
from agentwire.cli.demo.workspace import Workspace
from agentwire.cli.failures import CommandFailed
from agentwire.client import connect
from agentwire.engines.builtin import builtin
from agentwire.protocol.errors import AgentwireError
from agentwire.runtime.policies import Cancel
from agentwire.server import Server, serve
from agentwire.testing.relay import Relay, open_relay

__all__ = ["Act", "pull_the_plug"]

TASK: Final = """\
1. List the files in `.`.
2. Search for `class `, `def `, `import `, `return ` and `self` in parallel.
3. Report what you found.
"""

TYPING: Final = 0.15
"""Seconds that the engine takes after each call, so that it still works while the first tools do."""
PAUSE: Final = 0.05
"""Seconds that a search rests after each file, for the same end."""
TOOLS: Final = 3
"""Tools that have to be at work when the plug is pulled."""
PATIENCE: Final = 20.0
"""Seconds in which the rollout has to get that far, and then to be gone."""


@attrs.frozen(kw_only=True)
class Act:
    """One pulled plug.

    Attributes:
        side: where the tools ran.
        running: what ran when it was pulled: by side, how many things.
        cancelled: what was cancelled, in the order in which it ended.
        cut_at: Trio's time of the cut.
        raised: what the client's run raised.
        client_seconds: from the cut until the run had raised.
        server_seconds: from the cut until the server had nothing left of it.
        left: sessions, turns and connections that the server had then: zero of each.
    """

    side: Side
    running: dict[str, int]
    cancelled: tuple[Doing, ...]
    cut_at: float
    raised: str
    client_seconds: float
    server_seconds: float
    left: dict[str, int]


async def pull_the_plug(workspace: Workspace, view: View) -> tuple[Act, ...]:
    """Two acts: the tools run at the client, then at the server."""
    view.heading("The plug is pulled", "the relay resets the connection in the middle of a rollout; policy: Cancel")
    slow = attrs.evolve(workspace, stride=1, pause=PAUSE)
    acts = []
    sides: tuple[Side, ...] = ("client", "server")
    for side in sides:
        act = await _act(side, slow.tools)
        _show(act, view)
        acts.append(act)
    return tuple(acts)


async def _act(side: Side, functions: Sequence[Callable[..., Any]]) -> Act:
    watch = Watch()
    tools = watch.tools(side, functions)
    start = partial(serve, watch.engine(builtin(delay=TYPING)), tools=tools if side == "server" else ())
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(start)
        assert server.port is not None
        async with open_relay("127.0.0.1", server.port) as relay:
            play = _Play(watch, server, relay)
            act = await play.run(side, tools if side == "client" else ())
        nursery.cancel_scope.cancel(reason="the act is over")
    return act


@attrs.define
class _Play:
    """One rollout and the one who pulls the plug on it."""

    watch: Watch
    server: Server
    relay: Relay
    cut_at: float = 0.0
    running: dict[str, int] = attrs.field(factory=dict)
    server_gone_at: float = 0.0

    async def run(self, side: Side, tools: Sequence[Callable[..., Any]]) -> Act:
        """Play it to its end, and see that nothing is left."""
        try:
            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pull)
                    raised = await self._rollout(tools)
                    client_seconds = trio.current_time() - self.cut_at
        except trio.TooSlowError as error:
            raise CommandFailed(f"the rollout was not gone {PATIENCE:g} s after it began") from error
        return Act(
            side=side,
            running=self.running,
            cancelled=self.watch.cancelled,
            cut_at=self.cut_at,
            raised=raised,
            client_seconds=client_seconds,
            server_seconds=self.server_gone_at - self.cut_at,
            left=self._left(),
        )

    async def _rollout(self, tools: Sequence[Callable[..., Any]]) -> str:
        """Do the task as far as it goes; returns what was raised."""
        url = self.relay.through(self.server.url)
        try:
            async with connect(url, on_disconnect=Cancel()) as wire, wire.run(TASK, model=MODEL, tools=tools) as run:
                await run.finish()
        except AgentwireError as error:
            return f"{type(error).__name__}: {error}"
        raise CommandFailed("the rollout was over before anybody pulled the plug")

    async def _pull(self) -> None:
        """Wait for the right moment: a few tools at work, and the engine still writing calls."""
        while not self._in_the_middle():
            await self.watch.changed()
        self.running = dict(Counter(f"{one.kind}s at the {one.where}" for one in self.watch.running))
        self.cut_at = self.relay.cut("reset")
        while any(self._left().values()):  # noqa: ASYNC110 - a server's figures tell nobody that they change
            await trio.sleep(0.0005)
        self.server_gone_at = trio.current_time()

    def _in_the_middle(self) -> bool:
        kinds = [one.kind for one in self.watch.running]
        return kinds.count("tool") >= TOOLS and "engine step" in kinds

    def _left(self) -> dict[str, int]:
        statistics = self.server.statistics()
        return {
            "connections": statistics.connections,
            "sessions": statistics.sessions,
            "turns": statistics.running,
            "engine steps and tools": sum(one.where == "server" for one in self.watch.running),
        }


def _show(act: Act, view: View) -> None:
    running = ", ".join(f"{what}: {count}" for what, count in act.running.items())
    view.line(f"\ntools run by the {act.side}; running when the plug was pulled: {running}")
    view.cancellations(
        (doing.where, doing.what, (doing.ended or act.cut_at) - act.cut_at, doing.reason or "")
        for doing in act.cancelled
    )
    view.line(f"the run raised {act.raised} ({act.client_seconds * 1000:.1f} ms after the cut)")
    left = ", ".join(f"{count} {what}" for what, count in act.left.items())
    view.line(f"left on the server after {act.server_seconds * 1000:.1f} ms: {left}")
