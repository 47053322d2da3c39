"""What HTTP has beside the conversation, through the public methods of the official SDKs, each a process of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.cli.kit import serving
from tests.peers import converse

pytestmark = [pytest.mark.peer, pytest.mark.socket]


@asynccontextmanager
async def patient() -> AsyncGenerator[str]:
    with trio.fail_after(90):
        async with serving("--port", "0", "--engine", "tests.peers.patient:patient") as server:
            yield server.where["http"]


async def test_the_python_sdk(openai_python: Path) -> None:
    async with patient() as url:
        report = await converse(openai_python, "openai_background.py", url)
    assert report["polled"]["states"][0] == "queued"
    assert report["polled"]["states"][-1] == "completed"
    assert (report["polled"]["text"], report["polled"]["background"]) == ("one two three four five ", True)
    streamed = report["streamed"]
    assert streamed["numbers"] == list(range(len(streamed["numbers"])))
    assert (streamed["last"], streamed["text"]) == ("response.completed", "one two three four five ")
    assert (streamed["again"], streamed["final"]) == (streamed["numbers"][3:], streamed["text"])
    assert report["cancelled"] == {
        "states": ["cancelled"] * 3,
        "last": "response.failed",
        "code": "agentwire:cancelled",
    }
    assert report["listed"] == {"texts": ["a", "b", "b ", "c"], "ids": 4, "same": True}
    assert 100 <= report["counted"] < 150
    assert report["deleted"] == ["response_not_found"] * 3


async def test_the_javascript_sdk(node: Path) -> None:
    async with patient() as url:
        report = await converse(node, "node_background.mjs", url)
    assert report["polled"]["states"][0] == "queued"
    assert report["polled"]["states"][-1] == "completed"
    assert (report["polled"]["text"], report["polled"]["background"]) == ("one two three four five ", True)
    assert report["streamed"]["numbers"] == list(range(len(report["streamed"]["numbers"])))
    assert report["streamed"]["last"] == "response.completed"
    assert report["cancelled"] == ["cancelled", "cancelled"]
    assert report["listed"] == ["a", "b"]
    assert 100 <= report["counted"] < 150
    assert report["deleted"] == 404
