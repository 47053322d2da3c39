"""``apply_patch``: one operation on one file.

Models that know patches from elsewhere write whole envelopes (``*** Begin Patch``), which may change several files:
each file's part becomes a call of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from agentwire.engines.offering.form import Form, Json, Said, shape, text_of

__all__ = ["ApplyPatch"]

NO_PATH: Final = "the-call-named-no-path"
"""Stands for a path that a model has left out: the client's editor will not find it, and says so."""

_OPERATIONS: Final = ("create_file", "update_file", "delete_file")
_VERBS: Final = {"add": "create_file", "create": "create_file", "delete": "delete_file", "remove": "delete_file"}
_FILE: Final = re.compile(r"^\*\*\* (Add|Update|Delete) File: *(.+?) *$", re.MULTILINE)
_ENVELOPE: Final = re.compile(r"^\*\*\* (?:Begin|End) Patch *\n?", re.MULTILINE)
_DESCRIPTION: Final = """\
Creates, changes or deletes one file of the user's. For update_file, `diff` has one section for each place:
@@ a line above the place, such as that of the class or function (may be left out)
 a line that stays, beginning with a blank (about three before and after)
-a line that goes
+a line that comes
For create_file, `diff` is the whole file with + before each line; for delete_file it is empty."""


class ApplyPatch(Form):
    """The tool of that type, not a free-text tool of that name."""

    tool_types: ClassVar = ("apply_patch",)
    call_type: ClassVar = "apply_patch_call"
    output_type: ClassVar = "apply_patch_call_output"
    id_prefix: ClassVar = "apc"
    name: ClassVar = "apply_patch"

    def function(self, tool: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Always the client's to run."""
        parameters = shape(
            ("type", "path", "diff"),
            type={"type": "string", "enum": [*_OPERATIONS]},
            path={"type": "string", "description": "The file."},
            diff={"type": "string", "description": "What changes in it."},
        )
        return _DESCRIPTION, parameters

    def calls(self, said: Said, tool: Mapping[str, Any]) -> Sequence[Json]:
        """One call, or one for each file of an envelope."""
        told = said if isinstance(said, Mapping) else {"diff": said}
        inner = told.get("operation")
        told = inner if isinstance(inner, Mapping) else told
        diff = text_of(told, "diff", "patch", "input", "content") or ""
        operations = _of_envelope(diff) or [_operation(text_of(told, "type"), text_of(told, "path", "file"), diff)]
        return [{"operation": operation} for operation in operations]

    def arguments(self, call: Mapping[str, Any]) -> Json:
        """The operation itself."""
        operation = call.get("operation")
        return {"diff": "", **operation} if isinstance(operation, Mapping) else {}

    def output(self, answer: Mapping[str, Any], name_of: Callable[[str, str | None], str]) -> str:
        """What the editor said, or else whether it worked."""
        output, failed = answer.get("output"), answer.get("status") == "failed"
        told = output if isinstance(output, str) and output else ""
        return told if told and not failed else f"failed: {told}".rstrip(": ") if failed else "completed"


def _of_envelope(text: str) -> list[Json]:
    """The operations of a patch that names its files itself; none if it does not."""
    found = list(_FILE.finditer(text))
    edges = [*(match.start() for match in found), len(text)]
    return [
        _operation(match[1].lower(), match[2], _ENVELOPE.sub("", text[match.end() : end].lstrip("\r\n")))
        for match, end in zip(found, edges[1:], strict=True)
    ]


def _operation(kind: str | None, path: str | None, diff: str) -> Json:
    if kind not in _OPERATIONS:
        kind = _VERBS.get((kind or "").partition("_")[0], "update_file")
    operation: Json = {"type": kind, "path": path or NO_PATH}
    if kind == "delete_file":
        return operation
    return {**operation, "diff": _all_new(diff) if kind == "create_file" else diff}


def _all_new(diff: str) -> str:
    """A new file's diff, whose lines must all begin with a plus; a model may have written the file itself."""
    lines = diff.splitlines()
    if all(line.startswith("+") for line in lines):
        return diff
    return "\n".join(f"+{line}" for line in lines)
