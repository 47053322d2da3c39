"""The fixtures, in test runs of their own: with pytest-trio, without it, and for those who do not use them."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import agentwire.pytest_plugin

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
IMPORT = "from agentwire.pytest_plugin import *  # where agentwire is not installed, but found\n"

TESTS = f"""
import os

import pytest
import trio

from agentwire.engines.scripted import scripted
from agentwire.engines.script import Text, Turn
from agentwire.testing import Fault
{IMPORT}

@pytest.fixture
def agentwire_engine():
    return scripted(Turn(Text("scripted"), Text(", slowly")))


async def test_clean(leak_check, network):
    client, server = network.pair()
    client.reset()
    server.reset()


async def test_a_wire(leak_check, wire, server, rig, network, wire_watch):
    assert (await wire.respond("hi")).output_text == "scripted, slowly"
    assert server is rig.server
    assert server.statistics().connections == 1
    network.arm(Fault("cut", connection=0))
    assert (await wire.respond("hi")).output_text == "scripted, slowly"
    assert len(network.links) == 2


async def test_on_a_virtual_clock(autojump_clock, wire):
    await trio.sleep(3600)
    await wire.respond("hi")


class TestOptions:
    @pytest.fixture
    def agentwire_options(self):
        return {{"keys": ["secret"]}}

    async def test_they_are_the_servers(self, rig):
        async with rig.connect(key="secret") as wire:
            await wire.respond("hi")


async def test_leaves_a_stream(leak_check, network):
    test_leaves_a_stream.stream = network.pair()


async def test_leaves_a_descriptor(leak_check):
    os.dup(0)


async def test_does_not_hold(autojump_clock, rig):
    for _ in range(2):
        with rig.journal.work("tool", "call_1"):
            pass


async def test_swallows(autojump_clock, rig):
    with trio.move_on_after(1):
        for _ in range(400_000):
            try:
                await trio.sleep(2)
            except trio.Cancelled:
                continue
"""

PLAIN = f"""
import pytest
{IMPORT}

def test_of_somebody_else():
    pass


def test_that_asks(wire):
    pass


class TestOfOnesOwn:
    @pytest.fixture
    def server(self):
        return "my own"

    def test_of_somebody_else(self, server):
        assert server == "my own"
"""


def run_pytest(folder: Path, tests: str, *options: str) -> str:
    (folder / "test_some.py").write_text(tests)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.stdout


def test_the_fixtures_work_and_fail_tests_that_deserve_it(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, TESTS, "-o", "trio_mode=true")
    assert "stream <MemoryStream client of connection 0>" in said
    assert "descriptor" in said
    assert "Leaked" in said
    assert "call 'call_1' has run twice" in said
    assert "in test_swallows (task <test 'test_swallows'>) swallows its cancellation" in said
    failed = {line.partition(" - ")[0].rpartition("::")[2] for line in said.splitlines() if line.startswith("FAILED")}
    assert failed == {"test_leaves_a_stream", "test_leaves_a_descriptor", "test_does_not_hold", "test_swallows"}, said
    assert "4 failed, 4 passed" in said


def test_without_pytest_trio_they_say_what_is_missing_and_ones_own_go_before(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'pytest_trio' else find(name, *more)\n"
        "import sys\n"
        "sys.modules.pop('agentwire.pytest_plugin', None)\n"
    )
    said = run_pytest(tmp_path, PLAIN, "-p", "no:trio")
    assert "the fixture 'wire' needs pytest-trio: pip install 'agentwire-trio[testing]'" in said
    assert "2 passed, 1 error" in said


def test_pytest_loads_nothing_of_the_kit() -> None:
    code = "import sys, agentwire.pytest_plugin; print(*(name for name in sys.modules if name.startswith('agentwire')))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["agentwire", "agentwire.pytest_plugin"]


def test_pytest_finds_it_by_its_entry_point() -> None:
    (point,) = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["entry-points"]["pytest11"].values()
    assert point == agentwire.pytest_plugin.__name__
    installed = [one for one in importlib.metadata.entry_points(group="pytest11") if one.name == "agentwire"]
    assert installed, "the package was not installed again since it has the entry point: make dev"
    assert installed[0].load() is agentwire.pytest_plugin
