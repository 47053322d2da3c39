"""What a program under test is told, in its environment and in its command line, and what it has to do.

It asks the model to do the task, with one tool, ``look_up(page)``, which fetches ``$AGENTWIRE_TOOL_URL?page=PAGE`` over
HTTP and returns the body; it prints the final text and exits with 0, or says what went wrong and exits otherwise.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

__all__ = ["ABILITIES", "CANCELLED", "KEY", "VARIABLES", "Assignment", "command_line", "environment"]

KEY: Final = "aw-conform-client-key"
"""The API key that programs are given; any other one is taken as well."""

CANCELLED: Final = "cancelled"
"""The line that a program prints once it has cancelled its run."""

VARIABLES: Final[Mapping[str, str]] = {
    "OPENAI_BASE_URL": "the server, such as `http://127.0.0.1:4711/v1`; also as `AGENTWIRE_URL`, and `{url}`",
    "AGENTWIRE_WS_URL": "the same as `ws://...`; also as `{ws_url}`",
    "OPENAI_API_KEY": "a key that it takes; also as `AGENTWIRE_API_KEY`, and `{key}`",
    "AGENTWIRE_TASK": "what to ask the model for; also as `{task}`",
    "AGENTWIRE_TOOL_URL": "what the tool fetches, with `?page=` and the number; also as `{tool_url}`",
    "AGENTWIRE_PATIENCE": "seconds of silence after which the client should give a server up; also as `{patience}`",
    "AGENTWIRE_TASKS": "only with `--able tasks`: several tasks, as a JSON list, to be done side by side",
    "AGENTWIRE_CANCEL_AFTER": "only with `--able cancel`: seconds after which to cancel the run",
}
"""The variables of its environment."""

ABILITIES: Final[Mapping[str, str]] = {
    "tasks": "where `AGENTWIRE_TASKS` is set, it does these tasks side by side with one client, and prints each text",
    "cancel": "where `AGENTWIRE_CANCEL_AFTER` is set, it cancels its run after so many seconds, prints `cancelled`, "
    "waits for 3 seconds and exits with 0",
}
"""What a program may do beyond the least."""

_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy")


@attrs.frozen(kw_only=True)
class Assignment:
    """What one run of a program is to do.

    Attributes:
        url: of the server.
        tool_url: what the tool fetches.
        tasks: what to ask for; more than one are done side by side.
        patience: seconds of silence after which to give up.
        cancel_after: seconds after which to cancel; None for never.
    """

    url: str
    tool_url: str
    tasks: Sequence[str]
    patience: float
    cancel_after: float | None = None

    @property
    def ws_url(self) -> str:
        """The server's URL for a WebSocket."""
        return self.url.replace("http", "ws", 1)


def environment(assignment: Assignment) -> dict[str, str]:
    """All of our environment but proxies, and the variables."""
    inherited = {name: value for name, value in os.environ.items() if name.lower() not in _PROXIES}
    told = {
        "OPENAI_BASE_URL": assignment.url,
        "AGENTWIRE_URL": assignment.url,
        "AGENTWIRE_WS_URL": assignment.ws_url,
        "OPENAI_API_KEY": KEY,
        "AGENTWIRE_API_KEY": KEY,
        "AGENTWIRE_TASK": assignment.tasks[0],
        "AGENTWIRE_TOOL_URL": assignment.tool_url,
        "AGENTWIRE_PATIENCE": f"{assignment.patience:g}",
        "NO_PROXY": "127.0.0.1,localhost",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
    }
    if len(assignment.tasks) > 1:
        told["AGENTWIRE_TASKS"] = json.dumps(list(assignment.tasks))
    if assignment.cancel_after is not None:
        told["AGENTWIRE_CANCEL_AFTER"] = f"{assignment.cancel_after:g}"
    return inherited | told


def command_line(command: Sequence[str], assignment: Assignment) -> list[str]:
    """The command with its placeholders filled in; other braces are left as they are."""
    told = {
        "{url}": assignment.url,
        "{ws_url}": assignment.ws_url,
        "{key}": KEY,
        "{task}": assignment.tasks[0],
        "{tool_url}": assignment.tool_url,
        "{patience}": f"{assignment.patience:g}",
    }

    def filled(word: str) -> str:
        for placeholder, value in told.items():
            word = word.replace(placeholder, value)
        return word

    return [filled(word) for word in command]
