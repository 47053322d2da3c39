"""What clients do: conversations with their forks on lanes, and the moves of a client that is not always polite.

They are data: a test performs them as it likes. `agentwire.testing.lifecycle.LifecycleMachine` performs such moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, get_args

import attrs
from hypothesis import strategies as st

from agentwire.testing.strategies.programs import programs

__all__ = ["DEEDS", "Deed", "Move", "Said", "behaviours", "conversations", "lanes"]

Deed = Literal["ask", "steer", "cancel", "warm up", "drop", "cut", "stall", "reconnect", "wait"]
DEEDS: Final[tuple[Deed, ...]] = get_args(Deed)


@attrs.frozen
class Said:
    """One request of a conversation.

    Attributes:
        lane: where it is asked; None is the default lane.
        parent: which of the requests before it in the list it continues; None begins a conversation.
        text: what the user says.
    """

    lane: str | None
    parent: int | None
    text: str


@attrs.frozen
class Move:
    """One thing that a client does.

    Attributes:
        deed: what.
        lane: where; None is the default lane.
        text: what is said, in an ``ask`` or a ``steer``.
        seconds: how long a ``wait`` or a ``stall`` takes.
    """

    deed: Deed
    lane: str | None = None
    text: str = ""
    seconds: float = 0.0


def lanes(most: int = 3, *, default: bool = True) -> st.SearchStrategy[str | None]:
    """Names of lanes: the default lane (None), and so many that have names.

    Args:
        most: different names; a connection may use 32 (Responses WebSocket guide).
        default: whether the default lane is among them.
    """
    names = [f"lane-{number}" for number in range(most)]
    return st.sampled_from([None, *names] if default else names)


@st.composite
def conversations(
    draw: st.DrawFn, *, most: int = 8, texts: st.SearchStrategy[str] | None = None, names: int = 3
) -> list[Said]:
    """Requests that continue each other, on one lane or, as forks, on others.

    Args:
        most: requests.
        texts: what is said; programs (`agentwire.testing.programs`) if left out.
        names: different lanes, besides the default one.
    """
    texts = programs(tools=()) if texts is None else texts
    said: list[Said] = []
    for place in range(draw(st.integers(1, most))):
        parent = draw(st.one_of(st.none(), st.integers(0, place - 1))) if place else None
        lane = draw(lanes(names)) if parent is None or draw(st.booleans()) else said[parent].lane
        said.append(Said(lane, parent, draw(texts)))
    return said


def behaviours(
    *,
    deeds: Sequence[Deed] = DEEDS,
    most: int = 12,
    texts: st.SearchStrategy[str] | None = None,
    names: int = 3,
    seconds: Sequence[float] = (0.1, 1.0, 30.0),
) -> st.SearchStrategy[list[Move]]:
    """Moves of one client, in order.

    Args:
        deeds: which.
        most: moves.
        texts: what is said; programs (`agentwire.testing.programs`) if left out.
        names: different lanes, besides the default one.
        seconds: how long pauses and stalls take.
    """
    texts = programs() if texts is None else texts
    where, long = lanes(names), st.sampled_from(list(seconds))
    quiet: dict[str, st.SearchStrategy[Move]] = {
        deed: st.builds(Move, st.just(deed), where) for deed in deeds if deed not in ("ask", "steer", "wait", "stall")
    }
    spoken = [st.builds(Move, st.just(deed), where, texts) for deed in ("ask", "steer") if deed in deeds]
    timed = [st.builds(Move, st.just(deed), seconds=long) for deed in ("wait", "stall") if deed in deeds]
    return st.lists(st.one_of(*spoken, *quiet.values(), *timed), min_size=1, max_size=most)
