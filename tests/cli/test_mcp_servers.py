"""MCP servers on the command line and in its file."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest

from agentwire.cli.failures import UserError
from agentwire.cli.mcp_servers import check_extra, read_mcp
from agentwire.cli.options import ServeOptions
from agentwire.cli.serve import Plan
from agentwire.protocol.mcp import ApprovalRule, McpTool, ToolFilter
from agentwire.runtime.tools.source import McpServer

HERE = Path("/srv/here")


def test_the_short_form_is_a_command_or_a_url() -> None:
    servers = read_mcp({}, ["git=uvx mcp-server-git --repository 'my repo'", "docs=https://x.example/mcp?a=b"], HERE)
    assert servers == (
        McpServer(label="git", command=("uvx", "mcp-server-git", "--repository", "my repo")),
        McpServer(label="docs", url="https://x.example/mcp?a=b"),
    )


def test_a_table_has_more_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCS_KEY", "k")
    monkeypatch.setenv("GITHUB_TOKEN", "t")
    tables: dict[str, Any] = {
        "git": {
            "command": ["git-mcp"],
            "env": {"A": "1"},
            "env-from": ["GITHUB_TOKEN"],
            "cwd": "repo",
            "allowed-tools": {"tool-names": ["log"], "read-only": True},
            "require-approval": {"never": {"tool-names": ["log"]}},
            "always-on": True,
            "timeout": 30,
            "output-bytes": 1000,
        },
        "docs": {"url": "https://x.example/mcp", "headers": {"x-team": "a"}, "key-env": "DOCS_KEY"},
    }
    git, docs = read_mcp(tables, [], HERE)
    assert git == McpServer(
        label="git",
        command=("git-mcp",),
        env={"A": "1", "GITHUB_TOKEN": "t"},
        cwd="/srv/here/repo",
        allowed=ToolFilter(frozenset(("log",)), read_only=True),
        approval=ApprovalRule(never=ToolFilter(frozenset(("log",)))),
        always_on=True,
        timeout=30,
        output_bytes=1000,
    )
    assert git.approval is not None
    assert not git.approval.applies(McpTool("log", {}))
    assert docs.headers == {"x-team": "a", "authorization": "Bearer k"}


def test_what_is_typed_wins() -> None:
    (server,) = read_mcp({"a": {"command": "one two"}}, ["a=three"], HERE)
    assert server.command == ("three",)


@pytest.mark.parametrize(
    ("tables", "typed", "words"),
    [
        ({}, ["x"], "LABEL=COMMAND or LABEL=URL"),
        ({}, ["x="], "LABEL=COMMAND or LABEL=URL"),
        ({}, ["1x=a"], "no label"),
        ({}, ["x=a 'b"], "cannot be read"),
        ({"x": "a"}, [], r"\[mcp.x\]"),
        ({"x": {}}, [], "either a command or a URL"),
        ({"x": {"command": "a", "url": "http://b"}}, [], "either a command or a URL"),
        ({"x": {"comand": "a"}}, [], r"there is no 'comand' \(did you mean 'command'\?\)"),
        ({"x": {"command": 3}}, [], "mcp.x"),
        ({"x": {"url": "http://b", "key-env": "NO_SUCH_KEY"}}, [], "no NO_SUCH_KEY"),
        ({"x": {"command": "a", "require-approval": "maybe"}}, [], "require-approval"),
        ({"x": {"command": "a", "allowed-tools": 3}}, [], "allowed-tools"),
        ({"x": {"command": "a", "allowed-tools": ["a", 3]}}, [], r"allowed-tools\[1\]': it must be a name"),
    ],
)
def test_mistakes_are_named(tables: dict[str, Any], typed: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_mcp(tables, typed, HERE)


def test_the_file_and_the_options_make_one_plan(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text('mcp-allow-url = ["https://x.example/"]\n[mcp.a]\ncommand = ["one"]\ncwd = "sub"\n')
    plan = Plan.of(ServeOptions(config=str(file), mcp=("b=two",)))
    assert [(server.label, server.command, server.cwd) for server in plan.mcp] == [
        ("a", ("one",), str(tmp_path / "sub")),
        ("b", ("two",), None),
    ]
    assert plan.options.mcp_allow_url == ("https://x.example/",)
    file.write_text('mcp = ["a=b"]\n')
    with pytest.raises(UserError, match=r"\[mcp.LABEL\]"):
        Plan.of(ServeOptions(config=str(file)))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "mcp":
            raise ImportError("No module named 'mcp'", name="mcp")
        return real(name, *more)

    monkeypatch.delitem(sys.modules, "agentwire.transport.mcp", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    check_extra((), ())
    with pytest.raises(UserError, match=r"pip install 'agentwire-trio\[mcp\]'"):
        check_extra((), ("https://x.example",))
