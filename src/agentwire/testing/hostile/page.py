"""The deeds as a table for the documentation: ``python -m agentwire.testing.hostile.page``."""

from __future__ import annotations

from agentwire.testing.hostile.deeds import DEEDS, Deed

__all__ = ["render"]


def render() -> str:
    """The table."""
    head = ["| deed | what the server does | when | seen with |", "| --- | --- | --- | --- |"]
    return "\n".join((*head, *map(_row, DEEDS.values()))) + "\n"


def _row(deed: Deed) -> str:
    when = f"{deed.when} {deed.first}{'' if deed.times == 1 else ' and on'}"
    return f"| `{deed.name}` | {deed.title} | {when} | {', '.join(deed.reports) or '-'} |"


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201 - that is what it is for
