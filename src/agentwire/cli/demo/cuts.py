"""The plug is pulled at random places of a rollout, again and again: the answer goes on in the middle of a word.

The places are bytes on the wire, drawn from a seed: some while the agent works with its tools, some while it writes its
answer. The yardstick is the same rollout without a cut: the same tool calls, each once, and the same answer.
"""

from __future__ import annotations

import difflib
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final, Literal

import attrs
import trio
from rich.text import Text

from agentwire.cli.demo.rollout import MODEL
from agentwire.cli.demo.tokens import in_tokens
from agentwire.cli.demo.view import View
from agentwire.cli.demo.watch import Watch
from agentwire.cli.demo.workspace import Workspace
from agentwire.cli.failures import CommandFailed
from agentwire.cli.terminal import clean
from agentwire.client import TextDelta, TurnLost, TurnStarted, connect
from agentwire.engines.builtin import builtin
from agentwire.protocol.hello import EXTENSIONS
from agentwire.server import Server, serve
from agentwire.testing.relay import Cut, Relay, open_relay

__all__ = ["CutRun", "Cutting", "Pull", "pull_at_random"]

TASK: Final = """\
1. List the files in `.`.
2. Search for `class `, `def ` and `import ` in parallel.
3. Read the first four files that step 2 found, two at a time.
4. Report what you found.
"""
THINK: Final = 0.05
"""Seconds before each engine step."""
TYPING: Final = 0.003
"""Seconds after each token."""
PAUSE: Final = 0.01
"""Seconds that a search rests between files."""
HOW: Final[Sequence[Cut]] = ("reset", "close")
PATIENCE: Final = 60.0
"""Seconds in which a rollout has to be done, however often its plug is pulled."""
SHOWN: Final = 36
"""Characters of the answer that are shown on each side of a cut."""
MARK: Final = "\N{BLACK SCISSORS}"
TOLD: Final = {
    "resumed": "resumed where it stopped",
    "repeated": "the turn asked again in full",
    "reopened": "all said in full on a new connection",
}
PLACES: Final = {True: (3, 4), False: (2, 1)}
"""With and without sessions: how often the plug is pulled while the agent works, and while it answers."""

Outcome = Literal["resumed", "repeated", "reopened"]
"""The turn went on where it stopped; it was asked again, and its text is void; or nothing of it had been read yet."""


@attrs.define(kw_only=True)
class Pull:
    """One pulled plug.

    Attributes:
        after: bytes that had passed since the last one, or since this part of the rollout began.
        how: the way in which the connection was lost.
        during: what was going on.
        text: what had been written of the answer, as far as the client had it.
        back: seconds until there was a connection again.
        outcome: what became of the turn.
    """

    after: int
    how: Cut
    during: str
    text: str = ""
    back: float = 0.0
    outcome: Outcome = "reopened"


@attrs.frozen(kw_only=True)
class CutRun:
    """One rollout, however often its plug was pulled.

    Attributes:
        sessions: whether the server has the extension by which a session is resumed.
        pulls: in order.
        done: tool calls that were run, by what they did, and how often.
        finished: those that came to their end.
        text: the answer.
        turns_repeated: turns that were asked again.
        answer_bytes: of the answer, on the wire.
        work_bytes: of everything before it.
        seconds: all of it.
    """

    sessions: bool
    pulls: Sequence[Pull]
    done: Counter[str]
    finished: int
    text: str
    turns_repeated: int
    work_bytes: int
    answer_bytes: int
    seconds: float

    def twice(self, plain: CutRun) -> int:
        """Calls that were run more often than without a cut."""
        return (self.done - plain.done).total()

    def lost(self, plain: CutRun) -> int:
        """What is missing, or there twice: calls, and words of the answer."""
        words = difflib.SequenceMatcher(None, plain.text.split(), self.text.split(), autojunk=False)
        wrong = sum(max(b - a, d - c) for tag, a, b, c, d in words.get_opcodes() if tag != "equal")
        return (plain.done - self.done).total() + wrong

    @property
    def resumed(self) -> int:
        """Turns that went on where they stopped."""
        return sum(pull.outcome == "resumed" for pull in self.pulls)


@attrs.frozen(kw_only=True)
class Cutting:
    """What came of it all.

    Attributes:
        seed: where the places came from.
        plain: the rollout without a cut.
        runs: those with cuts.
    """

    seed: int
    plain: CutRun
    runs: tuple[CutRun, ...]


async def pull_at_random(workspace: Workspace, view: View, *, seed: int, quick: bool) -> Cutting:
    """The rollout without a cut, then with cuts, at a server with sessions and at one without; shown as it goes."""
    view.heading("The plug is pulled at random", f"at bytes drawn from seed {seed}; policy: Resume, the default")
    slow = attrs.evolve(workspace, stride=32, pause=0.0 if quick else PAUSE)
    with view.status("without a cut, for comparison"):
        plain = await _run(slow, sessions=True, quick=True)
    runs = []
    for sessions in (True, False):
        rng = random.Random(f"{seed} {sessions}")
        with view.status("an agent at work") as status:
            cut = await _run(
                slow, sessions=sessions, quick=quick, plan=_draw(rng, plain, PLACES[sessions]), status=status
            )
        _show(cut, plain, view)
        runs.append(cut)
    return Cutting(seed=seed, plain=plain, runs=tuple(runs))


@attrs.frozen
class _Plan:
    """How many bytes pass before each cut: while the agent works, and while it answers."""

    work: Sequence[tuple[int, Cut]] = ()
    answer: Sequence[tuple[int, Cut]] = ()


def _draw(rng: random.Random, plain: CutRun, counts: tuple[int, int]) -> _Plan:
    sizes = (plain.work_bytes, plain.answer_bytes)
    return _Plan(*(tuple(_gaps(rng, size, count)) for size, count in zip(sizes, counts, strict=True)))


def _gaps(rng: random.Random, size: int, count: int) -> Iterator[tuple[int, Cut]]:
    """Random places among so many bytes, each told from the one before; at least a frame or so apart."""
    before = 0
    for place in sorted(rng.randrange(1, size) for _ in range(count)):
        yield max(place - before, rng.randrange(1, 400)), rng.choice(HOW)
        before = place


async def _run(
    workspace: Workspace, *, sessions: bool, quick: bool, plan: _Plan | None = None, status: Any = None
) -> CutRun:
    """One rollout at a server of its own."""
    watch = Watch()
    engine = in_tokens(watch.engine(builtin(), think=0.0 if quick else THINK), pause=0.0 if quick else TYPING)
    start = partial(serve, engine, extensions=EXTENSIONS if sessions else ())
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(start)
        assert server.port is not None
        async with open_relay("127.0.0.1", server.port) as relay:
            play = _Play(relay, watch, plan or _Plan(), status, sessions)
            try:
                with trio.fail_after(PATIENCE):
                    found = await play.rollout(relay.through(server.url), watch.tools("client", workspace.tools))
            except trio.TooSlowError as error:
                raise CommandFailed(f"the rollout was not done {PATIENCE:g} s after it began") from error
        nursery.cancel_scope.cancel(reason="the rollout is done")
    return found


@attrs.define(eq=False)
class _Play:
    """A rollout, and the one who pulls its plug."""

    relay: Relay
    watch: Watch
    plan: _Plan
    status: Any
    sessions: bool
    pulls: list[Pull] = attrs.field(factory=list)
    turn: int = 0
    text: str = ""
    work_bytes: int | None = None
    _answering: trio.Event = attrs.field(factory=trio.Event)

    async def rollout(self, url: str, tools: Sequence[Any]) -> CutRun:
        """Do the task."""
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            async with connect(url) as wire, wire.run(TASK, model=MODEL, tools=tools) as run:
                nursery.start_soon(self._pull)
                async for step in run:
                    self._see(step)
                passed, work = self._passed, self.work_bytes or 0
            nursery.cancel_scope.cancel(reason="the rollout is done")
        done = [one for one in self.watch.seen if one.kind == "tool"]
        return CutRun(
            sessions=self.sessions,
            pulls=self.pulls,
            done=Counter(one.what for one in done),
            finished=sum(one.ended is not None and one.reason is None for one in done),
            text=run.text,
            turns_repeated=run.statistics().turns_repeated,
            work_bytes=work,
            answer_bytes=passed - work,
            seconds=trio.current_time() - began,
        )

    @property
    def _passed(self) -> int:
        statistics = self.relay.statistics()
        return statistics.bytes_up + statistics.bytes_down

    def _see(self, step: object) -> None:
        match step:
            case TurnStarted():
                self.turn, self.text = step.number, ""
            case TextDelta():
                if self.work_bytes is None:
                    self.work_bytes = self._passed
                    self._answering.set()
                self.text += step.text
            case TurnLost() if self.pulls:
                self.pulls[-1].outcome = "repeated" if step.repeated else "reopened"
                self.pulls[-1].text, self.text = self.text, ""
        if self.status is not None:
            tail = " ".join(self.text[-60:].split())
            self.status.update(Text(f"turn {self.turn}, {len(self.pulls)} cuts: ...{clean(tail)}"))

    async def _pull(self) -> None:
        """Pull the plug wherever the plan says: first while the agent works, then while it answers."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pull_each, self.plan.work)
            await self._answering.wait()
            nursery.cancel_scope.cancel(reason="the answer has begun")
        await self._pull_each(self.plan.answer)

    async def _pull_each(self, places: Sequence[tuple[int, Cut]]) -> None:
        for after, how in places:
            connections = self.relay.statistics().connections
            await self.relay.cut_after(after, how).wait()
            pulled_at = trio.current_time()
            outcome: Outcome = "resumed" if self.sessions else "reopened"
            pull = Pull(after=after, how=how, during=self._during(), outcome=outcome)
            self.pulls.append(pull)
            while self.relay.statistics().connections == connections:  # noqa: ASYNC110 - a relay tells nobody
                await trio.sleep(0.001)
            pull.back = trio.current_time() - pulled_at
            pull.text = pull.text or self.text  # what came before the cut has been read by now, and nothing since

    def _during(self) -> str:
        tools = [one.what for one in self.watch.running if one.kind == "tool"]
        if self.text:
            return "the answer"
        return f"turn {self.turn}, {', '.join(tools)} running" if tools else f"turn {self.turn}"


def _show(run: CutRun, plain: CutRun, view: View) -> None:
    """Each cut in a line, and the count."""
    name = "with" if run.sessions else "without"
    view.line(f"\na server {name} sessions", style="bold")
    for number, pull in enumerate(run.pulls, 1):
        view.line(f"{number}. {pull.how} {_place(pull)}: back after {pull.back * 1000:.0f} ms, {TOLD[pull.outcome]}")
        if pull.text:
            view.quote(_excerpt(pull, run.text))
    same = "the answer is the same, word for word" if run.text == plain.text else "the answer is another one"
    view.line(
        f"{len(run.pulls)} cuts, {run.resumed} resumed, {run.turns_repeated} turns asked again; "
        f"tools: {run.done.total()} started, {run.finished} finished, {run.twice(plain)} twice; "
        f"lost: {run.lost(plain)}; {same} ({run.seconds:.1f} s)",
        style="bold",
    )


def _place(pull: Pull) -> str:
    return f"{pull.after} bytes on, in {pull.during}"


def _excerpt(pull: Pull, answer: str) -> str:
    """The words around a cut; after one that was not resumed, what had come is void."""
    before = " ".join(pull.text[-SHOWN:].split("\n"))
    after = answer[len(pull.text) : len(pull.text) + SHOWN] if pull.outcome == "resumed" else " void"
    return f"...{before}{MARK}{' '.join(after.splitlines())}..."
