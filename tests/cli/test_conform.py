"""``agentwire conform`` as a person runs it: against a server of our own, against nobody, and with wrong options."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from agentwire.cli.app import main
from agentwire.cli.conform import HINTS
from agentwire.testing.conformance import CASES, NEEDS
from agentwire.testing.report import from_json
from tests.cli.kit import COMMAND, environment, run_command, serving

pytestmark = pytest.mark.socket

ROOT = Path(__file__).resolve().parent.parent.parent
SERVE = f"{sys.executable} -m agentwire serve --port {{port}}"


async def test_our_own_server_conforms(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# of the server, and of the run\nsk-one\nsk-two\n")
    async with serving("--port", "0", "--key-file", keys) as server:
        where = server.where
        files: list[str | Path] = ["--json", tmp_path / "r.json", "--html", tmp_path / "r.html"]
        ran = await run_command("conform", where["http"], "--key-file", keys, "--only", "1-13", "109", *files)
    assert ran.code == 0, ran.out + ran.err
    assert "it asks for an API key, and takes the one that was given" in ran.err
    assert "14 passed" in ran.out
    report = from_json((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert report.complete
    assert report.tally.passed == 14
    assert report.options == {"only": "1-13, 109"}
    assert "sk-one" not in (tmp_path / "r.json").read_text() + (tmp_path / "r.html").read_text() + ran.out


async def test_a_server_is_started_and_its_failures_are_told(tmp_path: Path) -> None:
    """With no model in it that is named, a case fails on purpose; the ws address means the same server."""
    url = "ws://127.0.0.1:{port}/v1/responses"
    ran = await run_command(
        "conform", url, "--start", SERVE, "--only", "AWC-001", "35", "--limit", "message-bytes=1000"
    )
    assert ran.code == 0, ran.out + ran.err
    failing = f"{sys.executable} {ROOT}/tests/peers/independent_server.py --port {{port}}"
    ran = await run_command("conform", "--start", failing, "--only", "10", "9")
    assert ran.code == 1, ran.out + ran.err
    for said in ("AWC-010  Ask for version 12.", "AW-H-012 (must; RFC 6455", "ws1 < HTTP", "1 failed, 1 differs"):
        assert said in ran.out


async def test_the_companion_is_asked_over_its_wire() -> None:
    start = f"{SERVE} --upstream {{upstream_wire}} --upstream-kind wire"
    ran = await run_command("conform", "--start", start, "--model", "companion", "--only", "153", "159")
    assert ran.code == 0, ran.out + ran.err
    assert "it speaks the WebSocket mode at http://127.0.0.1:" in ran.err
    assert "2 passed" in ran.out


async def test_nobody_is_there() -> None:
    ran = await run_command("conform", "http://127.0.0.1:9/v1")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "agentwire: cannot connect to 127.0.0.1:9: Connection refused\n"


async def test_nothing_that_is_meant_applies(tmp_path: Path) -> None:
    async with serving("--port", "0") as server:
        files = ["--json", str(tmp_path / "r.json")]
        ran = await run_command("conform", server.where["http"], "--only", "153", "159", *files)
    assert ran.code == 2, ran.out + ran.err
    assert "2 not applicable" in ran.out
    assert ran.err.endswith(
        "agentwire: nothing was looked at: none of the 2 cases applies to this run; the report says what they lack\n"
    )
    assert from_json((tmp_path / "r.json").read_text(encoding="utf-8")).tally.count("not applicable") == 2


async def test_a_key_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("sk-one\n")
    (tmp_path / "other").write_text("sk-other\n")
    async with serving("--port", "0", "--key-file", tmp_path / "keys") as server:
        url = server.where["http"]
        wrong = ["--key-file", str(tmp_path / "other")]
        for arguments, said in (([], "none was given (--key-file"), (wrong, "refuses")):
            ran = await run_command("conform", url, *arguments)
            assert (ran.code, ran.out) == (2, "")
            assert said in ran.err


async def test_a_command_that_does_not_start_a_server() -> None:
    ran = await run_command("conform", "--start", f"{sys.executable} -c 'print(\"no licence\")'")
    assert (ran.code, ran.out) == (2, "")
    assert "no licence" in ran.err


async def test_the_json_goes_to_stdout() -> None:
    ran = await run_command("conform", "--start", SERVE, "--only", "1", "--json", "-")
    assert ran.code == 0
    assert from_json(ran.out).rows


async def test_ctrl_c_writes_what_is_known(tmp_path: Path) -> None:
    start = f"{sys.executable} {ROOT}/tests/peers/independent_server.py --port {{port}}"
    arguments = ["conform", "--start", start, "--able", "patience", "--only", "10", "22", "--timeout", "600"]
    command = [*COMMAND, *arguments, "--json", str(tmp_path / "r.json")]
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(
            command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        said = b""
        while b"AWC-010 failed" not in said and (piece := await process.stderr.receive_some()):
            said += piece
        process.send_signal(signal.SIGINT)  # the next case takes minutes
        assert await process.wait() == 130, said
    await process.stderr.aclose()
    report = from_json((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert not report.complete
    assert [row.number for row in report.rows] == ["AWC-010"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name the server"),
        (["http://x/v1", "--only", "lane"], "is 'lanes' meant?"),
        (["http://x/v1", "--able", "magic"], "there is no 'magic'"),
        (["http://x/v1", "--limit", "queued=many"], "--limit must be NAME=VALUE"),
        (["http://x/v1", "--limit", "patience=1"], "--limit must be NAME=VALUE"),
        (["http://x/v1", "--timeout", "0"], "more than 0"),
        (["ftp://x/v1"], "is not the address of a server"),
        (["http://x/v1", "--key-file", "/no/such/file"], "cannot read /no/such/file"),
        (["http://x/v1", "--html", "/no/such/folder/r.html"], "cannot be written"),
        (["http://x/v1", "--companion", "9000"], "HOST:PORT"),
        (["http://127.0.0.1:9/v1", "--timeout", "nan"], "--timeout and --deadline are seconds"),
        (["http://127.0.0.1:9/v1", "--only", "lanes", "--skip", "L"], "they leave no case to run"),
        (["http://127.0.0.1:9/v1", "--companion", "127.0.0.1:70000"], "--companion must be HOST:PORT"),
        (["--start", ""], "there is no program in the command"),
    ],
)
def test_what_cannot_be_followed(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", *arguments]) == 2
    told = capsys.readouterr()
    assert (told.out, said in told.err) == ("", True), told.err


def test_the_cases_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "--list", "--only", "lanes"]) == 0
    said = capsys.readouterr().out
    assert "AWC-050" in said
    assert "slow" in said
    assert main(["conform", "--list"]) == 0
    listed = capsys.readouterr().out
    assert all(case.number in listed for case in CASES.values())


def test_every_need_has_a_hint() -> None:
    assert HINTS.keys() == NEEDS.keys()
