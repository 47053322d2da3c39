"""Python without its assertions, as some run it: what the server does must not hang on any of them."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

PROGRAM: Final = """
from agentwire.engines import Delay, Text, Turn, scripted
from agentwire.testing import open_rig, run

async def main():
    async with open_rig(scripted(lambda ask: Turn(Text("one "), Delay(1), Text("two")))) as rig:
        async with rig.connect() as wire:
            print((await wire.respond("x")).output_text)
        async with rig.connect(transport="http") as wire:
            print((await wire.respond("x")).output_text)

run(main)
"""


def test_turns_without_assertions() -> None:
    ran = subprocess.run([sys.executable, "-O", "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("one two\n" * 2, "", 0)
