"""The command itself: help, versions, exit codes."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from agentwire import __version__
from agentwire.cli import app, main
from agentwire.cli.failures import CommandFailed, UserError
from tests.cli.kit import COMMAND, environment, run_command


async def test_help_lists_the_commands_and_the_exit_codes() -> None:
    ran = await run_command("--help")
    assert ran.code == 0
    for word in ("serve", "version", "Exit codes: 0 done, 1 failed, 2 wrong use"):
        assert word in " ".join(ran.out.split())
    assert (await run_command()).out == ran.out


async def test_help_of_serve_names_every_option() -> None:
    ran = await run_command("serve", "--help")
    assert ran.code == 0
    for option in ("--host", "--port", "--unix", "--key-file", "--engine", "--upstream", "--tools", "--config",
                   "--tls-cert", "--tls-key", "--model-name", "--log-level", "--limit"):  # fmt: skip
        assert option in ran.out
    assert "builtin" in ran.out
    assert "The default is 8000" in " ".join(ran.out.split())


async def test_version() -> None:
    assert (await run_command("--version")).out == f"{__version__}\n"
    ran = await run_command("version")
    assert ran.code == 0
    assert ran.out.startswith(f"agentwire {__version__}\n")
    assert "trio-websocket" in ran.out


async def test_an_unknown_command() -> None:
    ran = await run_command("sreve")
    assert (ran.code, ran.out) == (2, "")
    assert '"sreve"' in ran.err
    assert ran.err.endswith("(see agentwire --help)\n")


def test_the_script_is_this_command() -> None:
    (script,) = entry_points(group="console_scripts", name="agentwire")
    assert script.load() is main


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (UserError("no such\nfile"), 2, "agentwire: no such file\n"),
        (CommandFailed("it broke"), 1, "agentwire: it broke\n"),
        (CommandFailed("it ended:\n  no\tport\n\n  no host"), 1, "agentwire: it ended:\n    no port\n    no host\n"),
        (KeyboardInterrupt(), 130, ""),
        (BaseExceptionGroup("", [SystemExit(1)]), 1, ""),
        (ValueError("a bug"), 1, "agentwire: unexpected ValueError: a bug (this is a bug; set AGENTWIRE_TRACEBACK=1 "),
        (ExceptionGroup("", [UserError("once"), ExceptionGroup("", [UserError("once")])]), 2, "agentwire: once\n"),
        (ExceptionGroup("", [CommandFailed("one"), UserError("two")]), 2, "agentwire: one\nagentwire: two\n"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_errors_become_exit_codes(
    error: BaseException, code: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.delenv("AGENTWIRE_TRACEBACK", raising=False)
    monkeypatch.setattr(app, "app", fail)
    assert main([]) == code
    assert capsys.readouterr().err.startswith(told)


def test_a_traceback_for_those_who_ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setenv("AGENTWIRE_TRACEBACK", "1")
    monkeypatch.setattr(app, "app", fail)
    assert main([]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_nobody_reads_the_output(tmp_path: Path) -> None:
    """As in ``agentwire --help | true``: no traceback, whatever the exit code."""
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run([*COMMAND, "--help"], stdout=writing, stderr=subprocess.PIPE, env=environment(), check=False)
    os.close(writing)
    assert b"Traceback" not in ran.stderr
