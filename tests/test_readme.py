"""What README.md says works as it stands there: every program is run, every command is one that exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import pytest
import trio

import agentwire
from agentwire.cli.app import app
from tests import peers
from tests.cli.kit import environment, serving

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PYTHON = [code for kind, code in BLOCKS if kind == "python"]
SDK, IN_TRIO, IN_SYNC, IN_ASYNCIO, DROP_IN, EMBEDDED, PROOF = PYTHON
CALLERS = {"Trio": IN_TRIO, "sync": IN_SYNC, "asyncio": IN_ASYNCIO, "drop-in": DROP_IN}
(NODE,) = [code for kind, code in BLOCKS if kind == "js"]
COMMANDS = [
    line[2:].partition("#")[0].strip() for kind, code in BLOCKS if kind == "console" for line in code.splitlines()
]
ADDRESS = "http://127.0.0.1:8000/v1"


async def run_program(*command: Path | str, cwd: Path, modules: Sequence[ModuleType] = ()) -> str:
    """What a program prints, within a minute; it must end well. It finds these modules besides those that it has."""
    paths = os.pathsep.join(str(Path(module.__file__ or "").parent.parent) for module in modules)
    env = environment({"PYTHONPATH": paths} if modules else None)
    with trio.fail_after(60):
        ran = await trio.run_process(
            command, cwd=cwd, env=env, capture_stdout=True, stderr=subprocess.STDOUT, check=False
        )
    assert ran.returncode == 0, ran.stdout.decode()
    return ran.stdout.decode()


@asynccontextmanager
async def program(code: str, path: Path) -> AsyncGenerator[Path]:
    """A program in a file, beside a server that it finds where the text says."""
    assert ADDRESS in code
    async with serving("--port", "0") as server:
        write(path, code.replace(ADDRESS, server.where["http"]))
        yield path


def write(path: Path, code: str) -> None:
    path.write_text(code, encoding="utf-8")


@pytest.mark.peer
@pytest.mark.socket
async def test_the_python_sdk(openai_python: Path, tmp_path: Path) -> None:
    async with program(SDK, tmp_path / "sdk.py") as path:
        assert await run_program(openai_python, path, cwd=tmp_path) == "hello from the wire"


@pytest.mark.peer
@pytest.mark.socket
async def test_the_node_sdk(node: Path, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(peers.HOME / "node" / "node_modules")
    async with program(NODE, tmp_path / "sdk.mjs") as path:
        assert await run_program(node, path, cwd=tmp_path) == "hello from the wire"


@pytest.mark.socket
@pytest.mark.parametrize("caller", [name for name in CALLERS if name != "drop-in"])
async def test_an_agent(caller: str, tmp_path: Path) -> None:
    async with program(CALLERS[caller], tmp_path / "agent.py") as path:
        said = await run_program(sys.executable, path, cwd=tmp_path)
    assert 'weather(city="Paris")' in said
    assert 'weather(city="Oslo")' in said


@pytest.mark.peer
@pytest.mark.socket
async def test_the_drop_in(openai_python: Path, tmp_path: Path) -> None:
    async with program(DROP_IN, tmp_path / "drop_in.py") as path:
        said = await run_program(openai_python, path, cwd=tmp_path, modules=(agentwire, trio))
    assert said.splitlines()[-1] == "You said that name is Ada."


@pytest.mark.parametrize("caller", CALLERS)
def test_a_caller_is_short(caller: str) -> None:
    assert len(CALLERS[caller].splitlines()) <= 15


@pytest.mark.socket
async def test_the_embedded_server(tmp_path: Path) -> None:
    write(tmp_path / "server.py", EMBEDDED)
    assert await run_program(sys.executable, "server.py", cwd=tmp_path) == "who! is! a! pretty! bird! \n"


async def test_the_proof(tmp_path: Path) -> None:
    proof = tmp_path / "test_proof.py"
    write(proof, PROOF)
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", proof)
    said = await run_program(*command, cwd=tmp_path)
    assert "1 passed" in said
    careful = PROOF[PROOF.index("    try:") : PROOF.index("@survives")]
    careless = '    await trio.sleep(60)\n    locked.remove(env)\n    return "done"\n\n'
    write(proof, PROOF.replace(careful, careless))
    with pytest.raises(AssertionError, match="test_nothing_stays_locked does not survive cut"):
        await run_program(*command, cwd=tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists(command: str) -> None:
    name, *arguments = shlex.split(command)
    match name:
        case "agentwire":
            app.parse_args(arguments, exit_on_error=False, print_error=False)
        case "make":
            assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        case "python" | "pytest":
            assert (ROOT / arguments[0]).is_file()
        case _:
            assert command in ("pip install .", 'pip install ".[testing]"')


def test_links_within_the_repository_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
