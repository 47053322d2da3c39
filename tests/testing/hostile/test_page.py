"""The programs of the page about these servers, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

from trio.testing import MockClock

from agentwire.testing.hostile import Answer, Say, hostile_server
from tests.testing.hostile.kit import connected, look_up

PAGE = Path(__file__).parents[3] / "docs" / "topics" / "hostile-server.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


async def test_the_programs_work(autojump_clock: MockClock) -> None:
    scripted, hostile, own = BLOCKS
    names: dict[str, object] = {"look_up": look_up, "__name__": "page"}
    exec("from __future__ import annotations\n" + scripted, names)
    exec(hostile, names)
    exec(own, names)
    await names["test_the_agent_adds"]()  # type: ignore[operator]
    await names["test_the_agent_survives_a_reset"]()  # type: ignore[operator]
    async with hostile_server([names["shy"]], Answer(Say("x"))) as server, connected(server) as client:  # type: ignore[list-item]
        await client.respond("a")
        assert (await client.respond("b")).output_text == "x"
        assert server.seen.deeds == ["shy"]
