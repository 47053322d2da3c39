"""The invariants as a table for the documentation, made from their docstrings: what is true, and who says so.

    python -m agentwire.testing.invariant_table

A test compares the page with it.
"""

from __future__ import annotations

import inspect
import re
from typing import Final

from agentwire.testing.invariants import INVARIANTS

__all__ = ["render"]

_NEEDS: Final = {
    "history_equivalence": "requests, and `model.saw` or `usage`",
    "tenant_isolation": "requests with keys",
    "evicted_after_failure": "requests with `store: false`",
    "outputs_answer_calls": "requests",
    "echoes_lane": "requests",
    "lane_fifo": "requests",
    "requests_answered": "requests",
    "honest_close": "close frames",
    "tool_once": "work",
    "tools_awaited": "work",
    "cancelled_within": "work, and `cancelled_after`",
    "bounded": "sizes, and `limits`",
    "no_turn_lost_in_drain": "`drain.started`, a goaway or a close with 1012",
    "nothing_leaked": "resources, twice",
}


def render() -> str:
    """The table, as Markdown."""
    rows = [f"| `{name}` | {' | '.join(_row(name))} |" for name in INVARIANTS]
    return "\n".join(["| invariant | what is true | judged by | source |", "| --- | --- | --- | --- |", *rows])


def _row(name: str) -> tuple[str, str, str]:
    text = inspect.getdoc(INVARIANTS[name]) or ""
    what = " ".join(text.partition("\n\n")[0].split()).replace("``", "`")
    found = re.search(r"^Source: (.*?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{name} does not name its source"
    source = " ".join(found[1].split()).replace("``", "`").rstrip(".")
    return what, _NEEDS.get(name, "the server's events"), source


if __name__ == "__main__":
    print(render())  # noqa: T201 - that is what it is for
