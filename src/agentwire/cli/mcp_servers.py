"""MCP servers as the command is told of them: ``--mcp LABEL=COMMAND-or-URL``, and ``[mcp.LABEL]`` tables of its file.

What is secret is named and not written down: ``key-env`` and ``env-from`` name variables of the environment.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from agentwire.cli.failures import UserError
from agentwire.cli.tables import convert, variable
from agentwire.protocol.errors import RequestError
from agentwire.protocol.mcp import ApprovalRule, ToolFilter, read_approval_rule, read_filter
from agentwire.runtime.tools.registry import check_allowed
from agentwire.runtime.tools.source import McpServer

__all__ = ["McpTable", "check_extra", "read_mcp"]

_WEB: Final = ("http://", "https://")


@attrs.frozen(kw_only=True)
class McpTable:
    """One ``[mcp.LABEL]`` table, with underscores in its names."""

    command: str | list[str] = ""
    env: dict[str, str] = attrs.field(factory=dict)
    env_from: list[str] = attrs.field(factory=list)
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = attrs.field(factory=dict)
    key_env: str | None = None
    allowed_tools: Any = None
    require_approval: Any = None
    always_on: bool = False
    timeout: float | None = None
    output_bytes: int | None = None


def read_mcp(
    tables: Mapping[str, Any], typed: Iterable[str], folder: Path, path: str | None = None
) -> tuple[McpServer, ...]:
    """All MCP servers; one that was typed wins over a table of the same label.

    Args:
        tables: the file's ``[mcp]``.
        typed: ``LABEL=COMMAND`` or ``LABEL=URL``.
        folder: where ``cwd`` of the tables starts from.
        path: of the file, for errors.

    Raises:
        UserError: something is wrong; the text says where.
    """
    servers: dict[str, McpServer] = {}
    place = "" if path is None else f"{path}: "
    for label, table in tables.items():
        if not isinstance(table, Mapping):
            raise UserError(f"{place}mcp: MCP servers are tables: [mcp.{label}]")
        servers[label] = _from_table(label, table, folder, f"{place}mcp.{label}")
    for pair in typed:
        label, equals, where = pair.partition("=")
        if not equals or not where.strip():
            raise UserError(f"--mcp must be LABEL=COMMAND or LABEL=URL, not {pair!r}")
        where = where.strip()
        told = {"url": where} if where.startswith(_WEB) else {"command": _split(where, "--mcp")}
        servers[label] = _server(f"--mcp {label}", label=label, **told)
    return tuple(servers.values())


def _from_table(label: str, table: Mapping[str, Any], folder: Path, where: str) -> McpServer:
    read: McpTable = convert(table, McpTable, where)
    env = {**read.env, **{name: variable(name, f"{where}: env-from") for name in read.env_from}}
    headers = dict(read.headers)
    if read.key_env is not None:
        headers["authorization"] = f"Bearer {variable(read.key_env, f'{where}: key-env').strip()}"
    command = _split(read.command, where) if isinstance(read.command, str) else tuple(read.command)
    return _server(
        where,
        label=label,
        command=command,
        env=env,
        cwd=None if read.cwd is None else str(folder / read.cwd),
        url=read.url,
        headers=headers,
        allowed=_allowed(read.allowed_tools, where),
        approval=_approval(read.require_approval, where),
        always_on=read.always_on,
        timeout=read.timeout,
        output_bytes=read.output_bytes,
    )


def _server(where: str, **members: Any) -> McpServer:
    try:
        return McpServer(**members)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def _split(command: str, where: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise UserError(f"{where}: the command {command!r} cannot be read: {error}") from error


def _allowed(raw: Any, where: str) -> ToolFilter:
    return ToolFilter() if raw is None else _read(read_filter, raw, f"{where}: allowed-tools")


def _approval(raw: Any, where: str) -> ApprovalRule | None:
    return None if raw is None else _read(read_approval_rule, raw, f"{where}: require-approval")


def _read(reader: Any, raw: Any, where: str) -> Any:
    try:
        return reader(_undashed(raw), where)
    except RequestError as error:
        raise UserError(error.message) from error


def _undashed(raw: Any) -> Any:
    """Members as the wire calls them: ``tool-names`` is ``tool_names``."""
    if isinstance(raw, Mapping):
        return {key.replace("-", "_"): _undashed(value) for key, value in raw.items()}
    return raw


def check_extra(servers: Iterable[McpServer], urls: Iterable[str]) -> None:
    """Load the package that speaks to MCP servers, if there may be any.

    Raises:
        UserError: it is not installed, or one of the URLs at which clients may have servers is none.
    """
    try:
        for url in urls:
            check_allowed(url)
        if any(servers) or any(urls):
            import agentwire.transport.mcp  # noqa: F401
    except ValueError as error:
        raise UserError(f"--mcp-allow-url: {error}") from error
    except ImportError as error:
        raise UserError(str(error)) from error
