"""A client is killed at any moment and started again with its journal: the run is done, and no tool has run twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from hypothesis import settings

from agentwire.server import serve
from tests.cli.kit import environment
from tests.client.killed_client import PAGES
from tests.peers.clerk import clerk

pytestmark = [pytest.mark.socket, pytest.mark.timeout(600)]

ROOT = Path(__file__).parent.parent.parent
CAMPAIGN = settings.get_current_profile_name() == "campaign"
MOMENTS = 40
"""There are a few more; which of them is what depends on the order in which tools run."""


def plans() -> list[str]:
    """At which moments of its lives a client is killed."""
    if not CAMPAIGN:
        return [*map(str, range(2, MOMENTS, 6)), "20,5", "30,4,4"]
    return [
        *map(str, range(1, MOMENTS + 5)),
        *(f"{first},{then}" for first in range(1, MOMENTS, 3) for then in (3, 9, 17)),
    ]


async def test_whenever_a_client_dies_its_tools_have_run_at_most_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.client.killed_client"]
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, clerk)
        with trio.fail_after(600 if CAMPAIGN else 60):
            ran = await trio.run_process(
                [*command, server.http_url, tmp_path, *plans()],
                env=environment(),
                cwd=ROOT,
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
            )
        nursery.cancel_scope.cancel(reason="the test is over")
    assert ran.returncode == 0, ran.stdout.decode()
    rolls = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(rolls) == len(plans())
    assert sum(rolled["ends"].count(-9) for rolled in rolls) > len(rolls) * 0.8
    for plan, rolled in zip(plans(), rolls, strict=True):
        effects = rolled["effects"]
        assert sorted(rolled["text"].removeprefix("Seen: ").rstrip(".").split()) == list(map(str, range(1, PAGES + 1)))
        assert max(effects.values()) == 1, (plan, rolled)
        assert len(effects) >= PAGES - rolled["unknown"], (plan, rolled)
        assert rolled["ends"][-1] == 0
    assert any(rolled["unknown"] for rolled in rolls)
