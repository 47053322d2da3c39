"""What a client remembers, and what it forgets first."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from agentwire.client import Memory
from agentwire.client.memory import Parent
from agentwire.protocol.items import Compaction, Item, Message
from agentwire.protocol.request import CreateRequest


def said(memory: Memory, response_id: str, text: str, after: str | None = None, **fields: bool) -> Parent | None:
    """A response to a text, which continues another one; returns what is remembered of it."""
    request = CreateRequest(model="m", input=(Message("user", text),), previous_response_id=after, **fields)  # type: ignore[arg-type]
    memory.remember(response_id, request, [Message("assistant", f"<{text}>")], parent=memory.find(after), way=7)
    return memory.find(response_id)


def texts(parent: Parent | None) -> list[str]:
    assert parent is not None
    return [item.text for item in parent.recall() if isinstance(item, Message)]


def test_a_conversation_is_a_chain() -> None:
    memory = Memory(1_000_000)
    first = said(memory, "r1", "a", store=False)
    assert first is not None
    assert (first.way, first.stored, first.root_id, first.warm_up) == (7, False, None, None)
    assert texts(said(memory, "r2", "b", "r1")) == ["a", "<a>", "b", "<b>"]
    assert texts(said(memory, "r3", "c", "r1")) == ["a", "<a>", "c", "<c>"]
    assert texts(first) == ["a", "<a>"]
    assert memory.find(None) is memory.find("r9") is None
    assert memory.statistics().responses == 3


def test_what_it_does_not_know_is_the_root() -> None:
    memory = Memory(1_000_000)
    said(memory, "r1", "a", "elsewhere")
    second = said(memory, "r2", "b", "r1")
    assert second is not None
    assert (second.root_id, texts(second)) == ("elsewhere", ["a", "<a>", "b", "<b>"])


def test_a_compaction_stands_for_everything_before_it() -> None:
    memory = Memory(1_000_000)
    first = said(memory, "r1", "a", "elsewhere")
    request = CreateRequest(model="m", input=(Message("user", "b"),), previous_response_id="r1")
    output: list[Item] = [Message("assistant", "gone"), Compaction("blob"), Message("assistant", "<b>")]
    memory.remember("r2", request, output, parent=first, way=1)
    second = memory.find("r2")
    assert second is not None
    assert (second.root_id, list(second.recall())) == (None, output[1:])
    compacted = CreateRequest(model="m", input=(Message("user", "kept"), Compaction("blob")))
    memory.remember("r3", compacted, [], parent=None, way=1)
    third = memory.find("r3")
    assert third is not None
    assert list(third.recall()) == list(compacted.input)  # what the server made of it belongs together


def test_the_conversation_that_was_used_longest_ago_goes_first() -> None:
    memory = Memory(1_000_000)
    said(memory, "old", "x")
    size = memory.statistics().bytes
    memory = Memory(4 * size)
    for name in ("r1", "r2", "r3", "r4"):
        said(memory, name, "x")
    assert memory.find("r1") is not None
    said(memory, "r5", "x")
    assert memory.find("r2") is None
    assert memory.find("r1") is not None
    assert memory.statistics().forgotten == 1


def test_half_a_conversation_is_not_kept() -> None:
    memory = Memory(1_000_000)
    said(memory, "r1", "x")
    memory = Memory(memory.statistics().bytes)
    first = said(memory, "r1", "x")
    assert said(memory, "r2", "x", "r1") is None  # the end of the branch goes first, and here it is all there is
    assert said(memory, "r3", "y") is not None
    assert memory.find("r1") is None
    memory.remember("r4", CreateRequest(model="m", previous_response_id="r1"), [], parent=first, way=1)
    assert memory.find("r4") is None


@given(st.lists(st.none() | st.integers(0, 9), max_size=40))
def test_it_is_whole_and_within_its_bound(plan: list[int | None]) -> None:
    """Whatever is found can be said from its first item on, and the bytes are those of what is there."""
    memory, parents = Memory(700), dict[str, str | None]()
    for number, after in enumerate(plan):
        name, parent = f"r{number}", f"r{after}" if after is not None and after < number else None
        if parent is not None and memory.find(parent) is None:
            continue
        said(memory, name, str(number), parent)
        parents[name] = parent
    assert memory.statistics().bytes <= 700
    left = [name for name in parents if memory.find(name) is not None]
    assert len(left) == memory.statistics().responses
    for name in left:
        assert texts(memory.find(name)) == _line(name, parents)


def _line(name: str | None, parents: Mapping[str, str | None]) -> list[str]:
    if name is None:
        return []
    return [*_line(parents[name], parents), name[1:], f"<{name[1:]}>"]
