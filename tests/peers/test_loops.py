"""Frameworks and SDKs that only know HTTP hold a long tool loop, and send their whole history with each request."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.cli.kit import serving
from tests.peers import converse, node_exe, peer_python

pytestmark = [pytest.mark.peer, pytest.mark.socket]

TURNS = 6
CLIENTS: dict[str, tuple[Callable[[], Path], str]] = {
    "openai-python": (partial(peer_python, "openai"), "loop_openai.py"),
    "openai-node": (node_exe, "loop_node.mjs"),
    "langchain": (partial(peer_python, "frameworks"), "loop_langchain.py"),
    "pydantic-ai": (partial(peer_python, "frameworks"), "loop_pydantic_ai.py"),
    "openai-agents": (partial(peer_python, "frameworks"), "loop_agents.py"),
}


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_loop_comes_to_its_end(client: str) -> None:
    interpreter, program = CLIENTS[client]
    with trio.fail_after(90):
        async with serving("--port", "0", "--engine", "tests.peers.looking:looking") as server:
            told = await converse(interpreter(), program, server.where["http"], "--turns", str(TURNS))
    assert told == {"text": f"All {TURNS} pages were looked up."}
