"""What stores cost: ``python -m benchmarks.stores [--json] [--rounds N]``.

Each store takes the turns of a conversation one after the other, takes many conversations at once, and gives back a
long one: cold, when it has just been opened, and hot. The figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import trio

from agentwire.protocol.codec import decode_item, encode_json, to_wire
from agentwire.protocol.transcript import Node
from agentwire.runtime.contracts import Store, Stored
from agentwire.stores import MemoryStore, open_sqlite_store

Opening = Callable[[], AbstractAsyncContextManager[Store]]

LENGTH = 1_000
CONVERSATIONS = 100
TURNS = 20
HOT = 200


def conversation(name: str, length: int) -> list[Stored]:
    """Turns of an agent: a question of 200 bytes, and a call of a tool or an answer of about 400."""
    turns: list[Stored] = []
    node: Node | None = None
    for number in range(length):
        given = (decode_item({"type": "message", "role": "user", "content": "q" * 200}),)
        part = {"type": "output_text", "text": "a" * 300, "annotations": [], "logprobs": []}
        message = {"type": "message", "id": f"msg_{name}_{number}", "role": "assistant", "status": "completed"}
        made = (decode_item({**message, "content": [part]}),)
        id_ = f"resp_{name}_{number}"
        node = node.extend(id_, given, made) if node is not None else Node.root(id_, given, made)
        shown = encode_json({"id": id_, "object": "response", "status": "completed", "output": to_wire(made)})
        turns.append(Stored(node=node, response=shown, size=len(shown)))
    return turns


async def put_all(store: Store, turns: Sequence[Stored]) -> None:
    """One turn after the other, as a client takes them."""
    for turn in turns:
        await store.put("somebody", turn)


async def measure(opening: Opening) -> dict[str, float]:
    """One round."""
    long = conversation("long", LENGTH)
    many = [conversation(f"many{number}", TURNS) for number in range(CONVERSATIONS)]
    figures: dict[str, float] = {}
    async with opening() as store:
        began = time.perf_counter()
        await put_all(store, long)
        figures["puts_one_by_one_per_s"] = LENGTH / (time.perf_counter() - began)
        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for turns in many:
                nursery.start_soon(put_all, store, turns)
        figures["puts_at_once_per_s"] = CONVERSATIONS * TURNS / (time.perf_counter() - began)
    async with opening() as store:
        if isinstance(store, MemoryStore):
            await put_all(store, long)
        began = time.perf_counter()
        await _get(store)
        figures["get_cold_ms"] = (time.perf_counter() - began) * 1_000
        began = time.perf_counter()
        for _ in range(HOT):
            await _get(store)
        figures["get_hot_ms"] = (time.perf_counter() - began) / HOT * 1_000
    return figures


async def _get(store: Store) -> None:
    found = await store.get("somebody", f"resp_long_{LENGTH - 1}")
    assert found is not None
    assert found.node.depth == LENGTH - 1


async def rounds(count: int) -> dict[str, dict[str, float]]:
    """Both stores in turn, and the medians."""
    taken: dict[str, list[dict[str, float]]] = {"memory": [], "sqlite": []}
    for _ in range(count):
        taken["memory"].append(await measure(_open_memory))
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            path = Path(folder) / "store.db"
            taken["sqlite"].append(await measure(lambda path=path: open_sqlite_store(path)))  # type: ignore[misc]
    return {
        name: {figure: statistics.median(one[figure] for one in all_) for figure in all_[0]}
        for name, all_ in taken.items()
    }


@asynccontextmanager
async def _open_memory() -> AsyncGenerator[Store]:
    yield MemoryStore()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=5, help="how often")
    options = parser.parse_args()
    figures = trio.run(rounds, options.rounds)
    if options.json:
        print(json.dumps(figures))
        return
    print(f"{'':24}{'memory':>14}{'sqlite':>14}")
    for name in figures["memory"]:
        print(f"{name.replace('_', ' '):24}{figures['memory'][name]:14,.3f}{figures['sqlite'][name]:14,.3f}")


if __name__ == "__main__":
    main()
