"""What the peers' programs that hold a long tool loop have in common: options, the task, the tool, and the report.

It imports nothing but the standard library, so that any peer's interpreter can run it; with ``--drop-in``, agentwire
itself, which is found behind all that the peer has.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

INSTRUCTIONS = "You look up pages, one after the other, and say how many there were."
DESCRIPTION = "Look up a page of the manual."
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"page": {"type": "integer", "description": "Number of the page, from 1"}},
    "required": ["page"],
    "additionalProperties": False,
}
TOOL: dict[str, Any] = {
    "type": "function",
    "name": "look_up",
    "description": DESCRIPTION,
    "parameters": PARAMETERS,
    "strict": True,
}


def look_up(page: int) -> str:
    """The tool: about a kilobyte for each page."""
    return f"Page {page}. " + " ".join(f"Line {number} of page {page} says {number * page}." for number in range(30))


def drop_in(options: argparse.Namespace, *, coroutines: bool = False) -> Any:
    """The HTTP client that carries requests over a WebSocket; None where plain HTTP was asked for.

    Args:
        options: of the program.
        coroutines: whether it is to be one for asyncio.
    """
    if options.drop_in is None:
        return None
    sys.path += options.drop_in.split(os.pathsep)
    import agentwire

    make: Any = agentwire.async_http_client if coroutines else agentwire.http_client
    return make(options.base_url, library=options.library)


def hold(loop: Callable[[argparse.Namespace, str], str], description: str) -> int:
    """Run a loop and print one JSON line: the text at the end, or what went wrong; returns the exit code.

    Args:
        loop: takes the options and the task, and returns the last text.
        description: of the program.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("base_url", help="such as http://127.0.0.1:8000/v1")
    parser.add_argument("--turns", type=int, default=50, help="pages to look up, one a turn")
    parser.add_argument("--store", choices=["true", "false"], default="true", help="what `store` of a request says")
    parser.add_argument("--drop-in", metavar="PATHS", help="go over a WebSocket by agentwire, which is found here")
    parser.add_argument("--library", choices=["httpx2", "httpx"], help="the HTTP library, for the drop-in")
    options = parser.parse_args()
    os.environ["OPENAI_API_KEY"] = "unused"
    try:
        print(json.dumps({"text": loop(options, f"Look up {options.turns} pages.")}))
    except Exception as error:  # noqa: BLE001 - whatever it is, the test wants to read it
        traceback.print_exc()
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        return 1
    return 0
