"""Where the independent peers live: each in its own environment under ``.peers``, run as a process of its own.

A missing environment is a failure, not a skip: a suite that quietly leaves out the official SDKs proves nothing.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
import trio

__all__ = [
    "HOME",
    "PROGRAMS",
    "aisdk_node",
    "codex_exe",
    "converse",
    "llama_server",
    "node_exe",
    "peer_python",
    "program",
]

PROGRAMS = Path(__file__).resolve().parent
HOME = PROGRAMS.parent.parent / ".peers"


def peer_python(name: Literal["openai", "llama", "frameworks", "agentic"]) -> Path:
    """The interpreter of one peer's environment; fails the test if it was never set up."""
    return _ready(name, HOME / name / "bin" / "python")


def node_exe() -> Path:
    """The Node that came as a wheel; fails the test if it, or the SDK beside it, was never set up."""
    return _ready("node", HOME / "node" / "node")


def aisdk_node() -> Path:
    """Node, where the Vercel AI SDK is set up beside it; fails the test if one of them is not."""
    return _ready("aisdk", node_exe())


def codex_exe() -> Path:
    """The Codex CLI; fails the test if it was never set up."""
    return _ready("codex", HOME / "codex" / "codex")


def program(name: str) -> Path:
    """A peer's program, to be run by the interpreter that it needs."""
    found = PROGRAMS / name
    assert found.is_file(), f"there is no program {name}"
    return found


async def converse(interpreter: Path, name: str, *arguments: str) -> dict[str, Any]:
    """Run one of the peers' conversations and return its report.

    The test fails with all that the program said if its exit code is not 0. A cancelled call ends the program.
    """
    command: list[Path | str] = [interpreter, program(name), *arguments]
    ran = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    said = f"{ran.stdout.decode()}\n{ran.stderr.decode()}".strip()
    assert ran.returncode == 0, f"{name} ended with exit code {ran.returncode}:\n{said}"
    report: dict[str, Any] = json.loads(ran.stdout)
    return report


@asynccontextmanager
async def llama_server() -> AsyncGenerator[dict[str, Any]]:
    """llama.cpp's own HTTP server for as long as the block runs: its ``url`` (with /v1), ``port`` and ``model``."""
    command = [peer_python("llama"), program("llama_server.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(partial(trio.run_process, command, **pipes))
        assert process.stdin is not None
        assert process.stdout is not None
        line = b""
        while not line.endswith(b"\n") and (piece := await process.stdout.receive_some()):
            line += piece
        assert line, "llama.cpp's server ended before it was ready"
        yield json.loads(line)
        await process.stdin.aclose()


def _ready(name: str, interpreter: Path) -> Path:
    if not ((HOME / name / ".ready").exists() and interpreter.exists()):
        pytest.fail(f"the peers' environment {HOME / name} is missing or half made: run `make peers`", pytrace=False)
    return interpreter
