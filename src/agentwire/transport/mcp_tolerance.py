"""What MCP servers say, in JSON, made into what the `mcp` package takes: for one odd tool it refuses a whole listing.

A call whose answer nobody can read looks as if it had failed, or as if it ran for ever, and a model would do it again;
so answers are taken as they were meant, and where nothing can be made of one, the caller is told at once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from agentwire.protocol.codec import encode_json

__all__ = ["MENDED", "loose_objects", "unreadable"]

_log: Final = logging.getLogger("agentwire.tools")
_INTERNAL_ERROR: Final = -32603
_LONGEST: Final = 200
"""Characters of what a server said that are said again."""

_NEEDED: Final = {"image": ("data", "mimeType"), "audio": ("data", "mimeType"), "resource_link": ("uri", "name")}

Json = dict[str, Any]


# Lines


def loose_objects(line: bytes) -> list[Any]:
    """The JSON values in a line, or in the list in it; text with bytes that are no UTF-8 loses those alone.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        told = json.loads(line.decode("utf-8-sig", "replace"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return told if isinstance(told, list) else [told]


def unreadable(told: Any) -> Json:
    """An error for whoever waits for this, which is meant as an answer and is none.

    Raises:
        ValueError: nobody can be waiting for it.
    """
    known = told.get("id") if isinstance(told, dict) and "method" not in told else None
    if type(known) not in (int, str):
        raise ValueError("it is no answer")
    said = str({name: value for name, value in told.items() if name not in ("id", "jsonrpc")})
    error = {"code": _INTERNAL_ERROR, "message": f"its answer cannot be read: {said[:_LONGEST]}"}
    return {"jsonrpc": "2.0", "id": known, "error": error}


# Tools


def _listing(result: Json) -> Json:
    """Tools without a name are left out."""
    tools = result.get("tools")
    found = [_tool(tool) for tool in (tools if isinstance(tools, list) else ())]
    if None in found:
        _log.warning("an MCP server lists tools without a name, which are left out")
    cursor = result.get("nextCursor")
    kept = [tool for tool in found if tool is not None]
    return {**result, "tools": kept, "nextCursor": cursor if isinstance(cursor, str) else None}


def _tool(tool: Any) -> Json | None:
    """One tool, without what nobody here looks at, right or wrong, such as the schema of its output."""
    if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
        return None
    schema, hints = tool.get("inputSchema"), tool.get("annotations")
    given = {name: value for name, value in schema.items() if value is not None} if isinstance(schema, dict) else {}
    made = {"name": tool["name"], **_texts(tool, "title", "description"), "inputSchema": {**given, "type": "object"}}
    if isinstance(hints, dict):
        flags = {name: value for name, value in hints.items() if isinstance(value, bool)}
        made["annotations"] = {**flags, **_texts(hints, "title")}
    return made


# Outcomes


def _outcome(result: Json) -> Json:
    """What came of a call; one that is not at its end yet (newer revisions know such) stays as it is."""
    if result.get("resultType", "complete") != "complete" or "task" in result or "inputRequests" in result:
        return result
    content = result.get("content")
    parts: Iterable[Any] = content if isinstance(content, list) else () if content is None else (content,)
    made = [_part(part) for part in parts]
    structured = result.get("structuredContent")
    if not isinstance(structured, dict):
        made = made or ([_part(structured)] if structured is not None else [])
        result = {name: value for name, value in result.items() if name != "structuredContent"}
    return {**result, "content": made, "isError": result.get("isError") is True}


def _part(part: Any) -> Json:
    """A part of the content; a text instead, if it is of no known type or not as those of its type are."""
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        return _text(part)
    if kind == "text":
        return _text(part.get("text"))
    shown = _shown(kind, part)
    return {"type": kind, **shown} if shown else _text(f"[a part of type {kind[:_LONGEST]}, not shown]")


def _shown(kind: str, part: Json) -> Json:
    """The members of a part of such a type that are looked at; nothing if one is missing."""
    if kind == "resource":
        told = part.get(kind)
        inner = _texts(told, "uri", "mimeType", "text", "blob") if isinstance(told, dict) else {}
        return {kind: inner} if "uri" in inner and ("text" in inner or "blob" in inner) else {}
    needed = _NEEDED.get(kind, ())
    made = _texts(part, *needed, "title", "description")
    return made if needed and all(name in made for name in needed) else {}


def _text(said: Any) -> Json:
    return {"type": "text", "text": said if isinstance(said, str) else encode_json(said).decode()}


def _texts(told: Mapping[str, Any], *names: str) -> Json:
    """Those of these members that are texts."""
    return {name: told[name] for name in names if isinstance(told.get(name), str)}


MENDED: Final[Mapping[str, Callable[[Json], Json]]] = {"tools/list": _listing, "tools/call": _outcome}
"""By the method of a request, what its result is made into."""
