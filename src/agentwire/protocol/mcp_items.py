"""The items that tell of MCP servers: which tools one has, what waits for the client's approval, and what it said.

They are carried as they came, like every item that no engine makes; this reads what a server needs of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from agentwire.protocol.errors import RequestError
from agentwire.protocol.items import Item, McpCall, Message, OpaqueItem, OpenedCompaction, Reasoning
from agentwire.protocol.mcp import McpTool, wrong
from agentwire.protocol.transcript import Node

__all__ = ["APPROVAL_REQUEST", "LISTING", "Approval", "approvals_in", "find_listing", "listed", "tools_of"]

LISTING: Final = "mcp_list_tools"
APPROVAL_REQUEST: Final = "mcp_approval_request"
APPROVAL_RESPONSE: Final = "mcp_approval_response"


def listed(item_id: str, label: str, tools: Iterable[McpTool], error: str | None = None) -> dict[str, Any]:
    """An ``mcp_list_tools`` item; one that has not failed has no ``error``, not even null, as the AI SDK wants it."""
    told = {"id": item_id, "type": LISTING, "server_label": label, "tools": [tool.wire() for tool in tools]}
    return told if error is None else {**told, "error": error}


def find_listing(items: Sequence[Item], label: str) -> OpaqueItem | None:
    """The latest listing of a server's tools that did not fail."""
    for item in reversed(items):
        if not isinstance(item, OpaqueItem) or item.type != LISTING:
            continue
        if item.raw.get("server_label") == label and item.raw.get("error") is None:
            return item
    return None


def tools_of(item: OpaqueItem) -> tuple[McpTool, ...]:
    """The tools in a listing; what is no tool is left out."""
    told = item.raw.get("tools")
    return tuple(
        McpTool(raw["name"], schema, raw.get("description"), raw.get("annotations"))
        for raw in (told if isinstance(told, list | tuple) else ())
        if isinstance(raw, Mapping)
        and isinstance(raw.get("name"), str)
        and isinstance(schema := raw.get("input_schema"), Mapping)
    )


# Approvals


@attrs.frozen
class Approval:
    """A client's decision about a call that waited for it.

    Attributes:
        id: of the request for approval.
        label: of the MCP server.
        name: of the tool.
        arguments: of the call, JSON.
        approved: whether the call may run.
        reason: why not, in the client's words.
        param: where the answer stands, for errors.
    """

    id: str
    label: str
    name: str
    arguments: str
    approved: bool
    reason: str | None
    param: str


def approvals_in(parent: Node | None, new: Sequence[Item]) -> tuple[Approval, ...]:
    """The approvals that a request brings, oldest first, once calls and answers pair.

    One counts only while nothing of the model's stands after it: in a history that is sent in full, older ones had
    their effect in the response that followed them.

    Raises:
        RequestError: 400 that names the member that is wrong, of an approval or of what it approves.
    """
    asked = dict(_asked(parent, new))
    found: list[Approval] = []
    for index in range(len(new) - 1, -1, -1):
        item = new[index]
        if isinstance(item, McpCall | Reasoning) or (isinstance(item, Message) and item.role == "assistant"):
            break
        if isinstance(item, OpaqueItem) and item.type == APPROVAL_RESPONSE:
            found.append(_approval(asked.get(item.raw.get("approval_request_id")), item, f"input[{index}]"))
    found.reverse()
    return tuple(found)


def _asked(parent: Node | None, new: Sequence[Item]) -> Iterator[tuple[str | None, Item]]:
    """What may be approved, by its id."""
    if parent is not None:
        yield from parent.unanswered.items()
    for item in new:
        for one in item.kept if isinstance(item, OpenedCompaction) else (item,):
            if one.type == APPROVAL_REQUEST:
                yield one.id, one


def _approval(request: Item | None, answer: OpaqueItem, param: str) -> Approval:
    approved, reason = answer.raw.get("approve"), answer.raw.get("reason")
    if not isinstance(approved, bool):
        raise wrong("it must be true or false", approved, f"{param}.approve")
    if reason is not None and not isinstance(reason, str):
        raise wrong("it must be a string", reason, f"{param}.reason")
    raw = request.raw if isinstance(request, OpaqueItem) else {}
    label, name, arguments = (raw.get(member) for member in ("server_label", "name", "arguments"))
    if not (isinstance(label, str) and isinstance(name, str) and isinstance(arguments, str)):
        message = f"What '{param}' approves is no call: it needs server_label, name and arguments, all strings."
        raise RequestError.invalid(message, param=param)
    return Approval(str(answer.raw["approval_request_id"]), label, name, arguments, approved, reason, param)
