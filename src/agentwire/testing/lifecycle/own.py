"""An agentwire client in a machine, and what is done with it in the background: turns, and runs of an agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Literal

import attrs
import trio

from agentwire.client import Client, Turn
from agentwire.protocol.errors import AgentwireError
from agentwire.runtime.policies import Policy
from agentwire.testing.lifecycle.oracle import MARK, Asked, Oracle, Unexpected
from agentwire.testing.lifecycle.told import tell, tell_json
from agentwire.testing.rig import Rig
from agentwire.testing.streams import MemoryStream

__all__ = ["Agent", "Deed", "Holder"]

Agent = Callable[[Client, str, dict[str, str]], Awaitable[object]]
"""What works with a client: it gets the client, the task, and metadata that its requests may carry."""


@attrs.define(eq=False)
class Deed:
    """One thing that is done with a client.

    Attributes:
        number: of all requests.
        kind: a turn, or a run of the agent.
        task: what was asked.
        done: how it ended.
        error: what it raised.
        disturbed: whether anything happened to its client meanwhile.
        scope: to leave it by.
    """

    number: int
    kind: Literal["turn", "run"]
    task: str
    done: Literal["", "well", "badly", "left"] = ""
    error: BaseException | None = None
    disturbed: bool = False
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


@attrs.define(eq=False)
class Holder:
    """Holds a client open.

    Attributes:
        name: of it.
        rig: where the server is.
        key: its API key.
        policy: what a lost connection means to it.
        options: more for `agentwire.connect`.
        client: the client, while it is open.
        links: the network's numbers of its connections.
        hurt: those of them with which something goes wrong, perhaps later.
        deeds: what is done with it.
        turn: the one that runs.
        latest: the conversation's latest response.
        error: why it could not connect.
        leaving: whether it is being closed.
    """

    name: str
    rig: Rig
    oracle: Oracle
    key: str
    principal: str
    policy: Policy
    options: dict[str, Any]
    client: Client | None = None
    links: list[int] = attrs.field(factory=list)
    hurt: set[int] = attrs.field(factory=set)
    deeds: list[Deed] = attrs.field(factory=list)
    turn: Turn | None = None
    latest: str | None = None
    error: BaseException | None = None
    leaving: bool = False
    _left: trio.Event = attrs.field(factory=trio.Event)

    @property
    def busy(self) -> bool:
        """Whether something is being done with it."""
        return any(not deed.done for deed in self.deeds)

    async def live(self, ready: Callable[[], None]) -> None:
        """Open the client, and hold it until it is left; ``ready`` is called once it is open, or cannot be."""
        self._left, self.leaving, self.latest = trio.Event(), False, None
        options = {"key": self.key, "on_disconnect": self.policy, "connector": self._dial, **self.options}
        try:
            async with self.rig.connect(**options) as self.client:
                ready()
                await self._left.wait()
        except (AgentwireError, OSError) as error:
            self.error = error
            ready()
        finally:
            self.client = None

    async def _dial(self) -> MemoryStream:
        stream = await self.rig.net.connect()
        self.links.append(stream.link.index)
        return stream

    def leave(self) -> None:
        """Close the client."""
        self.disturb()
        self.leaving = True
        self._left.set()

    @property
    def is_hurt(self) -> bool:
        """Whether something may go wrong with its latest connection."""
        return bool(self.links) and self.links[-1] in self.hurt

    def disturb(self) -> None:
        """Something happens to the client, or to its server."""
        for deed in self.deeds:
            deed.disturbed = True

    # Deeds

    async def do(self, deed: Deed, agent: Agent) -> None:
        """Do it; whatever comes of it is kept."""
        assert self.client is not None
        with deed.scope:
            try:
                if deed.kind == "turn":
                    await self._turn(self.client, deed)
                else:
                    await agent(self.client, deed.task, {MARK: str(deed.number)})
            except Exception as error:  # noqa: BLE001 - to be judged by the machine
                deed.done, deed.error = "badly", error
            else:
                deed.done = "well"
        if deed.scope.cancelled_caught:
            deed.done = "left"

    async def _turn(self, client: Client, deed: Deed) -> None:
        """One more turn of the client's conversation; it becomes part of it when it has ended well."""
        parent = self.latest
        calls = self.oracle.open_calls(parent)
        outputs = [{"type": "function_call_output", "call_id": call, "output": "done"} for call in calls]
        given = [*outputs, {"type": "message", "role": "user", "content": deed.task}]
        whole = (*(self.oracle.histories[parent] if parent else ()), *tell_json(given))
        self.oracle.asked[deed.number] = Asked(
            deed.number, self.name, None, parent, (), self.principal, frozenset(("taken",)), whole=whole
        )
        try:
            async with client.turn(given, previous_response_id=parent, metadata={MARK: str(deed.number)}) as self.turn:
                response = await self.turn.response()
        finally:
            steered, self.turn = self.turn is not None and self.turn.steers, None
        mark = (response.metadata or {}).get(MARK)
        if mark != str(deed.number):
            raise Unexpected(f"turn {deed.number} was given the answer of turn {mark}")
        self.oracle.histories[response.id] = (*whole, *tell(response.output))
        self.latest = None if steered else response.id

    async def interject(self, how: Literal["steer", "cancel"]) -> None:
        """Tell the turn that runs something, or cancel it."""
        if self.turn is None:
            return
        self.disturb()
        with suppress(AgentwireError):  # it may be refused, and the connection may be lost
            if how == "steer":
                await self.turn.steer("say 1")
            else:
                await self.turn.cancel()
