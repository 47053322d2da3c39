"""What a model may be told to do, as programs that shrink towards one word (see `agentwire.testing.programs`)."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

__all__ = ["programs", "tool_programs"]

_LONGEST = 4


def programs(
    *,
    tools: Sequence[str] = ("look at=1",),
    pauses: Sequence[float] = (0.5, 2),
    failures: bool = True,
    hangs: bool = False,
    floods: Sequence[int] = (8,),
) -> st.SearchStrategy[str]:
    """Programs of one or several answers, as text.

    Args:
        tools: calls that they may make, as ``name argument=value``; each answer but the last ends with some.
        pauses: seconds that they may take in between.
        failures: whether they may fail, or stop short.
        hangs: whether they may never end.
        floods: KiB of text that they may write.
    """
    ends = ["fail", "stop"] if failures else []
    ends += ["hang"] if hangs else []
    pausing, flooding = [f"wait {pause:g}" for pause in pauses], [f"flood {size}" for size in floods]
    steps = st.lists(st.sampled_from(["say 1", "say 3", "think 2", *pausing, *flooding]), min_size=1, max_size=_LONGEST)
    last = st.tuples(steps, st.sampled_from(["", "", "", *ends])).map(_joined)
    return st.one_of(last, tool_programs(tools, last=last)) if tools else last


def tool_programs(
    tools: Sequence[str],
    *,
    words: Sequence[str] = ("say 1", "wait 0.5"),
    last: st.SearchStrategy[str] | None = None,
    most: int = 2,
) -> st.SearchStrategy[str]:
    """Programs that call tools, round by round, several at once.

    Args:
        tools: calls, as ``name argument=value``.
        words: steps between them.
        last: what follows the last outputs.
        most: rounds, and calls in one.
    """
    calls = st.lists(st.sampled_from([f"call {tool}" for tool in tools]), min_size=1, max_size=most)
    steps = st.lists(st.sampled_from(list(words)), max_size=2)
    one = st.tuples(steps, calls).map(lambda pair: "; ".join([*pair[0], *pair[1]]))
    rounds = st.lists(one, min_size=1, max_size=most)
    ending = last if last is not None else st.just("say 1")
    return st.tuples(rounds, ending).map(lambda pair: " | ".join([*pair[0], pair[1]]))


def _joined(pair: tuple[list[str], str]) -> str:
    return "; ".join([*pair[0], pair[1]] if pair[1] else pair[0])
