"""What the programs for ``agentwire conform-client`` have in common: what they are told, the tool, and how they end.

It imports nothing but the standard library, so that any peer's interpreter can run it.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

URL = os.environ["OPENAI_BASE_URL"]
TASK = os.environ["AGENTWIRE_TASK"]
TASKS: list[str] = json.loads(os.environ.get("AGENTWIRE_TASKS", "[]")) or [TASK]
TOOL_URL = os.environ["AGENTWIRE_TOOL_URL"]
PATIENCE = float(os.environ["AGENTWIRE_PATIENCE"])
CANCEL_AFTER = float(os.environ.get("AGENTWIRE_CANCEL_AFTER", "0"))
MODEL = "scripted"
MOST_TURNS = 20

TOOL: dict[str, Any] = {
    "type": "function",
    "name": "look_up",
    "description": "Look up a page.",
    "parameters": {
        "type": "object",
        "properties": {"page": {"type": "integer"}},
        "required": ["page"],
        "additionalProperties": False,
    },
    "strict": True,
}


def look_up(page: int) -> str:
    """The tool: what is on a page."""
    with urllib.request.urlopen(f"{TOOL_URL}?page={page}", timeout=30) as answer:
        return str(answer.read().decode())


def main(work: Callable[[], object]) -> int:
    """Do it; what goes wrong is said in a line."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be told
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        print(f"{type(error).__module__}.{type(error).__qualname__}: {error}", file=sys.stderr)
        return 1
    return 0
