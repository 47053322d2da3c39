"""Calls that have an item type of their own: written as whole items.

A shell, a patch or a screen is called only when the client forces it, and then with what the message says, or with
something harmless.
"""

from __future__ import annotations

from typing import Any

from agentwire.engines.builtin.arguments import object_of
from agentwire.engines.builtin.mentions import mentions
from agentwire.protocol.ids import Sources

__all__ = ["hosted_call"]


def hosted_call(kind: str, request: str, sources: Sources) -> dict[str, Any]:
    """A call of a tool that the client runs and that has no schema.

    Args:
        kind: one of `agentwire.engines.builtin.toolbox.HARMLESS`.
        request: the message, for a command or a path in it.
        sources: ids.
    """
    found = mentions(request)
    command = next((each.text for each in found if each.kind in ("code", "block", "quoted")), "true")
    done = {"status": "completed"}
    if kind == "shell":
        return {"type": "shell_call", **_ids(sources, "sh"), "action": {"commands": [command]}, **done}
    if kind == "local_shell":
        action = {"type": "exec", "command": ["bash", "-lc", command], "env": {}}
        return {"type": "local_shell_call", **_ids(sources, "lsh"), "action": action, **done}
    if kind == "apply_patch":
        path = next((each.text for each in found if each.kind == "path"), "note.txt")
        operation = {"type": "create_file", "path": path, "diff": f"+{object_of(request)}"}
        return {"type": "apply_patch_call", **_ids(sources, "apc"), "operation": operation, **done}
    screenshot = {"action": {"type": "screenshot"}, "pending_safety_checks": []}
    return {"type": "computer_call", **_ids(sources, "cu"), **screenshot, **done}


def _ids(sources: Sources, prefix: str) -> dict[str, str]:
    return {"id": sources.new_id(prefix), "call_id": sources.new_id("call")}
