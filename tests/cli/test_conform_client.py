"""``agentwire conform-client`` and ``agentwire hostile`` as a person runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

import agentwire
from agentwire.cli.app import main
from agentwire.testing.clients import SCENARIOS
from agentwire.testing.hostile import DEEDS
from agentwire.testing.report import from_json
from tests.cli.kit import COMMAND, run_command

pytestmark = pytest.mark.socket

OURS = Path(__file__).resolve().parent.parent / "peers" / "conform_agentwire.py"


async def test_a_client_is_run_and_reported(tmp_path: Path) -> None:
    json, html = tmp_path / "r.json", tmp_path / "r.html"
    ran = await run_command(
        "conform-client", "--only", "1", "forgets", "--json", json, "--html", html, "--", sys.executable, OURS
    )
    assert ran.code == 0, ran.out + ran.err
    assert "speaks over websocket, names the response that it continues" in ran.out
    assert "2 passed" in ran.out
    report = from_json(json.read_text(encoding="utf-8"))
    assert (report.kind, report.complete, report.tally.passed) == ("client", True, 2)
    assert report.options == {"only": "1, forgets"}
    assert "AWK-070" in html.read_text(encoding="utf-8")


async def test_a_client_that_fails_is_told_with_its_words() -> None:
    program = "import sys; sys.exit('no such luck')"
    ran = await run_command("conform-client", "--only", "honest", "--", sys.executable, "-c", program)
    assert ran.code == 1
    assert "no such luck" in ran.out
    assert "the program asked the model for nothing" in ran.out
    assert "AW-A-011 (must)" in ran.out
    assert "AWK-001 failed" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name the program"),
        (("/nonexistent/client",), "/nonexistent/client cannot be started: No such file or directory"),
        (("--only", "nonsense", "--", "x"), "'nonsense' is no number"),
        (("--able", "fly", "--", "x"), "there is no 'fly'"),
        (("--jobs", "0", "--", "x"), "--jobs at least 1"),
        (("--patience", "nan", "--", "x"), "--patience is more than 0"),
        (("--only", "2", "--skip", "2", "--", "x"), "they leave no scenario to run"),
        (("echo 'so",), "cannot be read as a shell would"),
        (("--json", "/nonexistent/r.json", "--", "x"), "/nonexistent/r.json cannot be written"),
    ],
)
def test_wrong_use(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform-client", *words]) == 2
    told = capsys.readouterr().err
    assert said in told


def test_scenarios_and_deeds_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform-client", "--list"]) == 0
    told = capsys.readouterr().out
    assert all(number in told for number in SCENARIOS)
    assert main(["hostile", "--list"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in DEEDS)


@pytest.mark.parametrize(
    ("words", "said"),
    [(("nonsense",), "there is no deed 'nonsense'; --list shows them"), (("--port", "99999"), "--port is 0 to 65535")],
)
def test_wrong_use_of_hostile(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hostile", *words]) == 2
    assert said in capsys.readouterr().err


async def test_a_hostile_server_does_its_deed_and_leaves_when_told() -> None:
    command = [*COMMAND, "hostile", "reset-midway@1", "--say", "Hello there."]
    process = await trio.lowlevel.open_process(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}
    )
    assert process.stdout is not None
    assert process.stderr is not None
    async with process.stdout, process.stderr:
        with trio.fail_after(30):
            first = bytes(await process.stdout.receive_some()).decode()
            assert first.startswith("listening ws=ws://127.0.0.1:")
            url = first.split("http=")[1].strip()
            async with agentwire.connect(url, model="m") as client:
                assert (await client.respond("Hi")).output_text == "Hello there."
            process.send_signal(signal.SIGTERM)
            told = b"".join([bytes(data) async for data in process.stderr]).decode()
            assert await process.wait() == 0
    assert "* reset-midway" in told
    assert "websocket1 < close 1000" in told
