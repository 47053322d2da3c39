"""The fixture, in a test run of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = """
import os

import trio

from agentwire.testing.network import network
from agentwire.testing.pytest_plugin import leak_check


async def test_clean(leak_check):
    async with network().pair()[0]:
        await trio.lowlevel.checkpoint()


async def test_leaves_a_stream(leak_check):
    test_leaves_a_stream.stream = network().pair()


async def test_leaves_a_descriptor(leak_check):
    os.dup(0)
"""


def test_the_fixture_fails_tests_that_leave_something_behind(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "stream <MemoryStream client of connection 0>" in ran.stdout
    assert "descriptor" in ran.stdout
    assert "Leaked" in ran.stdout
