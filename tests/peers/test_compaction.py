"""The official SDK compacts a conversation in all three ways, and goes on from there."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.cli.kit import serving
from tests.peers import converse

pytestmark = [pytest.mark.peer, pytest.mark.socket]


async def test_the_python_sdk_compacts(openai_python: Path) -> None:
    with trio.fail_after(90):
        async with serving("--port", "0") as server:
            report = await converse(openai_python, "openai_compact.py", server.where["http"])
    alone, socket = report["alone"], report["on_the_socket"]
    assert (alone["object"], alone["types"]) == ("response.compaction", ["message", "compaction"])
    assert alone["total_tokens"] > 1000
    assert "slate" in alone["text"]
    assert socket["events"][2:5] == [
        "response.output_item.added",
        "response.compaction.compacting",
        "response.output_item.done",
    ]
    assert socket["types"] == [["compaction", "message"], ["compaction"], ["message"]]
    assert "slate" in socket["text"]
    assert report["input_tokens"] > 1000
