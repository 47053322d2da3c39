"""What may go wrong on a network: single faults, and plans of several, one connection after the other."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from agentwire.testing.faults import KINDS, SIDES, Fault, Kind

__all__ = ["fault_plans", "faults"]


@st.composite
def faults(
    draw: st.DrawFn,
    *,
    kinds: Sequence[Kind] = KINDS,
    frames: int = 20,
    bytes: int = 4000,  # noqa: A002 - what is counted
    seconds: float = 60,
    connection: int | None = 0,
) -> Fault:
    """One fault of one connection, at a frame, at a byte, or at a moment.

    Args:
        kinds: what may happen.
        frames: the latest frame.
        bytes: the latest byte.
        seconds: the latest moment, and the longest stall.
        connection: the network's n-th; None for every one.
    """
    place = draw(
        st.one_of(
            st.fixed_dictionaries({"at_frame": st.integers(0, frames), "middle": st.booleans()}),
            st.fixed_dictionaries({"at_byte": st.integers(0, bytes)}),
            st.fixed_dictionaries({"at_time": st.sampled_from([0.0, seconds / 10, seconds])}),
        )
    )
    return Fault(
        draw(st.sampled_from(kinds)),
        draw(st.sampled_from(SIDES)),
        connection=connection,
        seconds=draw(st.sampled_from([1.0, seconds])),
        size=draw(st.sampled_from([1, 100])),
        rate=draw(st.sampled_from([5000.0, 500.0])),
        **place,
    )


@st.composite
def fault_plans(
    draw: st.DrawFn, *, most: int = 3, kinds: Sequence[Kind] = KINDS, frames: int = 20, seconds: float = 60
) -> list[Fault]:
    """Faults of one connection after the other, as a client that comes back meets them.

    Args:
        most: faults.
        kinds: what may happen.
        frames: the latest frame of each connection.
        seconds: the latest moment, and the longest stall.
    """
    count = draw(st.integers(0, most))
    return [draw(faults(kinds=kinds, frames=frames, seconds=seconds, connection=number)) for number in range(count)]
