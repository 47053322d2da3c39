"""Steering, as a caller sees it: what may be said to a response that runs, checked here, and told how it was taken.

What is not taken comes back in the error, so that nothing that a user said is lost without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from agentwire.client.asking import Input, read_items
from agentwire.client.recovery import Asking
from agentwire.link.steering import Steer, SteerFate, SteerLost
from agentwire.protocol.codec import to_wire
from agentwire.protocol.errors import ConnectionEnded, LocalProtocolError, RequestError
from agentwire.protocol.items import Item
from agentwire.protocol.steering import read_messages

__all__ = ["said_by", "send_steer", "to_steer"]


def to_steer(given: Input) -> Any:
    """What is sent for an input.

    Raises:
        LocalProtocolError: it is more than messages of the user.
    """
    wire = given if isinstance(given, str) else [_message(item) for item in read_items(given)]
    try:
        read_messages(wire)
    except RequestError as error:
        raise LocalProtocolError(f"this cannot be a steer: {error.message}") from None
    return wire


def _message(item: Item) -> Any:
    """An item as JSON, without the members that a steer's message must not have."""
    told = dict(to_wire(item))
    return {name: value for name, value in told.items() if value is not None and name not in ("id", "status")}


def said_by(steers: Sequence[Steer]) -> tuple[Item, ...]:
    """The messages that steers bring, in their order."""
    return tuple(message for steer in steers for message in read_messages(steer.wire))


async def send_steer(asking: Asking, given: Input) -> Steer:
    """Send a steer for the response that runs, and wait until the server has taken it; `Turn.steer` says the rest."""
    wire = to_steer(given)
    exchange = asking.exchange
    await exchange.begun()
    steer = await asking.way.steer(exchange, given, wire)
    asking.steered.append(steer)
    with trio.move_on_after(asking.limits.steer_answer):
        await steer.accepted()
        return steer
    silent = ConnectionEnded(cause=f"the server has said nothing of the steer for {asking.limits.steer_answer:g} s")
    raise SteerLost(silent, fate=SteerFate.UNKNOWN, given=given)
