"""What can go wrong on a connection, where, and how it reads in a report.

A fault is data: a kind, the side whose bytes it concerns, and one position (a byte, a WebSocket frame, a moment).
The network of `agentwire.testing.network` lets it happen there, once, so that the same fault gives the same run.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal, get_args

import attrs

__all__ = ["KINDS", "SIDES", "Fault", "Kind", "Side"]

Side = Literal["client", "server"]
"""One of the two ends; of bytes and frames: who sends them."""

Kind = Literal["cut", "reset", "half_close", "stall", "slow", "split", "merge", "duplicate"]
"""What a fault does (see `Fault`)."""

SIDES: Final[tuple[Side, ...]] = get_args(Side)
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


def _at_least(least: float) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
        if value is not None and not value >= least:
            raise ValueError(f"Fault.{attribute.name} must be at least {least:g}, not {value!r}")

    return check


def _positive(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"Fault.{attribute.name} must be greater than 0, not {value!r}")


@attrs.frozen
class Fault:
    """One fault of one connection; without a position it happens when the connection opens, or when it is armed.

    Kinds:
        * ``cut``: both sides see the end of the stream after what has arrived; nothing can be sent any more.
        * ``reset``: both sides get `trio.BrokenResourceError`; what was not read yet is lost.
        * ``half_close``: the other side sees the end after what came before; what ``side`` sends later is lost.
        * ``stall``: for ``seconds``, nothing that ``side`` sends arrives; it is taken up to the link's capacity.
        * ``slow``: from here on, ``rate`` bytes a second.
        * ``split``: from here on, whoever reads gets pieces of ``size`` bytes at most.
        * ``merge``: from here on, bytes are held back until there are ``size`` of them, or for ``seconds``.
        * ``duplicate``: all that the client has sent so far arrives a second time, on a connection of its own, as if
          somebody on the way had tried again; nothing follows there, and after ``seconds`` it is cut. Without a
          position that is the handshake alone. It has to be there when the connection is opened.

    Attributes:
        kind: what happens.
        side: whose bytes are counted, and slowed, held or cut into pieces.
        at_byte: once this many bytes have been sent.
        at_frame: between two WebSocket frames: once so many have been sent whole, after the HTTP head.
        middle: in the middle of frame ``at_frame`` instead of in front of it.
        at_time: this many seconds of Trio's clock after the connection was opened.
        seconds: how long; for ever unless given.
        size: bytes.
        rate: bytes a second.
        connection: the network's n-th connection, from 0; None for every one.

    Raises:
        ValueError: more than one position, or a number that makes no sense.
    """

    kind: Kind = attrs.field(validator=attrs.validators.in_(KINDS))
    side: Side = attrs.field(default="server", validator=attrs.validators.in_(SIDES))
    at_byte: int | None = attrs.field(default=None, kw_only=True, validator=_at_least(0))
    at_frame: int | None = attrs.field(default=None, kw_only=True, validator=_at_least(0))
    middle: bool = attrs.field(default=False, kw_only=True)
    at_time: float | None = attrs.field(default=None, kw_only=True, validator=_at_least(0))
    seconds: float = attrs.field(default=math.inf, kw_only=True, validator=_positive)
    size: int = attrs.field(default=1, kw_only=True, validator=_positive)
    rate: float = attrs.field(default=1000.0, kw_only=True, validator=_positive)
    connection: int | None = attrs.field(default=0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if sum(place is not None for place in (self.at_byte, self.at_frame, self.at_time)) > 1:
            raise ValueError("a Fault has one position: at_byte, at_frame or at_time")
        if self.middle and self.at_frame is None:
            raise ValueError("Fault.middle goes with at_frame")
        if self.kind == "duplicate" and (self.at_byte, self.at_frame, self.at_time) == (None, None, None):
            object.__setattr__(self, "side", "client")
            object.__setattr__(self, "at_frame", 0)

    def __str__(self) -> str:
        which = "every connection" if self.connection is None else f"connection {self.connection}"
        return " ".join(part for part in (self.kind + self._how(), self.side, self._where(), f"({which})") if part)

    def _how(self) -> str:
        lasting = "" if math.isinf(self.seconds) else f" {self.seconds:g} s"
        match self.kind:
            case "stall" | "duplicate":
                return lasting
            case "slow":
                return f" {self.rate:g} B/s"
            case "split" | "merge":
                return f" {self.size} B{lasting}"
            case _:
                return ""

    def _where(self) -> str:
        if self.at_byte is not None:
            return f"at byte {self.at_byte}"
        if self.at_frame is not None:
            return f"{'in' if self.middle else 'before'} frame {self.at_frame}"
        return "at once" if self.at_time is None else f"at {self.at_time:g} s"
