"""SDKs and frameworks that only know HTTP hold a long tool loop, and send their whole history with each request.

The server beside them keeps the conversation at another one, over a WebSocket, and sends only what is new: a relay on
either side counts the bytes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from agentwire.testing.relay import Relay, open_relay
from tests.cli.kit import serving
from tests.peers import converse, node_exe, peer_python

pytestmark = [pytest.mark.peer, pytest.mark.socket]

TURNS = 50
CLIENTS: dict[str, tuple[Callable[[], Path], str]] = {
    "openai-python": (partial(peer_python, "openai"), "loop_openai.py"),
    "openai-node": (node_exe, "loop_node.mjs"),
    "langchain": (partial(peer_python, "frameworks"), "loop_langchain.py"),
    "pydantic-ai": (partial(peer_python, "frameworks"), "loop_pydantic_ai.py"),
    "openai-agents": (partial(peer_python, "frameworks"), "loop_agents.py"),
}


@asynccontextmanager
async def counting(url: str) -> AsyncGenerator[tuple[Relay, str]]:
    """A relay in front of a server, and the URL that goes through it."""
    port = urlsplit(url).port
    assert port is not None
    async with open_relay("127.0.0.1", port) as relay:
        yield relay, relay.through(url)


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_sidecar_sends_a_tenth_of_what_a_client_sends(client: str) -> None:
    interpreter, program = CLIENTS[client]
    beside = ("--port", "0", "--engine", "tests.peers.beside:beside")
    async with (
        serving("--port", "0", "--engine", "tests.peers.looking:looking") as upstream,
        counting(upstream.where["http"]) as (up, up_url),
        serving(*beside, env={"UPSTREAM": up_url}) as server,
        counting(server.where["http"]) as (down, url),
    ):
        with trio.fail_after(90):
            told = await converse(interpreter(), program, url, "--turns", str(TURNS))
        assert told == {"text": f"All {TURNS} pages were looked up."}
        assert up.statistics().connections == 1
        assert up.statistics().bytes_up < down.statistics().bytes_up / 10
