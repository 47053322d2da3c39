"""Every place at which a connection can break: one fault for each, so that a test can try them all.

A scenario runs once without faults, to see what goes by; from that, the positions follow.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator

from agentwire.testing.clock import run
from agentwire.testing.faults import SIDES, Fault, Kind, Side
from agentwire.testing.network import Network, network
from agentwire.testing.trace import Trace

__all__ = ["cut_points", "every_byte", "every_frame"]

Scenario = Callable[[Network], Awaitable[object]]


def every_frame(
    trace: Trace,
    *,
    kinds: Iterable[Kind] = ("cut",),
    sides: Iterable[Side] = SIDES,
    middle: bool = True,
    connection: int = 0,
) -> Iterator[Fault]:
    """A fault between any two frames, after the last one, and in the middle of each.

    Args:
        trace: of a run without faults.
        kinds: what happens there, one after the other.
        sides: whose frames.
        middle: the middles too.
        connection: the network's n-th.
    """
    for kind in kinds:
        for side in sides:
            frames = trace.frames(side, connection)
            for frame in range(frames + 1):
                yield Fault(kind, side, at_frame=frame, connection=connection)
                if middle and frame < frames:
                    yield Fault(kind, side, at_frame=frame, middle=True, connection=connection)


def every_byte(
    trace: Trace,
    *,
    kinds: Iterable[Kind] = ("cut",),
    sides: Iterable[Side] = SIDES,
    step: int = 1,
    connection: int = 0,
) -> Iterator[Fault]:
    """A fault before the first byte, and after every ``step`` more, the last one included.

    Args:
        trace: of a run without faults.
        kinds: what happens there.
        sides: whose bytes.
        step: bytes from one to the next.
        connection: the network's n-th.
    """
    for kind in kinds:
        for side in sides:
            sent = trace.bytes(side, connection)
            for place in (*range(0, sent, step), sent):
                yield Fault(kind, side, at_byte=place, connection=connection)


def cut_points(
    scenario: Scenario,
    *,
    kinds: Iterable[Kind] = ("cut",),
    sides: Iterable[Side] = SIDES,
    per_byte: bool = False,
    step: int = 1,
    connection: int = 0,
    seed: int | None = 0,
) -> Iterator[Fault]:
    """Run ``scenario(net)`` once, in virtual time and without faults, then give a fault for each place it shows.

    Args:
        scenario: uses the network that it is given, and succeeds.
        kinds: what happens at each place.
        sides: whose frames or bytes are counted.
        per_byte: every byte instead of every frame.
        step: bytes from one place to the next.
        connection: the network's n-th.
        seed: order of tasks in that run; the same seed finds the same places, as tests in several processes need it.

    Raises:
        Exception: whatever the scenario raises.
    """
    net: list[Network] = []

    async def watched() -> None:
        net.append(network(keep=False))
        await scenario(net[0])

    run(watched, seed=seed)
    if per_byte:
        return every_byte(net[0].trace, kinds=kinds, sides=sides, step=step, connection=connection)
    return every_frame(net[0].trace, kinds=kinds, sides=sides, connection=connection)
