"""Tools of MCP servers, as requests ask for them and responses tell of them (protocol: tools of type ``mcp``).

An `McpEntry` is what one entry of ``tools`` selects; a `ToolFilter` picks tools by name or because they only read. What
a client sends for the other server's eyes (headers, a token) is in no `repr`, and `redacted` takes it out of an echo.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeGuard
from urllib.parse import urlsplit

import attrs

from agentwire.protocol.checks import kind_of, shorten
from agentwire.protocol.errors import RequestError
from agentwire.protocol.tools import OpaqueTool, Tool

__all__ = [
    "ApprovalRule",
    "McpEntry",
    "McpTool",
    "ToolFilter",
    "is_label",
    "read_approval_rule",
    "read_entry",
    "read_filter",
    "redacted",
    "wrong",
]

_LABEL: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8192}")
_OURS: Final = frozenset(
    ("accept", "connection", "content-length", "content-type", "host", "last-event-id", "mcp-protocol-version",
     "mcp-session-id", "te", "trailer", "transfer-encoding", "upgrade")
)  # fmt: skip
"""Headers that belong to the connection and not to whoever asks."""
_HIDDEN: Final = "<redacted>"


@attrs.frozen
class McpTool:
    """A tool as its MCP server tells of it.

    Attributes:
        name: what the server calls it.
        schema: JSON schema of its arguments.
        description: for the model.
        annotations: hints such as ``readOnlyHint``, as JSON.
    """

    name: str
    schema: Mapping[str, Any]
    description: str | None = None
    annotations: Mapping[str, Any] | None = None

    @property
    def reads_only(self) -> bool:
        """Whether the server says that it changes nothing."""
        return bool((self.annotations or {}).get("readOnlyHint"))

    def wire(self) -> dict[str, Any]:
        """The JSON object in an ``mcp_list_tools`` item; what is not known is left out, as the AI SDK takes no null."""
        told: dict[str, Any] = {"name": self.name, "input_schema": dict(self.schema)}
        if self.description is not None:
            told["description"] = self.description
        if self.annotations is not None:
            told["annotations"] = dict(self.annotations)
        return told


@attrs.frozen
class ToolFilter:
    """Picks tools; one without members picks every tool.

    Attributes:
        names: only these.
        read_only: only those that only read, or (False) only the others.
    """

    names: frozenset[str] | None = None
    read_only: bool | None = None

    def matches(self, tool: McpTool) -> bool:
        """Whether the tool is picked."""
        named = self.names is None or tool.name in self.names
        return named and (self.read_only is None or self.read_only == tool.reads_only)


@attrs.frozen
class ApprovalRule:
    """Which calls wait for the client's approval.

    Attributes:
        usual: whether a call does that no filter names.
        always: these do.
        never: these do not, unless ``always`` names them too.
    """

    usual: bool = True
    always: ToolFilter | None = None
    never: ToolFilter | None = None

    def applies(self, tool: McpTool) -> bool:
        """Whether a call of this tool waits."""
        if self.always is not None and self.always.matches(tool):
            return True
        if self.never is not None and self.never.matches(tool):
            return False
        return self.usual


@attrs.frozen
class McpEntry:
    """One entry of ``tools`` of type ``mcp``.

    Attributes:
        label: the server's label; a server that we know by it, unless there is a URL.
        param: where the entry stands, for errors.
        url: the client's own server.
        headers: for that server, the ``authorization`` among them.
        allowed: the tools that are wanted.
        approval: which calls wait for approval; None if it says nothing.
    """

    label: str
    param: str
    url: str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    allowed: ToolFilter = ToolFilter()
    approval: ApprovalRule | None = None


def read_entry(raw: Mapping[str, Any], param: str) -> McpEntry:
    """Read an entry.

    Args:
        raw: the JSON object.
        param: where it stands: ``tools[2]``.

    Raises:
        RequestError: 400 that names the offending member.
    """
    label = raw.get("server_label")
    if not is_label(label):
        raise wrong("it must begin with a letter and have up to 64 of [a-zA-Z0-9_-]", label, f"{param}.server_label")
    for member in ("connector_id", "tunnel_id"):
        if raw.get(member) is not None:
            message = f"This server has no connectors and no tunnels; '{param}.{member}' cannot be used."
            raise RequestError.invalid(message, param=param)
    url = raw.get("server_url")
    if url is not None:
        _check_url(url, f"{param}.server_url")
    allowed, approval = raw.get("allowed_tools"), raw.get("require_approval")
    return McpEntry(
        label,
        param,
        url,
        _headers(raw, param),
        ToolFilter() if allowed is None else read_filter(allowed, f"{param}.allowed_tools"),
        None if approval is None else read_approval_rule(approval, f"{param}.require_approval"),
    )


def is_label(value: object) -> TypeGuard[str]:
    """Whether this can be the label of a server: a letter, then letters, digits, ``-`` and ``_``."""
    return isinstance(value, str) and _LABEL.fullmatch(value) is not None


def read_filter(raw: object, param: str) -> ToolFilter:
    """A list of names, or ``{"tool_names": [...], "read_only": true}``.

    Raises:
        RequestError: 400 that names the offending member.
    """
    if isinstance(raw, list | tuple):
        return ToolFilter(_names(raw, param))
    if not isinstance(raw, Mapping):
        raise wrong("it must be an array of names, or an object", raw, param)
    names, read_only = raw.get("tool_names"), raw.get("read_only")
    if read_only is not None and not isinstance(read_only, bool):
        raise wrong("it must be true or false", read_only, f"{param}.read_only")
    return ToolFilter(None if names is None else _names(names, f"{param}.tool_names"), read_only)


def read_approval_rule(raw: object, param: str) -> ApprovalRule:
    """``"always"``, ``"never"``, or a filter for one or each of the two.

    Raises:
        RequestError: 400 that names the offending member.
    """
    if raw in ("always", "never"):
        return ApprovalRule(raw == "always")
    if not isinstance(raw, Mapping):
        raise wrong("it must be 'always', 'never' or an object", raw, param)
    filters: dict[Literal["always", "never"], ToolFilter | None] = {
        member: None if raw.get(member) is None else read_filter(raw[member], f"{param}.{member}")
        for member in ("always", "never")
    }
    return ApprovalRule(True, **filters)


def _names(raw: object, param: str) -> frozenset[str]:
    if not isinstance(raw, list | tuple):
        raise wrong("it must be an array of names", raw, param)
    for place, name in enumerate(raw):
        if not isinstance(name, str):
            raise wrong("it must be a name", name, f"{param}[{place}]")
    return frozenset(raw)


def _check_url(url: object, param: str) -> None:
    problem = "it must be an http or https URL without user, password and fragment"
    if not isinstance(url, str) or any(ord(character) <= 32 or character == "\\" for character in url):
        raise wrong(problem, url, param)
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in parts.netloc or parts.fragment:
        raise wrong(problem, url, param)


def _headers(raw: Mapping[str, Any], param: str) -> dict[str, str]:
    """The headers; what they say is never quoted."""
    headers, token = raw.get("headers"), raw.get("authorization")
    found: dict[str, str] = {}
    if headers is not None and not isinstance(headers, Mapping):
        raise RequestError.invalid(f"Invalid type for '{param}.headers': expected an object.", param=f"{param}.headers")
    for name, value in (headers or {}).items():
        if not isinstance(value, str) or not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            message = f"'{param}.headers' has an entry that is no HTTP header: {shorten(name)}."
            raise RequestError.invalid(message, param=f"{param}.headers")
        if name.lower() in _OURS:
            message = f"'{param}.headers' may not set {shorten(name)}, which belongs to the connection."
            raise RequestError.invalid(message, param=f"{param}.headers")
        found[name.lower()] = value
    if token is not None:
        if not isinstance(token, str) or not _HEADER_VALUE.fullmatch(token):
            message = f"'{param}.authorization' must be a token."
            raise RequestError.invalid(message, param=f"{param}.authorization")
        found["authorization"] = f"Bearer {token}"
    return found


def wrong(problem: str, value: object, param: str) -> RequestError:
    """A 400 that says what a member must be, and what it is."""
    told = shorten(value) if isinstance(value, str | int | float) else kind_of(value)
    return RequestError.invalid(f"Invalid value for '{param}': {problem}, and is {told}.", param=param)


def redacted(tool: Tool) -> Tool:
    """A tool as a response may show it: without what a client sent for an MCP server's eyes only."""
    if not isinstance(tool, OpaqueTool) or tool.type != "mcp":
        return tool
    raw = dict(tool.raw)
    if raw.get("authorization") is not None:
        raw["authorization"] = _HIDDEN
    if isinstance(raw.get("headers"), Mapping):
        raw["headers"] = dict.fromkeys(raw["headers"], _HIDDEN)
    if isinstance(url := raw.get("server_url"), str):
        place, query, _ = url.partition("?")
        scheme, slashes, rest = place.rpartition("://")
        raw["server_url"] = f"{scheme}{slashes}{rest.rpartition('@')[2]}{f'?{_HIDDEN}' if query else ''}"
    return OpaqueTool(raw)
