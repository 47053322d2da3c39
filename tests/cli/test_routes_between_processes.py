"""``agentwire serve`` with routes, in front of two other servers: who answers, and who does when one of them dies."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from agentwire import connect
from tests.cli.kit import ServeProcess, serving

pytestmark = pytest.mark.socket

ENGINE = """
async def first(ask, out):
    await out.text(f"first, as {ask.model}")

async def second(ask, out):
    await out.text(f"second, as {ask.model}")
"""


def routes(first: ServeProcess, second: ServeProcess) -> str:
    return f"""
        [upstreams.first]
        kind = "wire"
        base-url = "{first.where["ws"]}"
        retries = 0
        [upstreams.second]
        kind = "responses"
        base-url = "{second.where["http"]}"
        [[models]]
        name = "main"
        upstream = "first"
        model = "large"
        fallback = ["spare/small"]
        [[models]]
        name = "spare/*"
        upstream = "second"
        model = "*"
    """


async def test_a_fallback_answers_when_a_server_is_killed(tmp_path: Path) -> None:
    (tmp_path / "both.py").write_text(ENGINE)
    with trio.fail_after(60):
        async with (
            serving("--port", "0", "--engine", "both:first", cwd=tmp_path) as first,
            serving("--port", "0", "--engine", "both:second", cwd=tmp_path) as second,
        ):
            (tmp_path / "routes.toml").write_text(routes(first, second))
            async with (
                serving("--port", "0", "--config", tmp_path / "routes.toml") as front,
                connect(front.where["ws"]) as client,
            ):
                assert (await client.respond("hey", model="main")).output_text == "first, as large"
                assert (await client.respond("hey", model="spare/tiny")).output_text == "second, as tiny"
                first.process.kill()
                await first.process.wait()
                response = await client.respond("hey", model="main")
                assert (response.output_text, response.model) == ("second, as small", "main")
                await front.wait_said("second is asked instead")
