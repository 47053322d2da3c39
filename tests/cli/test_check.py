"""``agentwire serve --check``: everything is read and opened, nothing listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentwire.cli.app import main

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples" / "agentwire.toml"


def check(*arguments: str | Path) -> int:
    return main(["serve", "--check", *map(str, arguments)])


def test_the_example_is_what_a_server_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("GATEWAY_TOKEN", "t-secret")
    assert check("--config", EXAMPLE) == 0
    local, gateway = "local (chat http://127.0.0.1:11434/v1)", "gateway (responses https://gateway.example/v1)"
    behind = f"{local} as qwen2.5:7b, else {gateway} as small, else rules (builtin) as rules"
    assert capsys.readouterr().out.splitlines() == [
        f"small -> {behind}",
        f"mini -> {behind}",
        "rules -> rules (builtin) as rules",
        f"team/* -> {gateway} as *",
        "gpt-* -> hosted (wire wss://api.openai.com/v1) as gpt-*",
        "any other name -> as small",
    ]


def test_a_key_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN", "t-secret")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert check("--config", EXAMPLE) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "upstreams.hosted.key-env: the environment has no OPENAI_API_KEY" in said.err


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ('[upstreams.a]\nkind = "no_such_module:x"\n[[models]]\nname = "m"\nupstream = "a"', "no module"),
        ('[upstreams.a]\nbase-url = "nowhere"\n[[models]]\nname = "m"\nupstream = "a"', "upstreams.a.base-url: "),
        ('[upstreams.a]\nkind = "builtin"\n[[models]]\nname = "m"\nupstream = "a"\nfallback = ["x"]', "fallback 'x'"),
        (
            '[upstreams.a]\nkind = "builtin"\n[[models]]\nname = "m"\nupstream = "a"\nfallback = ["m"]',
            "stand in for itself",
        ),
        ('tools = ["textwrap:indent", "textwrap:indent"]', "--tools: two tools are called 'indent'"),
        ('mcp-allow-url = ["docs"]', "--mcp-allow-url: clients cannot be allowed MCP servers at 'docs'"),
        ('engine = "no_such_module:x"', "no module"),
        ('[[model]]\nname = "m"', "f.toml: there is no table 'model' (did you mean 'models'?); there are limits, mcp,"),
        ("[upstream.a]", "f.toml: there is no table 'upstream' (did you mean 'upstreams'?)"),
        ("[limit]\ndrain = 1", "f.toml: there is no table 'limit' (did you mean 'limits'?)"),
        ('[mcp.a]\nurl = "http://h"\nkey-env = "NOT_SET"', "f.toml: mcp.a: key-env: the environment has no NOT_SET"),
        ("check = true", "there is no option 'check'"),
        ('extension = ["sesions"]', "there is no extension 'sesions'"),
        ("resume-within = -1.0", "must be 0 or more seconds, not -1.0"),
    ],
)
def test_what_cannot_be_served(file: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f.toml").write_text(file, encoding="utf-8-sig")  # the mark that some editors leave is no fault
    assert check("--config", tmp_path / "f.toml") == 2
    assert said in capsys.readouterr().err


def test_without_routes_any_name_leads_to_the_engine(capsys: pytest.CaptureFixture[str]) -> None:
    assert check() == 0
    assert capsys.readouterr().out.startswith("any name -> agentwire's built-in engine")


def test_what_serve_would_refuse_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AGENTWIRE_KEYS", raising=False)
    assert check("--host", "0.0.0.0") == 2
    assert "without an API key" in capsys.readouterr().err
    monkeypatch.setenv("AGENTWIRE_KEYS", "sk-one")
    assert check("--host", "0.0.0.0") == 0
