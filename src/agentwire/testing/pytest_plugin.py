"""Fixtures for pytest; importing this module needs pytest and pytest-trio."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from agentwire.testing.leaks import no_leaks

__all__ = ["leak_check"]


@pytest.fixture
async def leak_check() -> AsyncGenerator[None]:
    """Fail the test if it leaves tasks, file descriptors or streams in memory behind.

    Ask for it before fixtures that open such things, so that they are closed first.
    """
    async with no_leaks():
        yield
