"""``python -m tests.watched FILE serve ...``: the command, watched; FILE tells what was not legal."""

from __future__ import annotations

import sys
from pathlib import Path

from agentwire.cli import main
from agentwire.testing.watch import Violation, Watch, watching


def note(violation: Violation) -> None:
    """Write it down at once: the process may be killed."""
    with report.open("a", encoding="utf-8") as file:
        file.write(f"{violation}\n")


if __name__ == "__main__":
    report = Path(sys.argv.pop(1))
    with watching(Watch(note)):
        sys.exit(main())
