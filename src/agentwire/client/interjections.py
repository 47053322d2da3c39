"""What a caller says to a run while it goes on: none of it is lost, and none is said twice.

Where the server takes it in the middle of a response, it does; otherwise it is part of the run's next request, and a
run that would have ended makes one more turn for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import trio

from agentwire.client.asking import Input
from agentwire.client.steering import said_by, to_steer
from agentwire.client.turn import Turn
from agentwire.link.steering import Steer, SteerFate, SteerLost, SteerRefused
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.items import Item
from agentwire.protocol.steering import read_messages

__all__ = ["Interjections"]

_KEPT = (SteerFate.ACCEPTED, SteerFate.PENDING)


@attrs.define(eq=False)
class _Said:
    """One thing that was said: on its way to the server, with it, or waiting for the next request."""

    wire: Any
    steer: Steer | None = None
    sending: bool = False

    @property
    def is_kept(self) -> bool:
        """Whether the server has it, and no response yet."""
        return self.steer is not None and not self.steer.ended and self.steer.fate in _KEPT

    @property
    def items(self) -> tuple[Item, ...]:
        return read_messages(self.wire)


class Interjections:
    """What was said to one run, and is not part of its history yet."""

    def __init__(self) -> None:
        self._said: list[_Said] = []
        self._done: set[Steer] = set()
        self._closed = False
        self._settled = trio.lowlevel.ParkingLot()

    async def say(self, given: Input, turn: Turn | None) -> None:
        """Say something, to the response that runs if there is one; `Run.steer` says the rest.

        Args:
            given: what.
            turn: the turn that the model takes now; None between two of them.
        """
        wire = to_steer(given)
        if self._closed:
            await trio.lowlevel.checkpoint()
            raise SteerRefused("response_already_completed", "The run has ended.", given=given)
        said, before = _Said(wire, sending=turn is not None), len(turn.steers) if turn is not None else 0
        self._said.append(said)
        if turn is None:
            await trio.lowlevel.checkpoint()
            return
        try:
            said.steer = await turn.steer(given)
        except (SteerRefused, SteerLost):
            pass  # then it is for the next request
        except LocalProtocolError:
            self._said.remove(said)
            raise
        finally:
            said.sending = False
            said.steer = said.steer or self._sent(wire, turn.steers[before:])
            if said.steer in self._done:
                self._said.remove(said)
            self._settled.unpark_all()

    async def settle(self) -> None:
        """Wait until it is known of each whether the server has taken it."""
        while any(said.sending for said in self._said):
            await self._settled.park()

    def delivered(self, turn: Turn, response_id: str) -> tuple[Item, ...]:
        """What is in the input of a response that the server has let follow; it is the run's history from now on."""
        steers = [steer for steer in turn.steers if steer.successor_id == response_id]
        self._done.update(steers)
        self._said = [said for said in self._said if said.steer not in self._done]
        return said_by(steers)

    def kept(self) -> tuple[Item, ...]:
        """What the server keeps until the calls of its response are answered, and puts in front of the answers."""
        return self._take([said for said in self._said if said.is_kept])

    def rest(self) -> tuple[Item, ...]:
        """What the server has not: the next request has to say it."""
        return self._take([said for said in self._said if not said.sending])

    def close(self) -> bool:
        """The run ends here, unless something was said meanwhile: then it does not."""
        self._closed = not self._said
        return self._closed

    def end(self) -> None:
        """The run has ended, in whatever way."""
        self._closed = True

    def _sent(self, wire: Any, steers: Sequence[Steer]) -> Steer | None:
        """What became of one for whose answer nobody waited: the server may have it all the same."""
        known = [said.steer for said in self._said]
        return next((steer for steer in steers if steer.wire == wire and steer not in known), None)

    def _take(self, said: list[_Said]) -> tuple[Item, ...]:
        self._said = [each for each in self._said if each not in said]
        return tuple(item for each in said for item in each.items)
