"""Fixtures for pytest; importing this module needs pytest and pytest-trio."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import pytest

from agentwire.testing.leaks import no_leaks
from agentwire.testing.watch import Watch, watching

__all__ = ["leak_check", "wire_watch"]


@pytest.fixture
async def leak_check() -> AsyncGenerator[None]:
    """Fail the test if it leaves tasks, file descriptors or streams in memory behind.

    Ask for it before fixtures that open such things, so that they are closed first.
    """
    async with no_leaks():
        yield


@pytest.fixture
def wire_watch() -> Generator[Watch]:
    """Fail the test if a server in it says something that is not legal, on a WebSocket or in an event stream.

    The failure names the rule, the connection and the events; see `agentwire.testing.watch`.
    """
    with watching() as watch:
        yield watch
    watch.check()
